"""Which episodes of an update are learnt from, before anything is computed about them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from agentenv.episode import Episode
from agentenv.learn.advantages import resample_on_correct, tells_apart
from agentenv.learn.config import GroupsConfig
from agentenv.trajectory import group_id


def worth_learning(group: Sequence[Episode], config: GroupsConfig) -> bool:
    """Whether dynamic sampling keeps a group: some of its scored members are correct and some are not."""
    return tells_apart([episode.reward >= config.success for episode in group if episode.reward is not None])


def select(episodes: Sequence[Episode], config: GroupsConfig, rng: random.Random) -> list[Episode]:
    """The episodes to learn from, in their order: all of them, or those that resampling on correct keeps.

    A group with an odd number of scored members, because one of them failed, loses one more at random first.
    """
    if not config.resample_on_correct:
        return list(episodes)
    groups: dict[str, list[Episode]] = {}
    for episode in episodes:
        if episode.reward is not None:
            groups.setdefault(group_id(episode.key), []).append(episode)
    kept: set[str] = set()
    for members in groups.values():
        if len(members) % 2:
            members.pop(rng.randrange(len(members)))
        correct = [episode.reward is not None and episode.reward >= config.success for episode in members]
        chosen = resample_on_correct(correct, [uncleanness(episode) for episode in members], rng)
        kept |= {members[index].id for index in chosen}
    return [episode for episode in episodes if episode.id in kept]


def uncleanness(episode: Episode) -> float:
    """Tool-error ratio plus format-error score, by the metrics the environment reports; 0 for a clean episode."""
    metrics = episode.metrics
    calls = metrics.get("tool_calls", 0.0)
    ratio = metrics.get("tool_errors", 0.0) / calls if calls > 0 else 0.0
    return max(0.0, ratio) + max(0.0, metrics.get("format_error", 0.0))
