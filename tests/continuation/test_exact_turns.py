"""What was sampled is what the next prompt contains, under every template, or the turn is a fork with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("transformers")

from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentenv.gateway.calls import Continuation, ForkReason
from agentenv.messages import Wire
from tests.continuation.local import (
    END,
    TOOLS,
    Agent,
    Asked,
    LocalModel,
    canonical_ids,
    other_ids,
    result,
    tokenizer,
    user,
)
from tests.continuation.templates import (
    ENDLESS,
    HERMES,
    MERGING,
    PLAIN,
    STRIPPING,
    THINKING,
    TRIMMING,
)


def text_of(ids: list[int]) -> str:
    return str(tokenizer().decode(ids, skip_special_tokens=False))


def ended(ids: list[int]) -> list[int]:
    return [*ids, *canonical_ids(END)]


def call_text(arguments: str, *, name: str = "add", white: str = "") -> str:
    return f'<tool_call>{white}{{"name":"{name}","arguments":{arguments}}}{white}</tool_call>'


def assert_exact(before: Asked, now: Asked, continuation: Continuation) -> None:
    assert (now.plan.continuation, now.plan.fork_reason) == (continuation, None)
    assert now.prompt[: len(before.whole)] == before.whole


def assert_forked(now: Asked, reason: ForkReason) -> None:
    assert (now.plan.continuation, now.plan.fork_reason) == (Continuation.FORKED, reason)
    assert now.planned.prompt_ids is None


@pytest.mark.parametrize("template", PLAIN.values(), ids=PLAIN)
async def test_an_answer_sampled_in_other_tokens_than_the_tokenizers_is_kept_as_sampled(template: str) -> None:
    model = LocalModel(template)
    agent = Agent(model)
    opening = [user("12 times 34")]
    sampled = ended(other_ids("the answer is 408, so the result is 408"))
    first = await agent.ask(opening, sampled)
    messages = [*opening, first.answer, user("and then?")]
    second = await agent.ask(messages, ended(other_ids("nothing", seed=3)))
    assert_exact(first, second, Continuation.REALIGNED)
    assert second.prompt != model.prompt(messages)
    assert text_of(second.prompt) == text_of(model.prompt(messages))
    assert second.plan.tokens_realigned > 0
    assert [guess.prompt_ids for guess in second.guesses] == [None, second.planned.prompt_ids]
    third = await agent.ask([*messages, second.answer, user("why?")], ended(canonical_ids("so")))
    assert_exact(second, third, Continuation.REALIGNED)


@pytest.mark.parametrize("template", PLAIN.values(), ids=PLAIN)
async def test_an_answer_the_render_spells_as_it_was_sampled_costs_one_request(template: str) -> None:
    model = LocalModel(template)
    agent = Agent(model)
    opening = [user("12 times 34")]
    first = await agent.ask(opening, ended(canonical_ids("the answer is 408")))
    assert not model.requests
    assert first.plan.continuation is Continuation.OPENING
    second = await agent.ask([*opening, first.answer, user("and then?")], ended(canonical_ids("nothing")))
    assert_exact(first, second, Continuation.MERGED)
    assert [guess.continuation for guess in second.guesses] == [Continuation.MERGED]
    assert model.requests == {"render": 1}


async def test_tool_calls_whose_json_the_template_writes_anew_are_kept_as_sampled() -> None:
    agent = Agent(LocalModel(HERMES), TOOLS)
    opening = [user("3 plus 4")]
    text = "Let me add.\n" + call_text('{"a":3,"b":[4,5]}')
    first = await agent.ask(opening, ended(other_ids(text)))
    assert first.answer["tool_calls"][0]["function"]["arguments"] == '{"a": 3, "b": [4, 5]}'
    messages = [*opening, first.answer, result("7")]
    second = await agent.ask(messages, ended(other_ids("7", seed=5)))
    assert_exact(first, second, Continuation.REALIGNED)
    rest = "\n<|im_start|>user\n<tool_response>\n7\n</tool_response><|im_end|>\n<|im_start|>assistant\n"
    assert text_of(second.prompt[len(first.whole) :]) == rest
    assert second.guesses[-1].prompt_ids == second.planned.prompt_ids
    third = await agent.ask([*messages, second.answer, user("thanks")], ended(canonical_ids("so")))
    assert_exact(second, third, Continuation.REALIGNED)


@pytest.mark.parametrize(
    "changed",
    [
        {"content": ""},
        {"content": None, "refusal": None, "annotations": [], "audio": None, "function_call": None},
        {"parsed": None, "name": None},
    ],
)
async def test_what_clients_change_when_they_send_an_answer_back_is_no_edit(changed: Wire) -> None:
    agent = Agent(LocalModel(HERMES), TOOLS)
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids(call_text('{"a":3}'))))
    (call,) = first.answer["tool_calls"]
    rewritten = json.dumps(json.loads(call["function"]["arguments"]), separators=(",", ":"))
    echo = {
        "tool_calls": [
            {"function": {"arguments": rewritten, "name": "add"}, "type": "function", "id": call["id"], "index": 0}
        ],
        "role": "assistant",
    }
    second = await agent.ask([*opening, echo | changed, result("7")], ended(canonical_ids("7")))
    assert_exact(first, second, Continuation.REALIGNED)


async def test_reasoning_stays_as_sampled_while_the_template_keeps_it_and_forks_when_it_drops_it() -> None:
    agent = Agent(LocalModel(THINKING, reasons=True), TOOLS)
    opening = [user("3 plus 4")]
    thought = "<think>three and four</think>\n"
    first = await agent.ask(opening, ended(other_ids(thought + call_text('{"a":3}'))))
    assert first.answer["reasoning"] == "three and four"
    messages = [*opening, first.answer, result("7")]
    second = await agent.ask(messages, ended(other_ids("<think>so seven</think>7")))
    assert_exact(first, second, Continuation.REALIGNED)
    third = await agent.ask([*messages, second.answer, user("and then?")], ended(canonical_ids("so")))
    assert_forked(third, ForkReason.TEMPLATE_REWRITES_HISTORY)


async def test_a_template_that_drops_the_reasoning_of_every_answer_is_never_realigned() -> None:
    agent = Agent(LocalModel(STRIPPING))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("<think>three and four</think>7")))
    second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("yes")))
    assert_forked(second, ForkReason.TEMPLATE_REWRITES_HISTORY)


async def test_reasoning_the_client_leaves_out_is_an_edit_by_the_client() -> None:
    agent = Agent(LocalModel(THINKING, reasons=True), TOOLS)
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("<think>three</think>\n" + call_text('{"a":3}'))))
    echo = {name: value for name, value in first.answer.items() if name != "reasoning"}
    second = await agent.ask([*opening, echo, result("7")], ended(canonical_ids("7")))
    assert_forked(second, ForkReason.HISTORY_EDITED)


async def test_reasoning_that_was_never_closed_is_not_passed_off_as_closed() -> None:
    agent = Agent(LocalModel(THINKING, reasons=True))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("<think>three and four")))
    echo = first.answer | {"content": ""}
    second = await agent.ask([*opening, echo, result("7")], ended(canonical_ids("7")))
    assert_forked(second, ForkReason.TEMPLATE_REWRITES_HISTORY)


async def test_white_space_a_template_trims_stays_as_sampled() -> None:
    agent = Agent(LocalModel(TRIMMING))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(canonical_ids(" the answer is 7 \n")))
    second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("yes")))
    assert_exact(first, second, Continuation.REALIGNED)


async def test_an_answer_merged_with_the_end_of_its_prompt_is_taken_apart_again() -> None:
    model = LocalModel(MERGING)
    agent = Agent(model)
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(canonical_ids("\nthe answer is 7")))
    messages = [*opening, first.answer, user("sure?")]
    assert model.prompt(messages)[: len(first.prompt)] != first.prompt
    second = await agent.ask(messages, ended(canonical_ids("\n\nyes")))
    assert_exact(first, second, Continuation.REALIGNED)
    third = await agent.ask([*messages, second.answer, user("really?")], ended(canonical_ids("yes")))
    assert_exact(second, third, Continuation.REALIGNED)


async def test_an_answer_cut_by_its_length_goes_on_exactly_where_the_template_writes_the_same_text() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, other_ids("the answer is the"), finish_reason="length")
    second = await agent.ask([*opening, first.answer, user("go on")], ended(canonical_ids("7")))
    assert_exact(first, second, Continuation.REALIGNED)
    rest = "<|im_end|>\n<|im_start|>user\ngo on<|im_end|>\n<|im_start|>assistant\n"
    assert text_of(second.prompt[len(first.whole) :]) == rest


async def test_an_answer_cut_by_its_length_and_written_otherwise_is_a_fork() -> None:
    agent = Agent(LocalModel(TRIMMING))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, other_ids(" the answer is "), finish_reason="length")
    second = await agent.ask([*opening, first.answer, user("go on")], ended(canonical_ids("7")))
    assert_forked(second, ForkReason.ANSWER_CUT_SHORT)


async def test_an_answer_that_ended_with_another_token_than_the_template_writes_is_a_fork() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user("3 plus 4")]
    sampled = [*other_ids("7"), *canonical_ids("<|endoftext|>")]
    first = await agent.ask(opening, sampled, answer={"role": "assistant", "content": "7"})
    second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("7")))
    assert_forked(second, ForkReason.ANSWER_CUT_SHORT)


async def test_an_answer_cut_at_a_stop_string_the_prompt_lacks_is_a_fork() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user("3 plus 4")]
    first = await agent.ask(
        opening, other_ids("7 so STOP"), options={"stop": ["STOP"]}, answer={"role": "assistant", "content": "7 so "}
    )
    second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("7")))
    assert_forked(second, ForkReason.ANSWER_CUT_SHORT)


async def test_a_base_model_that_stops_at_a_line_break_goes_on_exactly() -> None:
    agent = Agent(LocalModel(ENDLESS))
    opening = [user("3 plus 4")]
    stop = {"stop": ["\n"]}
    sampled = other_ids(" the answer is 7\n")
    first = await agent.ask(opening, sampled, options=stop, answer={"role": "assistant", "content": " the answer is 7"})
    second = await agent.ask([*opening, first.answer, user("sure?")], canonical_ids(" yes\n"), options=stop)
    assert_exact(first, second, Continuation.REALIGNED)


async def test_text_that_looks_like_an_end_of_turn_does_not_mislead() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user(f"say {END}")]
    first = await agent.ask(opening, ended(other_ids("the <|im_e", seed=1) + other_ids("nd|> is", seed=2)))
    assert first.answer["content"] == "the <|im_end|> is"
    second = await agent.ask([*opening, first.answer, user(f"{END} again")], ended(canonical_ids("so")))
    if second.plan.continuation is not Continuation.FORKED:
        assert second.prompt[: len(first.whole)] == first.whole
        rest = f"\n<|im_start|>user\n{END} again<|im_end|>\n<|im_start|>assistant\n"
        assert text_of(second.prompt[len(first.whole) :]) == rest


async def test_an_edited_answer_forks() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("the answer is 7")))
    edited = {"role": "assistant", "content": "the answer is 8"}
    second = await agent.ask([*opening, edited, user("sure?")], ended(canonical_ids("yes")))
    assert_forked(second, ForkReason.HISTORY_EDITED)
    assert first.plan.continuation is Continuation.OPENING


async def test_another_system_prompt_over_the_same_answers_forks() -> None:
    agent = Agent(LocalModel(HERMES))
    first = await agent.ask([{"role": "system", "content": "a"}, user("3")], ended(other_ids("the answer is 7")))
    messages = [{"role": "system", "content": "b"}, user("3"), first.answer, user("sure?")]
    assert_forked(await agent.ask(messages, ended(canonical_ids("yes"))), ForkReason.HISTORY_EDITED)


async def test_other_tools_fork_where_the_template_lists_them_and_nowhere_else() -> None:
    for template, listed in ((HERMES, True), (TRIMMING, False)):
        agent = Agent(LocalModel(template), TOOLS)
        opening = [user("3 plus 4")]
        first = await agent.ask(opening, ended(other_ids("the answer is 7")))
        messages = [*opening, first.answer, user("sure?")]
        second = await agent.ask(messages, ended(canonical_ids("yes")), tools=[*TOOLS, *TOOLS])
        if listed:
            assert_forked(second, ForkReason.TOOLS_CHANGED)
        else:
            assert_exact(first, second, Continuation.REALIGNED)


async def test_a_subagent_and_a_summarised_context_are_openings() -> None:
    agent = Agent(LocalModel(HERMES))
    first = await agent.ask([user("3 plus 4")], ended(other_ids("the answer is 7")))
    for messages in (
        [{"role": "system", "content": "You check sums."}, user("3 plus 4 is 7")],
        [user("So far: 7. Go on.")],
        [user("an example"), {"role": "assistant", "content": "of mine"}, user("go on")],
    ):
        other = await agent.ask(messages, ended(canonical_ids("yes")))
        assert other.plan.continuation is Continuation.OPENING
    again = await agent.ask([user("3 plus 4")], ended(canonical_ids("7")))
    assert again.plan.continuation is Continuation.OPENING
    back = await agent.ask([user("3 plus 4"), first.answer, user("sure?")], ended(canonical_ids("yes")))
    assert_exact(first, back, Continuation.REALIGNED)


async def test_of_two_answers_to_one_prompt_each_goes_on_with_its_own_tokens() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user("3 plus 4")]
    answers = [await agent.ask(opening, ended(other_ids(text))) for text in ("the answer is 7", "the result is 8")]
    for first in answers:
        second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("yes")))
        assert_exact(first, second, Continuation.REALIGNED)


async def test_an_answer_whose_tokens_nobody_recorded_forks_unless_an_earlier_one_is_known() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("the answer is 7")), recorded=False)
    messages = [*opening, first.answer, user("sure?")]
    second = await agent.ask(messages, ended(other_ids("yes it is")))
    assert_forked(second, ForkReason.NO_TOKEN_RECORD)
    messages += [second.answer, user("why?")]
    third = await agent.ask(messages, ended(other_ids("because", seed=2)), recorded=False)
    assert_exact(second, third, Continuation.REALIGNED)
    fourth = await agent.ask([*messages, third.answer, user("so?")], ended(canonical_ids("so")))
    assert_exact(second, fourth, Continuation.REALIGNED)


async def test_a_server_that_cannot_be_asked_costs_a_fork_and_not_the_call() -> None:
    for flaw, reason in (("is_ready", ForkReason.CANNOT_READ_ANSWER), ("broken", ForkReason.CANNOT_RENDER)):
        model = LocalModel(HERMES)
        agent = Agent(model)
        opening = [user("3 plus 4")]
        first = await agent.ask(opening, ended(other_ids("the answer is 7")))
        setattr(model, flaw, flaw == "broken")
        messages = [*opening, first.answer, user("sure?")]
        assert_forked(await agent.ask(messages, ended(canonical_ids("yes"))), reason)


async def test_without_a_renderer_the_prompt_the_server_reports_still_tells_what_merged() -> None:
    model = LocalModel(HERMES)
    model.is_ready = False
    agent = Agent(model)
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(canonical_ids("the answer is 7")))
    second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("yes")))
    assert second.planned.continuation is Continuation.FORKED
    assert_exact(first, second, Continuation.MERGED)


@pytest.mark.parametrize(
    "options",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "add"}}},
        {"n": 2},
        {"response_format": {"type": "json_object"}},
        {"continue_final_message": True},
        {"structured_outputs": {"regex": "a"}},
    ],
)
async def test_what_only_the_chat_route_can_do_is_left_to_it(options: dict[str, Any]) -> None:
    agent = Agent(LocalModel(HERMES), TOOLS)
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("the answer is 7")))
    second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("yes")), options=options)
    assert_forked(second, ForkReason.CHAT_ONLY)


async def test_pictures_cannot_travel_as_token_ids() -> None:
    agent = Agent(LocalModel(HERMES))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("the answer is 7")))
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]}
    (plan,) = [plan async for plan in agent.conversations.plans([*opening, first.answer, picture], (), {}, agent.model)]
    assert plan.fork_reason is ForkReason.CHAT_ONLY


@pytest.mark.parametrize("change", ["upper", "replace('e', 'a')", "truncate(9, True, '')", "title", "reverse"])
async def test_a_template_that_says_something_else_is_never_realigned(change: str) -> None:
    template = HERMES.replace("(message.content or '')", f"(message.content or '') | {change}")
    assert template != HERMES
    agent = Agent(LocalModel(template))
    opening = [user("3 plus 4")]
    first = await agent.ask(opening, ended(other_ids("the answer is 7")))
    second = await agent.ask([*opening, first.answer, user("sure?")], ended(canonical_ids("yes")))
    assert_forked(second, ForkReason.TEMPLATE_REWRITES_HISTORY)


words = st.text(st.sampled_from("ab 1\n{}<>|:é✓"), max_size=12)


@st.composite
def conversations(draw: st.DrawFn) -> list[tuple[str, str, int, bool]]:
    """(what the user says, what is sampled, how it is cut into tokens, whether it is cut short) for each turn."""
    turn = st.tuples(words, words, st.integers(0, 1000), st.booleans())
    return draw(st.lists(turn, min_size=2, max_size=5))


@settings(max_examples=60)
@given(conversations(), st.sampled_from(sorted(PLAIN)))
async def test_whatever_is_said_a_prompt_holds_the_sampled_ids_and_the_text_of_the_render(
    turns: list[tuple[str, str, int, bool]], name: str
) -> None:
    model = LocalModel(PLAIN[name])
    agent = Agent(model)
    messages: list[Wire] = []
    before: Asked | None = None
    for question, text, seed, cut in turns:
        messages.append(user(question))
        sampled = other_ids(text, seed) if cut else ended(other_ids(text, seed))
        now = await agent.ask(messages, sampled, finish_reason="length" if cut else "stop")
        if before is not None and now.plan.continuation is not Continuation.FORKED:
            assert now.prompt[: len(before.whole)] == before.whole
            render = text_of(model.prompt(messages))
            if name in ("hermes", "merging"):
                assert text_of(now.prompt) == render
            assert "".join(text_of(now.prompt).split()) == "".join(render.split())
        if name in ("hermes", "merging") and before is not None and before.sampled:
            assert now.plan.continuation is not Continuation.FORKED
        messages.append(now.answer)
        before = now


arguments = st.dictionaries(
    st.text(st.sampled_from("abé"), min_size=1, max_size=3),
    st.integers(-99, 99) | st.text(st.sampled_from('ab <>/"\\\n{}é'), max_size=6) | st.lists(st.booleans(), max_size=2),
    max_size=3,
)
layouts = st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :")])


@example(
    [("", {}, (",", ":"), "", 0), ("", {"b": "<", "a": ">"}, (",", ":"), "", 0), ("", {}, (",", ":"), "", 0)], HERMES
)
@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(words, arguments, layouts, st.sampled_from(["", "\n"]), st.integers(0, 99)), min_size=2, max_size=4
    ),
    st.sampled_from([HERMES, THINKING]),
)
async def test_however_the_json_of_a_call_is_laid_out_it_stays_as_sampled(turns: list[Any], template: str) -> None:
    model = LocalModel(template)
    agent = Agent(model, TOOLS)
    messages: list[Wire] = [user("3 plus 4")]
    before: Asked | None = None
    for said, values, separators, white, seed in turns:
        said = said.replace("<", "").strip()
        text = (said + "\n" if said else "") + call_text(json.dumps(values, separators=separators), white=white)
        now = await agent.ask(messages, ended(other_ids(text, seed)))
        if before is not None:
            assert_exact(before, now, Continuation.REALIGNED)
            rest = text_of(now.prompt[len(before.whole) :])
            assert text_of(model.prompt(messages, TOOLS)).endswith(rest)
            assert rest.count("<tool_response>") == 1
        messages += [now.answer, result("7")]
        before = now
