"""`POST /rollout`: whole episodes, played here with a policy that is somewhere else."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

import pydantic
from aiohttp import web

from agentenv.episode import Episode
from agentenv.errors import AgentenvError, BoundaryError
from agentenv.gateway.environments.config import ServerConfig
from agentenv.gateway.environments.refusals import Code, Refusal
from agentenv.gateway.environments.sessions import Sessions
from agentenv.gateway.environments.tasks import TaskSource, explain
from agentenv.gateway.environments.wire import PlayRollout, TaskReference
from agentenv.messages import Wire
from agentenv.policy.contract import Policy, Sampling
from agentenv.policy.registry import make_policy
from agentenv.registry import EnvSpec
from agentenv.rollout import RolloutConfig, RolloutEngine, group_requests
from agentenv.rollout.codec import episode_to_wire, to_json
from agentenv.tasks import Task

Chosen = Sequence[tuple[Task, TaskReference | None]]


@dataclass(slots=True)
class _Tally:
    """How the episodes of a rollout ended."""

    statuses: Counter[str] = field(default_factory=Counter)
    rewards: list[float] = field(default_factory=list)

    def add(self, episode: Episode) -> None:
        self.statuses[episode.status.value] += 1
        if episode.reward is not None:
            self.rewards.append(episode.reward)

    def summary(self, epoch: str) -> Wire:
        mean = math.fsum(self.rewards) / len(self.rewards) if self.rewards else None
        statuses = dict(sorted(self.statuses.items()))
        return {"epoch": epoch, "episodes": self.statuses.total(), "statuses": statuses, "mean_reward": mean}


class Rollouts:
    """Plays episodes for callers.

    Args:
        spec: the environment.
        tasks: its tasks.
        sessions: whose room the episodes share.
        config: the limits of environment calls.
    """

    def __init__(self, spec: EnvSpec, tasks: TaskSource, sessions: Sessions, config: ServerConfig) -> None:
        self._spec = spec
        self._tasks = tasks
        self._sessions = sessions
        self._config = config

    async def serve(self, request: web.Request, body: Wire) -> web.StreamResponse:
        """Answers with all episodes, or streams them as they end.

        The rollout ends with its caller: a connection that is closed cancels what is in flight.

        Raises:
            Refusal: the request makes no sense, there is no room, or the policy cannot be reached.
        """
        wanted = _read(body)
        chosen = await self._choose(wanted)
        tally = _Tally()
        with self._sessions.reserve(min(wanted.max_concurrent, len(chosen) * wanted.episodes)):
            try:
                async with _policy(wanted) as policy, aclosing(self._play(wanted, policy, chosen, tally)) as episodes:
                    if wanted.stream:
                        return await self._stream(request, episodes, tally)
                    texts = [text async for text in episodes]
            except AgentenvError as error:
                raise _refusal(error) from error
        text = f'{{"episodes":[{",".join(texts)}],"summary":{self._summary(tally)}}}'
        return web.Response(text=text, content_type="application/json")

    async def _stream(self, request: web.Request, episodes: AsyncIterator[str], tally: _Tally) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        try:
            async for text in episodes:
                await response.write(f'{{"episode":{text}}}\n'.encode())
        except AgentenvError as error:  # too late for another status: it is said in place of the summary
            refusal = _refusal(error)
            said = {"error": {"code": refusal.code.value, "message": str(refusal), "failure": None}}
            await response.write(to_json(said).encode() + b"\n")
        else:
            await response.write(f'{{"summary":{self._summary(tally)}}}\n'.encode())
        await response.write_eof()
        return response

    async def _play(
        self, wanted: PlayRollout, policy: Policy, chosen: Chosen, tally: _Tally
    ) -> AsyncGenerator[str, None]:
        """The episodes as JSON, in order of completion."""
        config = RolloutConfig(
            max_concurrent=wanted.max_concurrent,
            model_timeout=wanted.model_timeout,
            episode_timeout=wanted.episode_timeout,
            environment_timeout=self._config.environment_timeout,
            close_timeout=self._config.close_timeout,
            cancel_grace=self._config.cancel_grace,
            stall_threshold=self._config.stall_threshold,
        )
        sampling = Sampling(**{**wanted.sampling.model_dump(), "stop": tuple(wanted.sampling.stop)})
        requests = group_requests(
            self._spec, [task for task, _ in chosen], siblings=wanted.episodes, seed=wanted.seed, sampling=sampling
        )
        references = {task.id: reference for task, reference in chosen}
        async with RolloutEngine(policy, config) as engine, aclosing(engine.run(requests)) as episodes:
            async for episode in episodes:
                tally.add(episode)
                shown = self._tasks.shown(episode.task, references[episode.task.id])
                yield to_json(episode_to_wire(dataclasses.replace(episode, task=shown)))

    async def _choose(self, wanted: PlayRollout) -> Chosen:
        chosen: Chosen
        if wanted.tasks is None:
            chosen = await self._tasks.draw(wanted.split, wanted.seed, wanted.count)
            if not chosen:
                raise Refusal(Code.NO_SUCH_TASK, f"the split {wanted.split!r} has no tasks")
            return chosen
        chosen = [await self._tasks.choose(choice, wanted.seed) for choice in wanted.tasks]
        if len({task.id for task, _ in chosen}) < len(chosen):
            raise Refusal(Code.MALFORMED, "a task is listed twice; `episodes` says how often each is played")
        return chosen

    def _summary(self, tally: _Tally) -> str:
        return to_json(tally.summary(self._sessions.epoch))


def _read(body: Wire) -> PlayRollout:
    try:
        return PlayRollout.model_validate(body)
    except pydantic.ValidationError as error:
        raise Refusal(Code.MALFORMED, explain(error)) from error


def _refusal(error: AgentenvError) -> Refusal:
    """What a caller is told when a rollout as a whole fails."""
    if isinstance(error, Refusal):
        return error
    return Refusal(Code.MODEL_ERROR if isinstance(error, BoundaryError) else Code.MALFORMED, str(error))


def _policy(wanted: PlayRollout) -> Policy:
    # Without a key of the caller's none is sent: this process may have one of its own, which is not the caller's.
    key = wanted.policy.api_key or ""
    try:
        return make_policy(f"openai:{wanted.policy.url}", model=wanted.policy.model, api_key=key)
    except AgentenvError as error:
        raise Refusal(Code.MALFORMED, str(error)) from error
