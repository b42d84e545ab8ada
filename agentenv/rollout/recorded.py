"""Recorded actions played again: the environment runs, the model does not."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing

from agentenv.env import Env
from agentenv.episode import Episode
from agentenv.errors import ContextLengthError
from agentenv.messages import Message
from agentenv.outcome import Status
from agentenv.policy.contract import Completion, Policy, Sampling, Session
from agentenv.registry import EnvSpec
from agentenv.registry import spec as registered_spec
from agentenv.rollout.budget import Budget
from agentenv.rollout.config import RolloutConfig
from agentenv.rollout.episode import EpisodePlayer
from agentenv.rollout.journal import Journal
from agentenv.rollout.limits import Limits
from agentenv.rollout.loading import EnvironmentLoader
from agentenv.rollout.pool import Pool, Slot
from agentenv.rollout.request import EpisodeRequest
from agentenv.threads import THREADS
from agentenv.tools import ToolSpec

_CHUNK = 16

Pair = tuple[Episode, Episode]
"""(recorded, played again)."""


class RecordedPolicy(Policy):
    """Says what was said in a recorded episode, turn by turn, whatever it is asked.

    Where the recording is over it answers as a model whose context is full, which is how a recording may have ended.
    """

    def __init__(self, episode: Episode) -> None:
        self.name = episode.policy
        self._turns = iter(episode.turns)

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        turn = next(self._turns, None)
        if turn is None:
            raise ContextLengthError("the recording ends here")
        action = turn.action
        return Completion(action.message, turn.finish_reason, turn.usage, action.tokens, attempts=turn.model_attempts)


async def play_again(
    journal: Journal,
    episodes: Iterator[Episode],
    *,
    spec: EnvSpec | None,
    config: RolloutConfig,
    make_env: Callable[[EnvSpec], Env],
    known: Callable[[Episode], Awaitable[Pair | None]] | None = None,
) -> AsyncGenerator[Pair, None]:
    """Plays recorded episodes in fresh environments: same task, same seed, same actions; in order of completion.

    Args:
        journal: where the specifications of the episodes are.
        episodes: what to play again.
        spec: the environment to use instead of the one each episode was recorded with.
        known: answers an episode without playing it, or says `None`.

    Raises:
        RegistryError: an episode was recorded without its specification, and its environment is not registered.
    """
    limits = Limits(config.stall_threshold, config.cancel_grace)
    loader = EnvironmentLoader(None)
    prepare = loader.load if make_env is EnvSpec.make else None

    async def job(recorded: Episode, slot: Slot) -> Pair:
        used = spec or journal.spec(recorded.id) or registered_spec(recorded.key.environment)
        request = EpisodeRequest(used, recorded.task, recorded.seed, recorded.key, Sampling())
        player = EpisodePlayer(RecordedPolicy(recorded), config, limits, make_env, prepare)
        played = await player.play(request, recorded.attempt, Budget(limits.clock, config.episode_timeout))
        if played.episode.status is Status.CANCELLED:
            raise asyncio.CancelledError
        return recorded, played.episode

    with limits.clock:
        async with aclosing(Pool(config.max_concurrent, job, known).run(_in_thread(episodes))) as pairs:
            async for pair in pairs:
                yield pair
        await loader.close()


async def _in_thread(episodes: Iterator[Episode]) -> AsyncIterator[Episode]:
    """The same, read in a thread: long episodes take a while to decode."""
    while chunk := await THREADS.run(lambda: list(itertools.islice(episodes, _CHUNK))):
        for episode in chunk:
            yield episode
