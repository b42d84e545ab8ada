"""`bfcl/multi-turn-v0`: conversations about worlds that each episode has to itself."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import agentenv
from agentenv.env import Action, StepResult
from agentenv.errors import ConfigError
from agentenv.messages import Message, ToolCall, assistant
from agentenv.tasks import Task
from agentenv_bfcl.multi_turn import MultiTurn
from agentenv_bfcl.scenarios import MORE_FUNCTIONS, Category, read_tasks
from tests.bfcl.installed import require_bfcl
from tests.environments.playing import Played, call, continue_oracle, play, play_oracle

DONE = assistant("Done.")


def task_of(category: Category = Category.BASE, index: int = 0) -> Task:
    require_bfcl()
    return read_tasks(category, "test")[index]


def small(truth: list[list[str]], *, held_back: dict[str, list[str]] | None = None) -> Task:
    """A task with a file system that holds a.txt, and this ground truth."""
    require_bfcl()
    contents = {"a.txt": {"type": "file", "content": "hello"}}
    data = {
        "category": "base",
        "simulators": ["GorillaFileSystem"],
        "initial": {"GorillaFileSystem": {"root": {"home": {"type": "directory", "contents": contents}}}},
        "turns": [
            [] if str(turn) in (held_back or {}) else [{"role": "user", "content": f"Request {turn}."}]
            for turn in range(len(truth))
        ],
        "held_back": held_back or {},
    }
    return Task(f"small {json.dumps([truth, held_back])}", (), truth, data, "test")


CAT = call("cat", '{"file_name": "a.txt"}')
TOUCH = call("touch", '{"file_name": "b.txt"}')
LS = call("ls", "{}")


async def earned(task: Task, *messages: Message, silence: bool = False) -> tuple[float, str]:
    """The return of these messages, and what went wrong."""
    played = await play(MultiTurn(silence=silence), messages, task)
    assert played.last.terminated
    return played.total, played.last.info["verdict"]["failure"]


@pytest.mark.parametrize("category", list(Category))
async def test_ground_truths_earn_full_marks_in_one_message_a_turn(category: Category) -> None:
    require_bfcl()
    env = agentenv.make("bfcl/multi-turn-v0", category=category.value)
    for task in list(env.tasks("test"))[::10]:
        played = await play_oracle(env, task)
        assert played.total == 1.0, (task.id, played.last.info["verdict"])
        assert played.last.terminated
        assert not played.last.truncated
        assert played.last.info["metrics"]["tool_calls"] == sum(map(len, task.answer))


@pytest.mark.parametrize("category", list(Category))
async def test_doing_nothing_earns_nothing(category: Category) -> None:
    require_bfcl()
    env = agentenv.make("bfcl/multi-turn-v0", category=category.value)
    for task in list(env.tasks("test"))[::10]:
        played = await play(env, [DONE] * len(task.answer), task)
        assert played.total == 0.0
        assert played.last.terminated
        assert played.last.info["verdict"]["failure"] == "no_call"


async def test_a_message_without_calls_is_answered_with_the_users_next_request() -> None:
    env = MultiTurn()
    opening, _ = await env.reset(task=small([["cat('a.txt')"], ["ls()"]]), seed=0)
    assert [message.text for message in opening.messages] == ["Request 0."]
    shown = await env.step(Action(CAT))
    assert [message.text for message in shown.observation.messages] == ['{"file_content": "hello"}']
    asked = await env.step(Action(DONE))
    assert [message.text for message in asked.observation.messages] == ["Request 1."]
    assert (asked.reward, asked.terminated) == (0.0, False)


async def test_calls_of_one_message_are_made_in_their_order() -> None:
    both = assistant(
        None,
        ToolCall("1", "echo", '{"content": "first", "file_name": "a.txt"}'),
        ToolCall("2", "cat", '{"file_name": "a.txt"}'),
        ToolCall("3", "echo", '{"content": "second", "file_name": "a.txt"}'),
    )
    played = await play(MultiTurn(), [both], small([["ls()"]]))
    texts = [message.text for message in played.last.observation.messages]
    assert texts == ["None", '{"file_content": "first"}', "None"]


async def test_the_worlds_must_be_as_the_ground_truth_leaves_them_after_every_turn() -> None:
    task = small([["touch('b.txt')"], ["rm('b.txt')"]])
    remove = call("rm", '{"file_name": "b.txt"}')
    assert await earned(task, TOUCH, DONE, remove, DONE) == (1.0, "none")
    assert await earned(task, TOUCH, remove, DONE, LS, DONE) == (0.0, "state")
    assert await earned(task, TOUCH, DONE, LS, DONE) == (0.0, "state")


async def test_the_calls_must_have_answered_all_that_the_ground_truths_do() -> None:
    task = small([["cat('a.txt')", "ls()"]])
    assert await earned(task, LS, CAT, DONE) == (1.0, "none")
    assert await earned(task, LS, DONE) == (0.0, "response")
    assert await earned(task, CAT, call("ls", '{"a": true}'), DONE) == (1.0, "none")  # the same answer by other words


async def test_what_was_found_out_in_an_earlier_turn_need_not_be_asked_again_but_some_call_must_be_made() -> None:
    task = small([["ls()"], ["cat('a.txt')"]])
    assert await earned(task, LS, CAT, DONE, call("pwd", "{}"), DONE) == (1.0, "none")
    assert await earned(task, LS, CAT, DONE, DONE) == (0.0, "no_call")


async def test_an_answer_that_is_due_twice_must_be_given_twice() -> None:
    task = small([["ls()", "ls()"]])
    assert await earned(task, LS, DONE) == (0.0, "response")
    assert await earned(task, LS, LS, DONE) == (1.0, "none")


async def test_where_the_ground_truth_makes_no_call_only_the_rule_of_silence_minds_one() -> None:
    task = small([[], ["ls()"]])
    assert await earned(task, DONE, LS, DONE, silence=True) == (1.0, "none")
    assert await earned(task, CAT, DONE, LS, DONE, silence=True) == (0.0, "unasked_call")
    assert await earned(task, CAT, DONE, LS, DONE) == (1.0, "none")
    assert await earned(task, TOUCH, DONE, LS, DONE) == (0.0, "state")  # what it changed is seen in the next turn


async def test_a_call_that_cannot_be_read_is_no_call() -> None:
    task = small([["touch('b.txt')"]])
    assert await earned(task, call("touch", "{"), DONE) == (0.0, "no_call")
    assert await earned(task, call("touch", '["b.txt"]'), DONE) == (0.0, "no_call")
    assert await earned(task, call("tuoch", "{}"), DONE) == (0.0, "state")


async def test_functions_that_are_held_back_appear_when_the_user_says_so() -> None:
    task = small([[], ["cat('a.txt')"]], held_back={"1": ["cat"]})
    env = MultiTurn()
    opening, _ = await env.reset(task=task, seed=0)
    assert "cat" not in {spec.name for spec in opening.tools}
    asked = await env.step(Action(DONE))
    assert [message.text for message in asked.observation.messages] == [MORE_FUNCTIONS]
    assert "cat" in {spec.name for spec in asked.observation.tools}
    await env.step(Action(CAT))
    assert (await env.step(Action(DONE))).reward == 1.0


async def test_every_task_with_held_back_functions_shows_them_in_the_turn_that_its_row_names() -> None:
    require_bfcl()
    env = MultiTurn("miss_func")
    for task in list(env.tasks("test"))[::8]:
        ((turn, names),) = task.data["held_back"].items()
        observation, _ = await env.reset(task=task, seed=0)
        shown = [{spec.name for spec in observation.tools}]
        while len(shown) < len(task.answer):
            result = await env.step(Action(DONE))
            shown.append({spec.name for spec in result.observation.tools})
        for index, offered in enumerate(shown):
            assert offered.isdisjoint(names) if index < int(turn) else offered.issuperset(names), task.id


async def test_a_turn_of_more_than_twenty_messages_with_calls_cuts_the_episode_off() -> None:
    env = MultiTurn()
    played = await play(env, [LS] * 30, small([["ls()"]]))
    assert len(played.steps) == 21
    assert (played.total, played.last.terminated, played.last.truncated) == (0.0, False, True)
    assert played.last.info["stop_reason"] == "turn_limit"
    assert played.last.info["verdict"] == {"failure": "step_limit", "turn": 0}
    assert (await play(env, [*[LS] * 20, DONE], small([["ls()"]]))).total == 1.0


async def test_the_limit_counts_anew_in_every_turn() -> None:
    assert await earned(small([["ls()"], ["ls()"]]), *[LS] * 15, DONE, *[LS] * 15, DONE) == (1.0, "none")


async def test_tools_can_be_switched_off_by_a_rule() -> None:
    env = agentenv.make("bfcl/multi-turn-v0", tool_rules={"without": ["cat"]})
    observation, _ = await env.reset(task=small([["ls()"]]), seed=0)
    assert "cat" not in {spec.name for spec in observation.tools}
    assert "there is no tool 'cat'" in (await env.step(Action(CAT))).observation.messages[0].text


async def test_a_folder_copied_into_itself_is_an_observation_and_a_wrong_state_not_a_crash() -> None:
    make, copy = call("mkdir", '{"dir_name": "d"}'), call("cp", '{"source": "d", "destination": "d"}')
    assert await earned(small([["touch('b.txt')"]]), make, copy, call("du", "{}"), DONE) == (0.0, "state")


async def test_five_hundred_interleaved_episodes_do_not_see_each_other() -> None:
    """Half of them play the ground truth, half something else, turn about in an order drawn anew each round."""
    require_bfcl()
    tasks = [task for category in Category for task in read_tasks(category, "test")[::16]]
    alone = {task.id: _visible(await play_oracle(MultiTurn(), task)) for task in tasks}
    rng = random.Random(5)
    episodes = [(MultiTurn(), tasks[index % len(tasks)], index % 2 == 0) for index in range(500)]
    seen: list[list[StepResult]] = [[] for _ in episodes]
    for env, task, _ in episodes:
        await env.reset(task=task, seed=0)
    going = list(range(len(episodes)))
    while going:
        rng.shuffle(going)
        for index in list(going):
            env, _, right = episodes[index]
            said = env.oracle() if right else _vandal(env, rng)
            seen[index].append(await env.step(Action(said)))
            if seen[index][-1].terminated or seen[index][-1].truncated:
                going.remove(index)
    for (_, task, right), steps in zip(episodes, seen, strict=True):
        if right:
            assert _visible(Played((), tuple(steps))) == alone[task.id]
            assert steps[-1].reward == 1.0
        else:
            assert steps[-1].reward == 0.0


def _vandal(env: MultiTurn, rng: random.Random) -> Message:
    """Calls whatever there is with whatever it can make of it, and seldom nothing."""
    if rng.random() < 0.3:
        return DONE
    spec = rng.choice([tool.spec for tool in env.tools])
    strange = {"string": "x", "integer": 1, "number": 0.5, "boolean": True, "array": ["x"], "object": {"x": 1}}
    arguments = {name: strange[given["type"]] for name, given in spec.parameters["properties"].items()}
    return call(spec.name, json.dumps(arguments))


@settings(max_examples=12)
@given(index=st.integers(0, 199), category=st.sampled_from(list(Category)), seed=st.integers(0, 2**16))
async def test_an_episode_branched_anywhere_goes_on_the_same_and_apart(
    index: int, category: Category, seed: int
) -> None:
    rng, task = random.Random(seed), task_of(category, index)
    env, branch = MultiTurn(), MultiTurn()
    await env.reset(task=task, seed=0)
    for _ in range(rng.randrange(2 * len(task.answer))):
        if (await env.step(Action(env.oracle()))).terminated:
            return
    branch.restore(env.snapshot())
    assert branch.state_key() == env.state_key()
    assert branch.messages == env.messages
    aside = MultiTurn()
    aside.restore(env.snapshot())
    for _ in range(5):
        if (await aside.step(Action(_vandal(aside, rng)))).terminated:
            break
    first, again = await continue_oracle(env), await continue_oracle(branch)
    assert _visible(Played((), first)) == _visible(Played((), again))
    assert first[-1].reward == 1.0


async def test_the_state_tells_worlds_and_what_is_known_apart() -> None:
    task, keys = small([["ls()"], ["ls()"]]), []
    for messages in ([LS], [CAT], [TOUCH], [LS, DONE], []):
        env = MultiTurn()
        await play(env, messages, task)
        keys.append(env.state_key())
    assert len(set(keys)) == len(keys)
    env = MultiTurn()
    await play(env, [LS], task)
    assert env.state_key() == keys[0]


@pytest.mark.parametrize("category", list(Category))
def test_tasks_survive_a_round_trip_through_json(category: Category) -> None:
    for index in (0, 77, 199):
        task = task_of(category, index)
        assert Task.from_json(task.to_json()) == task


async def test_a_changed_task_of_the_same_id_is_not_mistaken_for_the_other() -> None:
    first, second = small([["ls()"]]), small([["touch('b.txt')"]])
    second = Task(first.id, second.prompt, second.answer, second.data, second.split)
    assert await earned(first, LS, DONE) == (1.0, "none")
    assert await earned(second, LS, DONE) == (0.0, "state")
    assert await earned(second, TOUCH, DONE) == (1.0, "none")


@pytest.mark.parametrize(
    ("truth", "said"),
    [([["format_disk()"]], "calls format_disk"), ([["ls(a=b)"]], "literal arguments")],
)
async def test_a_ground_truth_that_cannot_be_played_is_refused(truth: list[list[str]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        await MultiTurn().reset(task=small(truth), seed=0)


def test_arguments_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'miss_func'"):
        MultiTurn("missing_func")
    with pytest.raises(ConfigError, match="steps_per_turn"):
        MultiTurn(steps_per_turn=0)


def _visible(played: Played) -> list[object]:
    """What a policy sees of steps, and their rewards; the seconds that tools took are left out."""
    return [step[:4] for step in played.steps]
