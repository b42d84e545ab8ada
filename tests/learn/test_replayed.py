"""The groups of a logged update come from the journal as they ended, failures included."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.errors import ModelError  # noqa: E402
from agentenv.learn.groups import GroupRequests  # noqa: E402
from agentenv.learn.replayed import replayed  # noqa: E402
from agentenv.learn.setting import environment_spec  # noqa: E402
from agentenv.learn.sources import TaskStream  # noqa: E402
from agentenv.learn.updates import LoggedUpdate  # noqa: E402
from agentenv.messages import Message, assistant  # noqa: E402
from agentenv.outcome import Status  # noqa: E402
from agentenv.policy.contract import Completion, Policy, Sampling, Session  # noqa: E402
from agentenv.rollout import Journal, RolloutEngine  # noqa: E402
from agentenv.tools import ToolSpec  # noqa: E402
from tests.learn.runs import config  # noqa: E402


class Moody(Policy):
    """Answers "a", or fails the sessions of these seeds; counts what it is asked."""

    name = "moody"

    def __init__(self, fails: Collection[int] = ()) -> None:
        self._fails = fails
        self.asked = 0

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], sampling: Sampling, session: Session
    ) -> Completion:
        self.asked += 1
        if session.seed in self._fails:
            raise ModelError("not today")
        return Completion(assistant("a"))


async def test_they_end_as_they_ended_and_what_the_journal_lost_is_played_again(tmp_path: Path) -> None:
    wanted = config(siblings=2)
    spec = environment_spec(wanted)
    requests = GroupRequests(wanted, spec, TaskStream(spec.make().tasks("train"), count=3, seed=0))
    kept, lost = requests.of(4), requests.of(5)
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        async with RolloutEngine(Moody(fails={kept[1].session_seed}), journal=journal) as engine:
            played = {episode.key: episode for episode in await engine.collect(kept)}
        again = Moody()
        async with RolloutEngine(again, journal=journal) as engine:
            batch = await replayed(LoggedUpdate(2, (4,), dropped=(5,)), requests, journal, engine)
    (group,) = batch.groups
    assert (group.number, [episode.status for episode in group.episodes]) == (4, [Status.OK, Status.MODEL_ERROR])
    assert [episode.id for episode in group.episodes] == [played[request.key].id for request in kept]
    (dropped,) = batch.dropped
    assert [episode.key for episode in dropped.episodes] == [request.key for request in lost]
    assert again.asked == 2 * 2, "two episodes of two turns were lost, and no other was played"
