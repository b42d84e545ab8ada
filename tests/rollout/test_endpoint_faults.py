"""A failing model endpoint, end to end: engine, OpenAI-compatible policy and server. Never a reward of zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentenv import Action, Info, Observation, Part, StepResult, SyncEnv, Task, tool, user
from agentenv.chat import ChatEnv
from agentenv.messages import Role
from agentenv.outcome import Boundary, Status
from agentenv.policy.contract import Sampling
from agentenv.rewards import reward
from agentenv.rollout import Journal, RolloutEngine, group_requests
from agentenv.wrappers import as_async
from agentenv_openai import OpenAIPolicy
from tests.policy.openai_support import Clock
from tests.rollout.actors import Turns, requests, spec, tasks
from tests.support.mock_openai import ChatRequest, Fault, FaultRule, MockOpenAI, Reply, ToolCall

WANTED = spec("turns")
TOKENS = Sampling(tokens=True)
PASSING = [
    Fault.RATE_LIMITED,
    Fault.SERVER_ERROR,
    Fault.CONNECTION_CUT,
    Fault.STREAM_CUT,
    Fault.MALFORMED_JSON,
    Fault.NEVER_ANSWERS,
]
LASTING = [*PASSING, Fault.FEWER_LOGPROBS_THAN_TOKENS, Fault.FEWER_LOGPROBS_THAN_IDS]


def policy(server: MockOpenAI, timeout: float = 0.3) -> OpenAIPolicy:
    return OpenAIPolicy(server.base_url, timeout=timeout, retry=Clock().retry(attempts=3, rate_limited_attempts=3))


@pytest.mark.parametrize("fault", PASSING)
async def test_a_fault_that_passes_costs_tries_and_nothing_else(fault: Fault) -> None:
    async with (
        MockOpenAI(["fine"], faults=[FaultRule(fault, first_requests=1)]) as server,
        policy(server) as model,
        RolloutEngine(model, make_env=lambda _: Turns()) as engine,
    ):
        (episode,) = await engine.collect(requests(WANTED, 1))
    assert (episode.status, episode.reward, episode.turns[0].model_attempts) == (Status.OK, 1.0, 2)


@pytest.mark.parametrize("fault", LASTING)
async def test_a_fault_that_lasts_is_a_model_error_without_a_reward(tmp_path: Path, fault: Fault) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with (
            MockOpenAI(["abc"], faults=[FaultRule(fault)]) as server,
            policy(server, timeout=0.1 if fault is Fault.NEVER_ANSWERS else 5.0) as model,
            RolloutEngine(model, journal=journal, make_env=lambda _: Turns()) as engine,
        ):
            (episode,) = await engine.collect(group_requests(WANTED, tasks(1), sampling=TOKENS))
        assert list(journal.episodes()) == [episode]
    assert (episode.status, episode.reward) == (Status.MODEL_ERROR, None)
    assert episode.failure is not None
    assert episode.failure.boundary is Boundary.MODEL
    assert episode.failure.where == f"{model.name}.complete"


class Adder(ChatEnv):
    @tool
    def add(self, a: int) -> int:
        """Adds one."""
        return a + 1

    @reward
    def done(self, completion: str) -> float:
        return float(completion == "done")


async def test_malformed_tool_arguments_are_an_observation_and_the_episode_goes_on(tmp_path: Path) -> None:
    def script(request: ChatRequest) -> Reply | str:
        return "done" if len(request.messages) > 2 else Reply(None, (ToolCall("add", '{"a": 1}'),))

    rule = FaultRule(Fault.MALFORMED_TOOL_ARGUMENTS, first_requests=1)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with (
            MockOpenAI(script, faults=[rule]) as server,
            policy(server) as model,
            RolloutEngine(model, journal=journal, make_env=lambda _: Adder()) as engine,
        ):
            (episode,) = await engine.collect(group_requests(WANTED, tasks(1), sampling=TOKENS))
        (recorded,) = journal.episodes()
    assert (episode.status, episode.reward) == (Status.OK, 1.0)
    answer = episode.turns[1].observation.messages[0]
    assert answer.role is Role.TOOL
    assert episode.turns[0].info["tools"][0]["error"] == "invalid_json"
    assert recorded == episode  # messages, tool results, token ids, logprobs, versions and seed
    for turn in recorded.turns:
        assert turn.action.tokens is not None
        assert len(turn.action.tokens.logprobs) == len(turn.action.tokens.sampled_ids) > 0
        assert turn.action.tokens.versions


class Gallery(SyncEnv):
    """A synchronous environment that shows a picture, then plays a sound."""

    parts = (Part.image_url("data:image/png;base64,AAAA"), Part.audio("UklGRg=="))

    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(task, seed)
        return Observation((user(self.parts[:1]),)), {}

    def step(self, action: Action) -> StepResult:
        heard = action.message.text == "heard"
        return StepResult(Observation((user(self.parts[1:]),)), float(heard), heard, False, {})


async def test_pictures_and_sounds_of_a_synchronous_environment_reach_the_model_untouched(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with (
            MockOpenAI(["seen", "heard"]) as server,
            policy(server) as model,
            RolloutEngine(model, journal=journal, make_env=lambda _: as_async(Gallery())) as engine,
        ):
            (episode,) = await engine.collect(requests(WANTED, 1))
        assert list(journal.episodes()) == [episode]
    assert (episode.status, episode.reward) == (Status.OK, 1.0)
    sent = [message["content"][0] for message in server.requests[-1].messages if message["role"] == "user"]
    assert sent == [part.to_wire() for part in Gallery.parts]
