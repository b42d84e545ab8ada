"""agentenv environments as Gymnasium environments: ids, spaces, text, time, and Gymnasium's own checks."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import warnings

import gymnasium
import pytest
from gymnasium.utils.env_checker import check_env
from hypothesis import given, settings
from hypothesis import strategies as st

from agentenv.chat import ChatEnv
from agentenv.env import Action, Env, Info, Observation, StepResult, SyncEnv
from agentenv.errors import AgentenvError, ConfigError, EpisodeTimeout, UnscoredRewardError
from agentenv.gymnasium_bridge import GymnasiumBridge, gymnasium_id, parse_action, register_all, render_observation
from agentenv.gymnasium_bridge.loop import LOOP
from agentenv.messages import Part, assistant, user
from agentenv.registry import EnvSpec, list_environments, make, register
from agentenv.rewards import reward
from agentenv.tasks import ListTasks, Task, TaskSet

CHECKED = [
    "agentenv/calculator-v0",
    "agentenv/math.arithmetic-v0",
    "agentenv/gym.frozen_lake-v0",
    "agentenv/gym.taxi-v0",
    "agentenv/gym.cliff_walking-v0",
    "agentenv/gym.blackjack-v0",
    "agentenv/reasoning_gym.chain_sum-v0",
]


@pytest.mark.parametrize("id", CHECKED)
def test_gymnasiums_own_check_finds_nothing(id: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(gymnasium.make(id).unwrapped)


def test_every_environment_has_a_gymnasium_id() -> None:
    assert all(gymnasium_id(spec.id) in gymnasium.registry for spec in list_environments())


def test_an_environment_registered_later_gets_one_too() -> None:
    register(EnvSpec(id="bridge-test-v0", entry_point="tests.test_gymnasium_bridge:Greeting"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_all()
        register_all()
    env = gymnasium.make("agentenv/bridge-test-v0")
    env.reset(seed=0)
    assert env.step("hello")[1] == 1.0


PROGRAM = """
import sys, gymnasium
env = gymnasium.make("agentenv.gymnasium_bridge:agentenv/calculator-v0", level=1)
print(env.reset(seed=3)[0].splitlines()[-1])
assert not {"reasoning_gym", "torch", "math_verify", "sympy"} & set(sys.modules), "registering must import no plugin"
"""


def test_the_id_alone_can_import_the_bridge_and_no_plugin_with_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "6 times 46\n"


def test_importing_agentenv_does_not_import_gymnasium() -> None:
    program = "import sys, agentenv; agentenv.ChatEnv; assert 'gymnasium' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_a_tool_episode_is_played_in_text() -> None:
    env = gymnasium.make("agentenv/calculator-v0", level=1)
    text, info = env.reset(seed=3)
    assert text.startswith('[tools]\n{"name": "calculator"')
    assert text.endswith("[user]\n6 times 46")
    assert info["messages"] == [{"role": "user", "content": "6 times 46"}]
    call = '<tool_call>{"name": "calculator", "arguments": {"expression": "6*46"}}</tool_call>'
    text, earned, terminated, truncated, info = env.step(call)
    assert (text, earned, terminated, truncated) == ("[tool]\n276", 0.0, False, False)
    assert info["messages"][0]["role"] == "tool"
    text, earned, terminated, truncated, info = env.step("276")
    assert (text, earned, terminated, truncated) == ("", 1.0, True, False)
    assert info["components"] == {"correct": 1.0}
    assert info["env"]["metrics"]["tool_calls"] == 1


def test_the_turn_limit_truncates() -> None:
    env = gymnasium.make("agentenv/calculator-v0")
    env.reset(seed=0)
    ends = [
        env.step('<tool_call>{"name": "calculator", "arguments": {"expression": "1+1"}}</tool_call>')[2:4]
        for _ in range(11)
    ]
    assert ends == [(False, False)] * 10 + [(False, True)]


async def test_the_seed_means_the_same_on_both_sides() -> None:
    env = make("calculator-v0")
    for seed in range(5):
        observation, _ = await env.reset(seed=seed)
        bridged = gymnasium.make("agentenv/calculator-v0")
        assert bridged.reset(seed=seed)[1]["messages"] == [message.to_wire() for message in observation.messages]


def test_resets_without_a_seed_follow_from_the_last_one() -> None:
    def stream(seed: int) -> list[str]:
        env = gymnasium.make("agentenv/calculator-v0")
        return [env.reset(seed=seed)[1]["task"], *(env.reset()[1]["task"] for _ in range(3))]

    assert stream(1) == stream(1) != stream(2)
    assert len(set(stream(1))) == 4


def test_a_task_or_a_split_can_be_chosen_at_reset() -> None:
    env = GymnasiumBridge("calculator-v0")
    task = next(iter(env.environment.tasks("dev")))
    assert env.reset(options={"task": task})[1]["task"] == task.id
    assert env.reset(options={"task": task.to_json()})[1]["task"] == task.id
    tests = {task.id for task in env.environment.tasks("test").head(1024)}
    assert env.reset(seed=5, options={"split": "test"})[1]["task"] in tests
    assert GymnasiumBridge("calculator-v0", split="test").reset(seed=5)[1]["task"] in tests
    with pytest.raises(ConfigError, match=r"no option 'tsak'. Did you mean 'task'"):
        env.reset(options={"tsak": task})
    with pytest.raises(ConfigError, match="Task or the JSON of one"):
        env.reset(options={"task": 7})


def test_ansi_rendering_is_the_conversation_so_far() -> None:
    env = gymnasium.make("agentenv/math.arithmetic-v0", render_mode="ansi")
    env.reset(seed=0)
    env.step("Seven.")
    rendered = env.render()
    assert isinstance(rendered, str)
    assert "[user]\nWhat is" in rendered
    assert rendered.endswith("[assistant]\nSeven.")
    with pytest.raises(ConfigError, match="render_mode"):
        GymnasiumBridge("calculator-v0", render_mode="human")


async def test_it_works_where_an_event_loop_is_running() -> None:
    assert asyncio.get_running_loop().is_running()
    env = gymnasium.make("agentenv/calculator-v0")
    assert "[user]" in env.reset(seed=0)[0]


def test_calling_it_from_its_own_loop_is_refused_instead_of_hanging() -> None:
    async def from_within() -> None:
        GymnasiumBridge("calculator-v0").reset(seed=0)

    with pytest.raises(AgentenvError, match="own event loop"):
        LOOP.run(from_within(), 60, "test")


class Greeting(ChatEnv):
    """Wants to be greeted."""

    def tasks(self, split: str = "train") -> TaskSet:
        return ListTasks([Task.ask("greet", "Say hello — héllo ☃.")])

    @reward
    def correct(self, completion: str) -> float | None:
        return None if completion == "unscored" else float(completion == "hello")


class Slow(Env):
    """Never answers, and remembers that it was cancelled and closed."""

    cancelled = False
    closed = 0

    async def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(Task("slow"), seed)
        return Observation((user("?"),)), {}

    async def step(self, action: Action) -> StepResult:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        raise AssertionError

    async def close(self) -> None:
        self.closed += 1


class Synchronous(SyncEnv):
    """Written without async."""

    def reset(self, *, task: Task | None = None, seed: int | None = None) -> tuple[Observation, Info]:
        self.begin(Task("sync"), seed)
        return Observation((user("?"),)), {"numbers": [1, 2]}

    def step(self, action: Action) -> StepResult:
        return StepResult(Observation(), 1, True, False, {})


def test_an_unscored_step_is_an_error_and_not_a_zero() -> None:
    env = GymnasiumBridge(Greeting())
    env.reset(seed=0)
    with pytest.raises(UnscoredRewardError, match="left this step unscored"):
        env.step("unscored")


def test_a_call_that_takes_too_long_is_cancelled() -> None:
    inner = Slow()
    env = GymnasiumBridge(inner, call_seconds=0.05)
    env.reset(seed=0)
    with pytest.raises(EpisodeTimeout, match=r"Slow.step took longer than 0.05 s"):
        env.step("hello")
    LOOP.run(asyncio.sleep(0), 60, "test")
    assert inner.cancelled


def test_close_may_be_called_again() -> None:
    inner = Slow()
    env = GymnasiumBridge(inner)
    env.close()
    env.close()
    assert inner.closed == 1


def test_synchronous_environments_and_integer_rewards_are_fine() -> None:
    env = GymnasiumBridge(Synchronous())
    env.reset(seed=0)
    _, earned, terminated, _, info = env.step("x")
    assert (type(earned), earned, terminated) == (float, 1.0, True)
    assert info["components"] == {"reward": 1.0}


def test_what_a_user_does_to_an_info_stays_with_them() -> None:
    env = GymnasiumBridge(Synchronous())
    _, info = env.reset(seed=0)
    info["env"]["numbers"].append(3)
    assert env.reset(seed=0)[1]["env"]["numbers"] == [1, 2]


def test_an_observation_may_hold_any_character_and_is_bounded() -> None:
    env = GymnasiumBridge(Greeting())
    text, _ = env.reset(seed=0)
    assert "☃" in text
    assert text in env.observation_space
    assert "x" * 100 not in GymnasiumBridge(Greeting(), max_action_length=99).action_space
    with pytest.raises(AgentenvError, match="raise max_observation_length"):
        GymnasiumBridge(Greeting(), max_observation_length=5).reset(seed=0)


def test_an_action_that_is_no_text_is_refused() -> None:
    env = GymnasiumBridge(Greeting())
    env.reset(seed=0)
    with pytest.raises(ConfigError, match="an action is a text"):
        env.step(7)  # type: ignore[arg-type]


def test_environments_in_forked_processes_have_a_loop_of_their_own() -> None:
    """As in Gymnasium's AsyncVectorEnv."""
    GymnasiumBridge("calculator-v0").reset(seed=0)
    child = os.fork()
    if child == 0:
        ok = "[user]" in GymnasiumBridge("calculator-v0").reset(seed=0)[0]
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_environments_can_be_vectorised() -> None:
    envs = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("agentenv/calculator-v0")] * 3)
    observations, _ = envs.reset(seed=[1, 2, 3])
    assert len(set(observations)) == 3
    _, rewards, terminated, _, _ = envs.step(("a", "b", "c"))
    assert rewards.tolist() == [0.0, 0.0, 0.0]
    assert terminated.all()


ADD = {"name": "add", "arguments": {"a": 1}}
HERMES = f"<tool_call>{json.dumps(ADD)}</tool_call>"


def test_tool_calls_are_read_in_hermes_form_with_the_text_around_them() -> None:
    message = parse_action(f"Let me see. {HERMES}{HERMES}", "call_4")
    assert message.text == "Let me see."
    assert [(call.id, call.name, call.arguments) for call in message.tool_calls] == [
        ("call_4_0", "add", '{"a": 1}'),
        ("call_4_1", "add", '{"a": 1}'),
    ]


@pytest.mark.parametrize("arguments", ['{"a": 1}', {"a": 1}])
def test_tool_calls_are_read_from_an_openai_message(arguments: object) -> None:
    wire = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "add", "arguments": arguments}}]}
    message = parse_action(json.dumps(wire))
    assert [(call.id, call.name, call.arguments) for call in message.tool_calls] == [("call_0", "add", '{"a": 1}')]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "403",
        "{",
        '{"answer": 1}',
        '{"role": "user", "content": "I am you"}',
        '{"role": "assistant", "content": 7}',
        '{"role": "assistant", "tool_calls": [7]}',
        '{"role": "assistant", "tool_calls": 7}',
        '{"role": "assistant", "tool_calls": [{}]}',
        "<tool_call>nonsense</tool_call>",
        '<tool_call>{"name": 7, "arguments": {}}</tool_call>',
        '<tool_call>{"name": "add"}</tool_call>',
        f"{HERMES}<tool_call>nonsense</tool_call>",
        "<tool_call>",
        "{" * 100_000,
        "[" * 100_000,
    ],
)
def test_anything_else_is_plain_text(text: str) -> None:
    assert parse_action(text) == assistant(text)


@given(st.text(alphabet='{}[]":,a1<>/_tolcalrmeasistnu ', max_size=200))
@settings(max_examples=200)
def test_any_text_is_an_action(text: str) -> None:
    assert parse_action(text).role == "assistant"


def test_parts_that_are_no_text_are_named_and_whole_in_the_info() -> None:
    picture = Part.image_url("data:image/png;base64,AAAA")
    shown = render_observation(Observation((user((Part.text("Look: "), picture)),)))
    assert shown == "[user]\nLook: [image_url]"


def test_tools_are_shown_when_they_change() -> None:
    offered = make("calculator-v0").unwrapped.tools.specs  # type: ignore[union-attr]
    assert render_observation(Observation((), offered)).startswith("[tools]\n{")
    assert render_observation(Observation((), offered), offered) == ""
    assert render_observation(Observation((), ()), offered) == "[tools]\nnone"
