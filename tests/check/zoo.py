"""A zoo of environments: one deliberately broken per probe. `EXPECTED` says what each must be found to be."""

from __future__ import annotations

import asyncio
import random
import re
import time
from typing import Any, ClassVar

from agentenv.chat import ChatEnv
from agentenv.check import Probe
from agentenv.env import Action, Env, Observation, StepResult
from agentenv.messages import Message, assistant, user
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, ProceduralTasks, Task, TaskSet
from agentenv.tools import tool


def a_sum(rng: random.Random) -> Task:
    first, second = rng.randint(1000, 4999), rng.randint(1000, 4999)
    return Task.ask("", f"What is {first} plus {second}?", answer=str(first + second))


class Sums(ChatEnv):
    """The healthy animal the others descend from: exact comparison with a four-digit sum."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(a_sum, split=split)

    @reward(inline=True)
    def correct(self, completion: str, answer: str) -> Any:
        return self.verify(completion.strip(), answer)

    def verify(self, said: str, answer: str) -> Any:
        return float(said == answer)

    def oracle(self) -> Message:
        return assistant(self.task.answer)


# --- what the verifier pays ------------------------------------------------------------------------------------


class PaysAnything(Sums):
    def verify(self, said: str, answer: str) -> float:
        return 1.0


class PaysSilence(Sums):
    def verify(self, said: str, answer: str) -> float:
        return float(said in ("", answer))


class ObeysTheAnswer(Sums):
    def verify(self, said: str, answer: str) -> float:
        return float(said == answer or "score" in said)


class MatchesThePolicysPattern(Sums):
    def verify(self, said: str, answer: str) -> float:
        try:
            return float(said != "" and "[[" not in said and re.fullmatch(said, answer) is not None)
        except re.error:
            return 0.0


class LikesZero(Sums):
    def verify(self, said: str, answer: str) -> float:
        return float(said in ("0", answer))


class SearchesTheText(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        return ProceduralTasks(lambda rng: Task.ask("", _pair(rng), answer=str(self.last)), split=split)

    last = 0

    def verify(self, said: str, answer: str) -> float:
        return float(answer in said.replace(",", " ").split())


def _pair(rng: random.Random) -> str:
    first, second = rng.randint(50, 149), rng.randint(50, 149)
    SearchesTheText.last = first + second
    return f"What is {first} plus {second}?"


class LikesTheQuestion(Sums):
    def verify(self, said: str, answer: str) -> float:
        return float(said == answer or self.task.question in said)


class AcceptsEitherOr(Sums):
    def verify(self, said: str, answer: str) -> float:
        return float(answer in said.split(" or "))


class ChecksTheFormOnly(Sums):
    def verify(self, said: str, answer: str) -> float:
        return float(re.fullmatch(r"\d{4}", said) is not None)


class PaysForCalling(Sums):
    @tool(inline=True)
    def add(self, first: int, second: int) -> int:
        """Adds."""
        return first + second

    async def step(self, action: Action) -> StepResult:
        if action.message.tool_calls:
            return StepResult(Observation(), 1.0, True, False, {})
        return await super().step(action)


class PaysHalfForNothing(Sums):
    def verify(self, said: str, answer: str) -> float:
        return 1.0 if said == answer else 0.5


class Evaluates(Sums):
    def verify(self, said: str, answer: str) -> float:
        try:
            return float(str(eval(said)) == answer)
        except Exception:
            return 0.0


# --- what breaks -----------------------------------------------------------------------------------------------


class Raises(Sums):
    def verify(self, said: str, answer: str) -> float:
        return float(int(said) == int(answer))


class RaisesSystemExit(Sums):
    def verify(self, said: str, answer: str) -> float:
        if said == "":
            raise SystemExit(3)
        return float(said == answer)


class RaisesOnReset(Sums):
    async def setup(self) -> None:
        raise KeyError("database")


class HangsOnLongText(Sums):
    async def respond(self, message: Message) -> None:
        if len(message.text) > 50_000:
            await asyncio.Event().wait()


class HangsInAThread(Sums):
    @reward
    def correct(self, completion: str, answer: str) -> float:
        if len(completion) > 50_000:
            time.sleep(2)
        return float(completion.strip() == answer)


class StallsTheLoop(Sums):
    def verify(self, said: str, answer: str) -> float:
        if len(said) > 50_000:
            time.sleep(3)
        return float(said == answer)


class HogsTheProcessor(Sums):
    async def setup(self) -> None:
        while True:
            pass


class HangsForEverAndEver(Sums):
    async def respond(self, message: Message) -> None:
        while len(message.text) > 50_000:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue


class RewardIsText(Sums):
    def verify(self, said: str, answer: str) -> str:
        return "1.0" if said == answer else "0.0"


class RewardIsNan(Sums):
    def verify(self, said: str, answer: str) -> float:
        return 1.0 if said == answer else float("nan")


class RewardIsAList(Sums):
    async def step(self, action: Action) -> Any:
        return StepResult(Observation(), [1.0], True, False, {})  # type: ignore[arg-type]


class RewardOutOfRange(Sums):
    def verify(self, said: str, answer: str) -> float:
        return 2.0 * (said == answer)


class NeverScores(Sums):
    def verify(self, said: str, answer: str) -> None:
        return None


class FourTuple(Sums):
    async def step(self, action: Action) -> Any:
        return (await super().step(action))[:4]


class ResetWithoutInfo(Sums):
    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> Any:
        return (await super().reset(task=task, seed=seed))[0]


class EndsTwice(Sums):
    async def step(self, action: Action) -> StepResult:
        return (await super().step(action))._replace(truncated=True)


class ObservesText(Sums):
    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> Any:
        self.begin(task, seed)
        return Observation((self.task.question,)), {}  # type: ignore[arg-type]


class InfoWithObjects(Sums):
    async def step(self, action: Action) -> StepResult:
        return (await super().step(action))._replace(info={"self": self})


class OracleIsWrong(Sums):
    def oracle(self) -> Message:
        return assistant(str(int(self.task.answer) + 1))


class NoOracle(Sums):
    oracle = Env.oracle


class CloseRaises(Sums):
    async def close(self) -> None:
        raise OSError("already gone")


# --- tasks -----------------------------------------------------------------------------------------------------


class TuplesInTasks(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([Task.ask(f"{n}", f"{n} plus {n}?", answer=str(2 * n), data=(n, n)) for n in _range(split)])


class ObjectsInTasks(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([Task.ask(f"{n}", f"{n} plus {n}?", answer=str(2 * n), data={n}) for n in _range(split)])


class OneIdForAll(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([Task.ask("sum", f"{n} plus {n}?", answer=str(2 * n)) for n in _range(split)])


class OneListForAllSplits(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([Task.ask(f"{n}", f"{n} plus {n}?", answer=str(2 * n)) for n in _range("train")])


class TasksRaise(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        raise ValueError("the file has no column 'question'")


class TasksHang(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        time.sleep(6)
        return super().tasks(split)


class NoTasksAtAll(Sums):
    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([])


def _range(split: str) -> range:
    start = {"train": 1000, "dev": 2000, "test": 3000}[split]
    return range(start, start + 40)


# --- state, randomness, time -----------------------------------------------------------------------------------


class RollsItsOwnDice(Sums):
    def prompt(self) -> tuple[Message, ...]:
        return (*super().prompt(), user(f"Your lucky number is {random.SystemRandom().random()}."))


class RollsGlobalDice(Sums):
    def prompt(self) -> tuple[Message, ...]:
        return (*super().prompt(), user(f"Your lucky number is {random.random()}."))


class SeedsGlobalDice(Sums):
    async def setup(self) -> None:
        random.seed(self.seed)


class SharesItsAnswer(Sums):
    current: ClassVar[list[str]] = [""]

    async def setup(self) -> None:
        self.current[0] = self.task.answer

    def verify(self, said: str, answer: str) -> float:
        return float(said == self.current[0])


class CountsEpisodes(Sums):
    episodes = 0

    def prompt(self) -> tuple[Message, ...]:
        self.episodes += 1
        return (*super().prompt(), user(f"This is game {self.episodes}."))


class AlwaysTheFirstTask(Sums):
    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> Any:
        return await super().reset(task=task or self.tasks().task(0), seed=seed)


class BlocksTheLoop(Sums):
    async def respond(self, message: Message) -> None:
        if len(message.text) > 50_000:
            time.sleep(0.28)  # noqa: ASYNC251


class SwallowsCancellation(Sums):
    async def respond(self, message: Message) -> None:
        for _ in range(3):
            try:
                await asyncio.sleep(0.002)
            except asyncio.CancelledError:
                continue


class NeverEnds(Sums):
    async def respond(self, message: Message) -> tuple[Message, ...] | None:
        return None if message.text == self.task.answer else (user("No. Try again."),)


EXPECTED: dict[type[Env], set[Probe]] = {
    PaysAnything: {Probe.CONSTANT_REWARD},
    PaysSilence: {Probe.PAYS_NOTHING},
    ObeysTheAnswer: {Probe.OVERRIDE},
    MatchesThePolicysPattern: {Probe.OVERRIDE},
    LikesZero: {Probe.GUESS},
    SearchesTheText: {Probe.LISTING, Probe.HEDGE},
    LikesTheQuestion: {Probe.ECHO},
    AcceptsEitherOr: {Probe.HEDGE},
    ChecksTheFormOnly: {Probe.OTHER_ANSWER},
    PaysForCalling: {Probe.TOOL_ABUSE},
    PaysHalfForNothing: {Probe.PARTIAL_PAY},
    Evaluates: {Probe.EXECUTES},
    Raises: {Probe.RAISES},
    RaisesSystemExit: {Probe.RAISES},
    RaisesOnReset: {Probe.RAISES},
    HangsOnLongText: {Probe.HANGS},
    HangsInAThread: {Probe.HANGS},
    StallsTheLoop: {Probe.HANGS},
    HogsTheProcessor: {Probe.HANGS},
    HangsForEverAndEver: {Probe.HANGS, Probe.IGNORES_CANCELLATION},
    RewardIsText: {Probe.REWARD_TYPE},
    RewardIsNan: {Probe.REWARD_TYPE},
    RewardIsAList: {Probe.REWARD_TYPE},
    RewardOutOfRange: {Probe.REWARD_RANGE},
    NeverScores: {Probe.UNSCORED},
    FourTuple: {Probe.STEP_SHAPE},
    ResetWithoutInfo: {Probe.STEP_SHAPE},
    EndsTwice: {Probe.TERMINATED_AND_TRUNCATED},
    ObservesText: {Probe.OBSERVATION},
    InfoWithObjects: {Probe.INFO_JSON},
    OracleIsWrong: {Probe.ORACLE_FAILS},
    NoOracle: {Probe.NO_ORACLE},
    CloseRaises: {Probe.CLOSE_FAILS},
    TuplesInTasks: {Probe.TASK_JSON},
    ObjectsInTasks: {Probe.TASK_JSON},
    OneIdForAll: {Probe.TASK_IDS},
    OneListForAllSplits: {Probe.SPLIT_OVERLAP},
    TasksHang: {Probe.HANGS},
    TasksRaise: {Probe.CANNOT_PLAY},
    NoTasksAtAll: {Probe.CANNOT_PLAY},
    RollsItsOwnDice: {Probe.NONDETERMINISTIC},
    RollsGlobalDice: {Probe.GLOBAL_RNG},
    SeedsGlobalDice: {Probe.GLOBAL_RNG},
    SharesItsAnswer: {Probe.INTERFERENCE},
    CountsEpisodes: {Probe.RESET_LEAK},
    AlwaysTheFirstTask: {Probe.SEED_IGNORED},
    BlocksTheLoop: {Probe.BLOCKS_LOOP},
    SwallowsCancellation: {Probe.IGNORES_CANCELLATION},
    NeverEnds: {Probe.ENDLESS},
}

NOT_ERRORS: frozenset[type[Env]] = frozenset(
    {
        PaysHalfForNothing,
        NoOracle,
        TuplesInTasks,
        OneIdForAll,
        OneListForAllSplits,
        SeedsGlobalDice,
        SwallowsCancellation,
        NeverEnds,
    }
)
"""Judgement calls: found, but no reason to fail a build."""
