"""The proof: where in a full render the sampled tokens of an earlier call may stand instead of the render's own.

Let P be what a call was prompted with, S what it sampled, C what the template makes of the same messages (C = P unless
P was itself realigned), and R the full render of the conversation that goes on. Three ways lead to a prompt that starts
with P + S, and each is checked on token ids or text the *server* gave; nothing is guessed about a template:

1. R starts with P + S. Nothing to do.
2. R starts with C, and for some j the ids R[len(C):j] and S have the same text. Then P + S + R[j:] is the same text as
   R, token for token as sampled. This is plain drift: the tokenizer spells the text otherwise. It needs no idea of
   where turns end, so answers cut by length, several ends of turn and merges across boundaries are all the same to it.
3. The template writes the answer down differently: the JSON of its tool calls, the white space around them. Then R0,
   the render up to the answer without a new turn, says which part of R that answer is; it must start with C, R must
   start with R0 up to the end-of-turn token with which S ended, and the *server's own parsers* must read S and what
   stands between as the same message, reasoning included, with the same tags in the same order. Then
   P + S + R[after that token:] differs from R in that spelling alone.

Everything else is a fork with its reason. In particular a template that drops or shortens earlier reasoning fails 2
(another text) and 3 (another reading), and a changed system prompt or list of tools fails "starts with C".

"R starts with C" is checked up to the last few ids of C, whose text is compared with that of the answer instead:
there, and only there, a tokenizer may merge the end of the prompt with the beginning of the answer.
"""

from __future__ import annotations

import asyncio
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol

from agentenv.gateway.calls import ForkReason
from agentenv.gateway.continuation.canonical import DIGEST_BYTES, reading
from agentenv.gateway.continuation.renderer import Renderer
from agentenv.gateway.packed import ID_BYTES
from agentenv.messages import Wire

WINDOW = 4
"""Ids at the end of a prompt whose text is compared together with the answer's: as far as a merge could reach back,
and context for decoders that look at the token before."""

_NO_CHARACTER = "\ufffd"
_TAG = re.compile(r"</?[^<>\s\"]{1,40}>|\[/?[A-Z_]{2,40}\]")
"""What a template or parser may take for markup. No quotation marks: `<` and `>` in two strings of JSON are no tag,
with or without a space between the strings."""


class SampledTokens(Protocol):
    """The tokens of one call, 32 bits an id. The gateway's own record of a call is one, so nothing is kept twice."""

    @property
    def sampled(self) -> bytes:
        """The sampled ids."""
        ...

    def ids(self) -> bytes:
        """Prompt ids and sampled ids."""
        ...


def pack(ids: Sequence[int]) -> bytes:
    """Ids as 32-bit integers."""
    return array("i", ids).tobytes()


def unpack(packed: bytes) -> array[int]:
    """The ids of `pack`."""
    ids: array[int] = array("i")
    ids.frombytes(packed)
    return ids


@dataclass(frozen=True, slots=True)
class CanonicalPrompt:
    """C, as far as it must be remembered: its length, the last `window` ids it shares with P, a digest of the rest."""

    length: int
    window: int
    digest: bytes

    @classmethod
    def of(cls, rendered: bytes, shared: int | None = None) -> CanonicalPrompt:
        """Of a full render whose last `shared` ids are the prompt's as well (all of them unless given)."""
        length = len(rendered) // ID_BYTES
        window = min(WINDOW, length if shared is None else shared)
        return cls(length, window, _digest(rendered[: (length - window) * ID_BYTES]))

    @property
    def start(self) -> int:
        """Where the window begins."""
        return self.length - self.window

    def begins(self, rendered: bytes) -> bool:
        """Whether a render starts with C up to the window."""
        end = self.start * ID_BYTES
        return len(rendered) >= end and _digest(rendered[:end]) == self.digest


@dataclass(frozen=True, slots=True)
class Answered:
    """What is remembered of an answered call.

    Attributes:
        messages: how many messages there are up to and including the answer.
        tokens: `None` where nobody recorded them. canonical: C.
        listing: what the template saw besides the messages. reasoned: whether the answer came with reasoning.
        whole: whether it ended at the model's end-of-turn token rather than at a limit or a stop string.
    """

    messages: int
    tokens: SampledTokens | None
    canonical: CanonicalPrompt | None
    listing: bytes
    reasoned: bool
    whole: bool


@dataclass(frozen=True, slots=True)
class Realigned:
    """An exact prompt, packed, of which the last `shared` ids are the full render's as well."""

    prompt: bytes
    shared: int


@dataclass(frozen=True, slots=True)
class Request:
    """A chat request: the messages, the tools, and its other fields."""

    messages: Sequence[Wire]
    tools: Sequence[Wire]
    options: Mapping[str, Any]


def expected(earlier: Answered, rendered: bytes) -> Realigned | None:
    """What `realign` most often comes to, known without asking anybody: the new turn begins where the render has ended
    as many turns as the sampled ids. `None` where the answer does not end at a token that ends turns."""
    tokens, canonical = earlier.tokens, earlier.canonical
    if tokens is None or canonical is None or not tokens.sampled or not earlier.whole:
        return None
    if not canonical.begins(rendered):
        return None
    whole, own, theirs = _compared(tokens, canonical, rendered)
    end = _after_same_number_of(own[-1], own, theirs)
    return _spliced(whole, rendered, canonical.start + end) if end else None


async def realign(earlier: Answered, request: Request, rendered: bytes, renderer: Renderer) -> Realigned | ForkReason:
    """The exact prompt of a request that goes on from `earlier` but whose render does not, or why there is none.

    Raises:
        RendererError: the server did not answer what had to be asked.
    """
    tokens, canonical = earlier.tokens, earlier.canonical
    if tokens is None or canonical is None or not tokens.sampled:
        return ForkReason.NO_TOKEN_RECORD
    if not canonical.begins(rendered):
        return ForkReason.TEMPLATE_REWRITES_HISTORY
    whole, own, theirs = _compared(tokens, canonical, rendered)
    end = await _end_of_same_text(own, theirs, renderer, whole=earlier.whole)
    if end:
        return _spliced(whole, rendered, canonical.start + end)
    if not earlier.whole:
        return ForkReason.ANSWER_CUT_SHORT
    return await _rewritten(earlier, request, rendered, renderer)


def _compared(
    tokens: SampledTokens, canonical: CanonicalPrompt, rendered: bytes
) -> tuple[bytes, array[int], array[int]]:
    """P + S, and what is compared of it and of R: all from the window on."""
    whole = tokens.ids()
    own = unpack(whole[-len(tokens.sampled) - canonical.window * ID_BYTES :])
    return whole, own, unpack(rendered[canonical.start * ID_BYTES :])


async def _rewritten(
    earlier: Answered, request: Request, rendered: bytes, renderer: Renderer
) -> Realigned | ForkReason:
    """The third way."""
    tokens, canonical = earlier.tokens, earlier.canonical
    assert tokens is not None
    assert canonical is not None
    history = request.messages[: earlier.messages]
    alone = pack(
        (await renderer.render(history, request.tools, add_generation_prompt=False, options=request.options)).ids
    )
    whole, sampled = tokens.ids(), unpack(tokens.sampled)
    prompt = whole[: -len(tokens.sampled)]
    window = alone[canonical.start * ID_BYTES : canonical.length * ID_BYTES]
    if not canonical.begins(alone) or window != prompt[len(prompt) - len(window) :]:
        return ForkReason.TEMPLATE_REWRITES_HISTORY
    spelling = unpack(alone[canonical.length * ID_BYTES :])
    length = len(spelling)
    while length and spelling[length - 1] != sampled[-1]:
        length -= 1
    if not length:
        return ForkReason.ANSWER_CUT_SHORT
    end = canonical.length + length
    if rendered[: end * ID_BYTES] != alone[: end * ID_BYTES]:
        return ForkReason.TEMPLATE_REWRITES_HISTORY
    theirs, own = spelling[: length - 1], sampled[:-1]
    before, options = unpack(prompt), {**request.options, "include_reasoning": True}
    (their_text, their_reading), (own_text, own_reading) = await asyncio.gather(
        *(
            asyncio.gather(renderer.spell(ids), renderer.read_answer(before, ids, history[:-1], request.tools, options))
            for ids in (theirs, own)
        )
    )
    if reading(their_reading) != reading(own_reading) or _TAG.findall(their_text) != _TAG.findall(own_text):
        return ForkReason.TEMPLATE_REWRITES_HISTORY
    return _spliced(whole, rendered, end)


def _spliced(whole: bytes, rendered: bytes, end: int) -> Realigned:
    rest = rendered[end * ID_BYTES :]
    return Realigned(whole + rest, len(rest) // ID_BYTES)


async def _end_of_same_text(own: array[int], theirs: array[int], renderer: Renderer, *, whole: bool) -> int:
    """Where in `theirs` the text of `own` ends on the boundary of a token; 0 where it does not.

    The end of a turn is a token that one text alone brings about, so it is where `theirs` holds as many of it as `own`.
    The end of a cut answer can be spelled in any way and is searched for. Either way the texts are compared.
    """
    end = _after_same_number_of(own[-1], own, theirs)
    if end:
        spelled = await asyncio.gather(renderer.spell(own), renderer.spell(theirs[:end]))
        if spelled[0] == spelled[1]:
            return end
    return 0 if whole else await _end_of_cut_text(await renderer.spell(own), theirs, renderer)


async def _end_of_cut_text(text: str, theirs: array[int], renderer: Renderer) -> int:
    """Where in `theirs` a text ends that was cut short; 0 where it does not.

    A character that was cut in the middle is shown as `U+FFFD`, or not at all: it may be missing from `theirs`.
    """
    shown = len(text.rstrip(_NO_CHARACTER))
    low, high = 0, min(len(theirs), len(text.encode()) + WINDOW)  # a token brings a byte at least
    while low < high:
        middle = (low + high) // 2
        if len(await renderer.spell(theirs[:middle])) < shown:
            low = middle + 1
        else:
            high = middle
    end = 0
    while low <= len(theirs) and text.startswith(spelled := await renderer.spell(theirs[:low])):
        end = low if len(spelled) >= shown else end
        low += 1
    inside = (await renderer.spell(theirs[end : end + WINDOW])).startswith(_NO_CHARACTER)
    return 0 if inside else end


def _after_same_number_of(token: int, own: array[int], theirs: array[int]) -> int:
    """The position in `theirs` after as many occurrences of `token` as `own` holds; 0 where it has fewer."""
    position = 0
    for _ in range(own.count(token)):
        try:
            position = theirs.index(token, position) + 1
        except ValueError:
            return 0
    return position


def _digest(ids: bytes) -> bytes:
    return blake2b(ids, digest_size=DIGEST_BYTES).digest()
