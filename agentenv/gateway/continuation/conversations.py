"""The conversations of one session: which earlier call a new one goes on from, and with which prompt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from agentenv.gateway.calls import Continuation, ForkReason
from agentenv.gateway.continuation.canonical import (
    REASONING,
    chain,
    digest_of,
    extend,
    holds_media,
    listing,
    reasoning_of,
)
from agentenv.gateway.continuation.completions import completion_body, only_chat_can
from agentenv.gateway.continuation.exact import (
    Answered,
    CanonicalPrompt,
    Realigned,
    Request,
    SampledTokens,
    expected,
    pack,
    realign,
    unpack,
)
from agentenv.gateway.continuation.renderer import Rendered, Renderer, RendererError
from agentenv.gateway.packed import ID_BYTES, shared_ids
from agentenv.messages import Wire

_ENDED = ("stop", "tool_calls")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a call is to be prompted, and what it goes on from.

    Attributes:
        continuation, fork_reason: as known before the call; `Conversations.learn` gives the final word.
        proven: whether this is what the call is to be prompted with; else a guess, see `Conversations.plans`.
        prompt_ids: what to ask `/v1/completions` with; `None` to forward the chat request as it is.
        max_tokens: what may be sampled after `prompt_ids` where the request sets no limit.
        skip_special_tokens: whether the chat route would leave special tokens out of the answer's text.
        tokens_realigned: earlier ids in the prompt, from the first one that the full render spells otherwise.
    """

    continuation: Continuation
    fork_reason: ForkReason | None = None
    proven: bool = True
    prompt_ids: tuple[int, ...] | None = None
    max_tokens: int | None = None
    skip_special_tokens: bool = True
    tokens_realigned: int = 0
    _digest: bytes = field(default=b"", repr=False)
    _opening: bytes = field(default=b"", repr=False)
    _messages: int = field(default=0, repr=False)
    _listing: bytes = field(default=b"", repr=False)
    _stops: bool = field(default=False, repr=False)
    _parent: Answered | None = field(default=None, repr=False)
    _canonical: CanonicalPrompt | None = field(default=None, repr=False)

    def completion_body(self, options: Mapping[str, Any]) -> Wire:
        """The body for `/v1/completions` of a realigned call; `options` as they were given to `Conversations.plan`."""
        assert self.prompt_ids is not None, "only a realigned call is asked with token ids"
        return completion_body(options, self.prompt_ids, self.max_tokens, skip_special_tokens=self.skip_special_tokens)


class Conversations:
    """What one session has said, kept as digests: about 400 bytes an answered call, the tokens apart.

        async for plan in conversations.plans(messages, tools, options, renderer):
            ...  # begin to ask with plan.prompt_ids, or as the agent asked; again when they change
        plan = conversations.learn(plan, answer, tokens, finish_reason)  # what it really was

    Calls of one session may overlap; `plans` changes nothing and `learn` does not wait.
    """

    __slots__ = ("_answered", "_seen")

    def __init__(self) -> None:
        self._answered: dict[bytes, Answered] = {}
        """By the digest of the conversation up to and including the answer."""
        self._seen: set[bytes] = set()
        """Digests of answers, and of the first messages of conversations, system prompts apart."""

    async def plans(
        self, messages: Sequence[Wire], tools: Sequence[Wire], options: Mapping[str, Any], renderer: Renderer
    ) -> AsyncIterator[Plan]:
        """How to prompt a chat request; `options` are its fields besides `messages` and `tools`.

        The last plan is proven. Those before are what it will be as a rule, each given before the server is asked for
        what is missing: a model may be asked by them at once, if nobody sees its answer before the last plan agrees.

        Costs no request for a conversation without an earlier answer, one for a turn whose render is exact, and up to
        eight small ones for a turn that must be realigned. A server that fails at them costs a fork, never the call.
        """
        digests = list(chain(messages))
        opening = next((digest_of(one) for one in messages if one.get("role") not in ("system", "developer")), b"")
        draft = Plan(
            Continuation.OPENING,
            _digest=digests[-1] if digests else b"",
            _opening=opening,
            _messages=len(messages),
            _listing=listing(tools, options),
            _stops=bool(options.get("stop") or options.get("stop_token_ids")),
        )
        earlier = self._continued(digests)
        if earlier is None:
            edited = self._goes_on(messages, opening)
            yield _forked(draft, ForkReason.HISTORY_EDITED) if edited else draft
            return
        draft = replace(draft, _parent=earlier)
        if earlier.tokens is None:
            yield _forked(draft, ForkReason.NO_TOKEN_RECORD)
        elif holds_media(messages) or only_chat_can(options):
            yield _forked(draft, ForkReason.CHAT_ONLY)
        elif not await renderer.ready():
            yield _forked(draft, ForkReason.CANNOT_READ_ANSWER)
        else:
            try:
                async for plan in _exact(draft, earlier, Request(messages, tools, options), renderer):
                    yield plan
            except RendererError:
                yield _forked(draft, ForkReason.CANNOT_RENDER)

    def learn(self, plan: Plan, answer: Wire | None, tokens: SampledTokens | None, finish_reason: str) -> Plan:
        """Remembers an answered call, and corrects its plan by the prompt the server says it used.

        `answer` is the assistant message as delivered, `None` where there was none. `tokens` must not change later.
        """
        prompt = None if tokens is None else _prompt_of(tokens)
        final = _corrected(plan, prompt)
        self._seen.add(plan._opening)
        if answer is None:
            return final
        canonical = None if prompt is None else CanonicalPrompt.of(prompt)
        if plan.prompt_ids is not None and prompt == pack(plan.prompt_ids):
            canonical = plan._canonical
        key = extend(plan._digest, answer)
        known = self._answered.get(key)
        if known is None or tokens is not None:
            self._answered[key] = Answered(
                messages=plan._messages + 1,
                tokens=tokens,
                canonical=canonical,
                listing=plan._listing if known is None or known.listing != plan._listing else known.listing,
                reasoned=bool(reasoning_of(answer)),
                whole=finish_reason in _ENDED and not plan._stops,
            )
            self._seen.add(digest_of(answer))
        return final

    def _continued(self, digests: Sequence[bytes]) -> Answered | None:
        """The answered call that the longest beginning of a conversation is; one with tokens, where there is one."""
        unrecorded = None
        for digest in reversed(digests):
            found = self._answered.get(digest)
            if found is not None:
                if found.tokens is not None:
                    return found
                unrecorded = unrecorded or found
        return unrecorded

    def _goes_on(self, messages: Sequence[Wire], opening: bytes) -> bool:
        """Whether a conversation that no answered call begins is nevertheless an earlier one, edited.

        It has an answer in it, and either begins like an earlier conversation or that answer is one of ours. An agent
        that starts over, also with examples of its own, is none.
        """
        answers = [one for one in messages if one.get("role") == "assistant"]
        return bool(answers) and (opening in self._seen or any(digest_of(one) in self._seen for one in answers))


async def _exact(draft: Plan, earlier: Answered, request: Request, renderer: Renderer) -> AsyncIterator[Plan]:
    assert earlier.tokens is not None
    merged = replace(draft, continuation=Continuation.MERGED)
    yield replace(merged, proven=False)
    full = await renderer.render(request.messages, request.tools, add_generation_prompt=True, options=request.options)
    if full.constrained:
        yield _forked(draft, ForkReason.CHAT_ONLY)
        return
    rendered = pack(full.ids)
    if rendered.startswith(earlier.tokens.ids()):
        yield merged
        return
    hoped = expected(earlier, rendered)
    guess = None if hoped is None else _realigned(draft, earlier, hoped, full, rendered)
    if guess is not None:
        yield replace(guess, proven=False)
    found = await realign(earlier, request, rendered, renderer)
    if not isinstance(found, Realigned):
        yield _forked(draft, _why(found, draft, earlier, request))
    elif guess is not None and found == hoped:
        yield guess
    else:
        yield _realigned(draft, earlier, found, full, rendered)


def _realigned(draft: Plan, earlier: Answered, found: Realigned, full: Rendered, rendered: bytes) -> Plan:
    assert earlier.tokens is not None
    prompt, whole = tuple(unpack(found.prompt)), earlier.tokens.ids()
    return replace(
        draft,
        continuation=Continuation.REALIGNED,
        prompt_ids=prompt,
        max_tokens=None if full.max_tokens is None else max(1, full.max_tokens + len(full.ids) - len(prompt)),
        skip_special_tokens=full.skip_special_tokens,
        tokens_realigned=len(whole) // ID_BYTES - shared_ids(whole, rendered),
        _canonical=CanonicalPrompt.of(rendered, found.shared),
    )


def _why(reason: ForkReason, draft: Plan, earlier: Answered, request: Request) -> ForkReason:
    """Names what the client changed where the template alone would be blamed."""
    if reason is not ForkReason.TEMPLATE_REWRITES_HISTORY:
        return reason
    if draft._listing != earlier.listing:
        return ForkReason.TOOLS_CHANGED
    echo = request.messages[earlier.messages - 1]
    if earlier.reasoned and not any(echo.get(name) for name in REASONING):
        return ForkReason.HISTORY_EDITED
    return reason


def _forked(plan: Plan, reason: ForkReason) -> Plan:
    return replace(plan, continuation=Continuation.FORKED, fork_reason=reason)


def _corrected(plan: Plan, prompt: bytes | None) -> Plan:
    """What the call was, by the prompt ids the server reports."""
    if plan._parent is None or plan._parent.tokens is None or prompt is None:
        return plan
    if prompt.startswith(plan._parent.tokens.ids()):
        if plan.prompt_ids is None:
            return replace(plan, continuation=Continuation.MERGED, fork_reason=None)
        return plan
    reason = plan.fork_reason or ForkReason.TEMPLATE_REWRITES_HISTORY
    return replace(plan, continuation=Continuation.FORKED, fork_reason=reason, tokens_realigned=0)


def _prompt_of(tokens: SampledTokens) -> bytes:
    whole = tokens.ids()
    return whole[: len(whole) - len(tokens.sampled)]
