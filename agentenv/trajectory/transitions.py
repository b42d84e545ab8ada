"""Transitions: one model call and what came of it, the unit in which experience is stored."""

from __future__ import annotations

from dataclasses import dataclass

from agentenv.episode import Episode, EpisodeKey
from agentenv.outcome import Status
from agentenv.tokens import VersionSpan


@dataclass(frozen=True, slots=True)
class Transition:
    """(state, action, reward, next state) of one turn, in tokens.

    Attributes:
        episode_id: of the attempt. group_id: of the siblings it is compared with. turn: index within the episode.
        sibling: number within the group. attempt: 1 for the first try at the episode.
        state: ids the model was conditioned on. action: ids it sampled.
        logprobs: of each action token under the distribution it was drawn from, in nats.
        versions: which weights sampled which action tokens.
        reward: of this step alone; `None` when not scored.
        next_state: ids the next recorded model call was conditioned on; `None` after the last call. What a truncated
            episode would have been prompted with next was never tokenised, so it is `None` there as well.
        terminated, truncated: the task ended here; a limit cut it here. Never merged.
        state_key: names the state the agent was in before acting, where the environment can (GiGPO's anchor).
        memory_version: of the memory the state was made with; `None` without one.
    """

    episode_id: str
    group_id: str
    turn: int
    sibling: int
    attempt: int
    state: tuple[int, ...]
    action: tuple[int, ...]
    logprobs: tuple[float, ...]
    versions: tuple[VersionSpan, ...]
    reward: float | None
    next_state: tuple[int, ...] | None
    terminated: bool
    truncated: bool
    state_key: str | None = None
    memory_version: int | None = None


def group_id(key: EpisodeKey) -> str:
    """Names the siblings an episode is compared with, unique within a run."""
    return f"{key.environment}/{key.iteration}/{key.group}/{key.task_id}"


def transitions(episode: Episode) -> list[Transition]:
    """The transitions of an episode's turns that have a token record, in order; failed episodes' too.

    An episode the engine truncated between two turns (its context was full, its tokens spent) is truncated at its last
    transition.
    """
    turns = sorted(episode.turns, key=lambda turn: turn.index)
    recorded = [turn for turn in turns if turn.action.tokens is not None]
    made = []
    for position, turn in enumerate(recorded):
        tokens = turn.action.tokens
        assert tokens is not None
        following = recorded[position + 1].action.tokens if position + 1 < len(recorded) else None
        cut_here = episode.status is Status.TRUNCATED and turn is turns[-1] and not turn.terminated
        made.append(
            Transition(
                episode_id=episode.id,
                group_id=group_id(episode.key),
                turn=turn.index,
                sibling=episode.key.sibling,
                attempt=episode.attempt,
                state=tokens.prompt_ids,
                action=tokens.sampled_ids,
                logprobs=tokens.logprobs,
                versions=tokens.versions,
                reward=None if turn.reward is None else float(turn.reward),
                next_state=None if following is None else following.prompt_ids,
                terminated=turn.terminated,
                truncated=turn.truncated or cut_here,
                state_key=turn.state_key,
            )
        )
    return made
