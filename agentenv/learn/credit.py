"""Credit: which advantage each sampled token gets. The only place that knows the algorithms by name."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from agentenv.learn.advantages import (
    Estimate,
    GroupAdvantages,
    TurnAdvantages,
    gigpo,
    grpo,
    length_adaptive_trace,
    masked_gae,
    maxrl,
    process_supervision,
    reinforce,
    returns_to_go,
    rloo,
    turn_gae,
    whitened,
)
from agentenv.learn.config import AdvantageConfig
from agentenv.learn.config import advantage as kinds
from agentenv.learn.experience import Experience, Numbers
from agentenv.learn.streams import Stream
from agentenv.outcome import Status
from agentenv.trajectory import group_id


@dataclass(frozen=True, slots=True, eq=False)
class Credit:
    """Advantages of every sampled token, and how the groups compare.

    Attributes:
        advantages: one stream [T] a row.
        returns: the critic's targets, one stream a row; `None` without a critic.
        groups: how the episodes' returns compare within their groups, whatever the advantage is.
        anchors: states that several steps of a group share (GiGPO).
    """

    advantages: tuple[Stream, ...]
    returns: tuple[Stream, ...] | None
    groups: GroupAdvantages
    anchors: int = 0


def assign(experience: Experience, config: AdvantageConfig, rng: random.Random) -> Credit:
    """The advantage of every token of the experience.

    Args:
        rng: draws the success to imitate, where one of several is kept.
    """
    groups = [group_id(episode.key) for episode in experience.episodes]
    steps = [experience.turn_rewards(index) for index in range(len(groups))]
    returns = [float(numpy.sum(rewards)) for rewards in steps]
    compared = grpo(returns, groups)
    match config:
        case kinds.TokenGae() | kinds.TurnGae():
            return _with_critic(experience, config, compared)
        case kinds.ReinforcePlusPlus(discount=discount):
            return Credit(tuple(_to_go(experience, discount)), None, compared)
        case kinds.ProcessSupervision(discount=discount, epsilon=epsilon):
            by_turn = process_supervision(steps, groups, discount=discount, epsilon=epsilon).values
            return Credit(_by_turn(experience, by_turn), None, compared)
        case kinds.Gigpo():
            found = _gigpo(experience, steps, groups, config)
            return Credit(_by_turn(experience, found.values), None, compared, found.anchors)
        case kinds.Preference():  # its streams depend on the weights at each step: `preferences` fills them
            return Credit(tuple(experience.streams()), None, compared)
        case kinds.Imitation():
            kept = _successes(returns, groups, config, rng)
            return Credit(_by_episode(experience, kept), None, compared)
        case kinds.Grpo(divide_by_std=divide, ddof=ddof, epsilon=epsilon):
            values = grpo(returns, groups, divide_by_std=divide, ddof=ddof, epsilon=epsilon).values
        case kinds.Rloo():
            values = rloo(returns, groups).values
        case kinds.MaxRl():
            values = maxrl(returns, groups).values
        case kinds.Reinforce(baseline=baseline):
            values = reinforce(returns, groups, baseline=baseline).values
    return Credit(_by_episode(experience, values), None, compared)


def _by_episode(experience: Experience, values: Sequence[float | None]) -> tuple[Stream, ...]:
    """The same advantage for every token of an episode."""
    streams = experience.streams()
    for tokens, value in zip(experience.tokens, values, strict=True):
        tokens.scatter(numpy.full(len(tokens), value, dtype=numpy.float64), streams)
    return tuple(streams)


def _by_turn(experience: Experience, values: Sequence[Sequence[float] | None]) -> tuple[Stream, ...]:
    """The same advantage for every token of a turn."""
    streams = experience.streams()
    for tokens, of_turns in zip(experience.tokens, values, strict=True):
        tokens.scatter(numpy.array(of_turns or (), dtype=numpy.float64)[tokens.turns], streams)
    return tuple(streams)


def _to_go(experience: Experience, discount: float) -> list[Stream]:
    streams = experience.streams()
    for index, tokens in enumerate(experience.tokens):
        rewards = experience.token_rewards(index)
        tokens.scatter(returns_to_go(rewards, numpy.ones(len(tokens)), discount=discount), streams)
    return _whitened(experience, streams)


def _gigpo(
    experience: Experience, steps: Sequence[Sequence[float]], groups: Sequence[str], config: kinds.Gigpo
) -> TurnAdvantages:
    keys = [
        [turn.state_key for turn in sorted(episode.turns, key=lambda turn: turn.index)]
        for episode in experience.episodes
    ]
    return gigpo(
        steps,
        keys,
        groups,
        discount=config.discount,
        step_weight=config.step_weight,
        divide_by_std=config.divide_by_std,
        epsilon=config.epsilon,
    )


def _successes(
    returns: Sequence[float], groups: Sequence[str], config: kinds.Imitation, rng: random.Random
) -> list[float]:
    """1 for the episodes to imitate, 0 for the others."""
    members: dict[str, list[int]] = {}
    for index, (value, group) in enumerate(zip(returns, groups, strict=True)):
        if value >= config.at_least:
            members.setdefault(group, []).append(index)
    if config.keep is kinds.Keep.ONE:
        members = {group: [rng.choice(indices)] for group, indices in members.items()}
    kept = {index for indices in members.values() for index in indices}
    return [float(index in kept) for index in range(len(returns))]


def _with_critic(experience: Experience, config: kinds.TokenGae | kinds.TurnGae, compared: GroupAdvantages) -> Credit:
    assert experience.values is not None
    advantages, returns = experience.streams(), experience.streams()
    for index, tokens in enumerate(experience.tokens):
        if len(tokens):
            estimate = _estimate(experience, index, config)
            tokens.scatter(estimate.advantages, advantages)
            tokens.scatter(estimate.returns, returns)
    if config.whiten:
        advantages = _whitened(experience, advantages)
    return Credit(tuple(advantages), tuple(returns), compared)


def _estimate(experience: Experience, index: int, config: kinds.TokenGae | kinds.TurnGae) -> Estimate:
    """GAE over the tokens of one episode in the order they were sampled, whatever rows they lie in."""
    assert experience.values is not None
    episode, tokens = experience.episodes[index], experience.tokens[index]
    rewards, values = experience.token_rewards(index), tokens.gather(experience.values)
    cut = episode.status is Status.TRUNCATED and config.bootstrap_truncated
    last_value = _value_at_the_cut(values) if cut else 0.0
    if isinstance(config, kinds.TurnGae):
        return turn_gae(
            rewards,
            values,
            tokens.turns,
            discount=config.discount,
            trace=config.trace,
            critic_trace=config.critic_trace,
            last_value=last_value,
        )
    trace = (
        config.trace if config.length_adaptive is None else length_adaptive_trace(len(tokens), config.length_adaptive)
    )
    return masked_gae(
        rewards,
        values,
        numpy.ones(len(tokens)),
        discount=config.discount,
        trace=trace,
        critic_trace=config.critic_trace,
        last_value=last_value,
    )


def _value_at_the_cut(values: Numbers) -> float:
    """V of the state a limit cut the episode in.

    The prompt that would have come next was never made. The nearest state the critic is trained in is the one before
    the last token, which nearly always ends the answer: what is expected there is what is expected after it.
    """
    return float(values[-1])


def _whitened(experience: Experience, streams: Sequence[Stream]) -> list[Stream]:
    masks = [row.mask for row in experience.rows]
    wide = [stream.astype(numpy.float64) for stream in streams]
    return [stream.astype(numpy.float32) for stream in whitened(wide, masks)] if wide else []
