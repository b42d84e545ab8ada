"""Four agents that know nothing of training, each through the gateway by its base URL alone."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("agents")
pytest.importorskip("langgraph")
pytest.importorskip("pydantic_ai")

from agentenv.evaluate.runner import draw_tasks  # noqa: E402
from agentenv.gateway import Continuation, Gateway, Protocol  # noqa: E402
from agentenv.learn.config import LearnerConfig, TrainConfig  # noqa: E402
from agentenv.learn.learner import Learner  # noqa: E402
from agentenv.outcome import Status  # noqa: E402
from agentenv.registry import EnvSpec  # noqa: E402
from agentenv.trajectory import Row  # noqa: E402
from agentenv_tiny import load_policy  # noqa: E402
from examples.agents.runner import AGENTS, Attempts, load_agent, run_agent  # noqa: E402

APIS = {
    "plain_openai": Protocol.CHAT,
    "openai_agents": Protocol.RESPONSES,
    "langgraph_agent": Protocol.CHAT,
    "pydantic_ai_agent": Protocol.CHAT,
}
"""What each framework speaks when it is left alone."""


async def attempts_of(name: str, gateway: str, environment: EnvSpec, *, tasks: int = 12, siblings: int = 2) -> Attempts:
    drawn = await draw_tasks(environment, split="train", count=tasks, seed=0)
    return await run_agent(load_agent(name), gateway.url, environment, drawn, siblings=siblings)


def check(attempts: Attempts, trained: Path) -> None:
    """It solved most tasks, and every token it sampled is in a row with the probability it was sampled at.

    An agent may rewrite its history (pydantic-ai takes an empty answer out of it and asks again): then a further row
    begins. With this model that is rare.
    """
    assert {episode.status for episode in attempts.episodes} == {Status.OK}
    assert attempts.solved > 0.5
    assert attempts.protocols == {APIS[attempts.agent]}
    kinds = attempts.continuations
    following = attempts.calls - kinds[Continuation.OPENING]
    assert following >= len(attempts.episodes) // 2
    assert kinds[Continuation.MERGED] + kinds[Continuation.REALIGNED] >= 0.9 * following
    rows = attempts.rows
    sampled = sum(
        len(turn.action.tokens.sampled_ids)
        for episode in attempts.episodes
        for turn in episode.turns
        if turn.action.tokens
    )
    assert sum(row.sampled for row in rows.rows) == sampled
    assert rows.excluded == ()
    assert 1.0 <= len(rows.rows) / len(attempts.episodes) < 1.2
    model = load_policy(trained).model
    for row in rows.rows[:4]:
        assert torch.allclose(logprobs(model, row), torch.tensor(row.logprobs[row.mask]), atol=1e-4)


@torch.no_grad()
def logprobs(model: Any, row: Row) -> torch.Tensor:
    """log pi of a row's sampled tokens under a model, shape [sampled]."""
    ids = torch.tensor(row.ids)
    every = torch.log_softmax(model(ids[None]).logits[0], dim=-1)
    positions = torch.tensor(row.mask).nonzero()[:, 0]
    return every[positions - 1, ids[positions]]


@pytest.mark.parametrize("name", AGENTS)
async def test_an_agent_unchanged_but_for_its_base_url_leaves_trainable_rows(
    name: str, embedded: Gateway, environment: EnvSpec, trained: Path
) -> None:
    check(await attempts_of(name, embedded, environment), trained)


@pytest.mark.parametrize("name", AGENTS)
async def test_it_does_so_in_front_of_a_real_vllm(
    name: str, behind_vllm: Gateway, environment: EnvSpec, trained: Path
) -> None:
    check(await attempts_of(name, behind_vllm, environment), trained)


async def test_one_step_on_the_rows_makes_rewarded_answers_likelier_and_the_others_less_likely(
    embedded: Gateway, environment: EnvSpec, trained: Path
) -> None:
    attempts = await attempts_of("plain_openai", embedded, environment, tasks=24, siblings=4)
    episodes = attempts.episodes
    rewards = {episode.id: episode.reward for episode in episodes}
    assert len(set(rewards.values())) == 2, "a sample with successes and failures is needed to learn anything"
    model = load_policy(trained).model
    config = TrainConfig(environment=environment.id, learner=LearnerConfig(lr=1e-4, minibatches=1))
    rows = attempts.rows.rows
    before = [float(logprobs(model, row).mean()) for row in rows]
    learned = Learner(model, config).learn(episodes, iteration=1)
    after = [float(logprobs(model.eval(), row).mean()) for row in rows]
    advantages = {
        row.episode_id: float(stream[row.mask][0])
        for row, stream in zip(learned.rows.rows, learned.credit.advantages, strict=True)
    }
    for sign in (1.0, -1.0):
        changes = [
            new - old
            for row, old, new in zip(rows, before, after, strict=True)
            if advantages[row.episode_id] * sign > 0
        ]
        assert sign * sum(changes) / len(changes) > 0


async def test_an_attempt_that_the_model_spoils_is_scored_and_one_that_the_server_spoils_is_not(
    embedded: Gateway, environment: EnvSpec, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from examples.agents import plain_openai

    monkeypatch.setattr(plain_openai, "MAX_TURNS", 1)
    spoilt = await attempts_of("plain_openai", embedded, environment, tasks=4, siblings=1)
    assert {episode.reward for episode in spoilt.episodes} == {0.0}
    monkeypatch.setattr(plain_openai, "MODEL", "a model that nobody serves")
    failed = await attempts_of("plain_openai", embedded, environment, tasks=2, siblings=1)
    assert {(episode.status, episode.reward) for episode in failed.episodes} == {(Status.MODEL_ERROR, None)}


@dataclass(slots=True)
class Line:
    """Addresses that were looked up or connected to."""

    called: set[str]


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Refuses every way out of this machine and remembers who tried."""
    tapped = Line(set())
    look_up = socket.getaddrinfo

    def refuse(host: Any, *arguments: Any, **keywords: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        tapped.called.add(name)
        if name not in ("127.0.0.1", "localhost", "::1"):
            raise socket.gaierror(f"no way out to {name}")
        return look_up(host, *arguments, **keywords)

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tapped


async def test_no_agent_talks_to_anybody_but_the_gateway(line: Line, embedded: Gateway, environment: EnvSpec) -> None:
    for name in AGENTS:
        await attempts_of(name, embedded, environment, tasks=1, siblings=1)
    assert line.called <= {"127.0.0.1"}
