"""Anthropic's toolset `computer_toolset_20260801`: a tool for each action.

Source: `ComputerMemberInput` and `ComputerToolset20260801Param` of the package `anthropic` 2.11, and Anthropic's page
on the computer use tool (2026-10). The members have the words and fields of `computer_20251124`, but take whole
seconds, and can repeat a key.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from agentenv.messages import ToolCall, Wire
from agentenv_gui.actions import Action
from agentenv_gui.codecs.anthropic_computer import WORDS, ComputerWording, Hold, Key, Wait, call_of_block
from agentenv_gui.codecs.contract import Native
from agentenv_gui.codecs.phrases import LONGEST_WAIT, MOST_ACTIONS, Said, Whole, Word, wire
from agentenv_gui.codecs.shapes import ToolEach

_Seconds = Annotated[Whole, Field(ge=0, le=LONGEST_WAIT, description="seconds")]


class _Key(Key):
    repeat: Annotated[Whole, Field(ge=1, le=MOST_ACTIONS, description="times to press it")] = 1


class _Hold(Hold):
    duration: _Seconds


class _Wait(Wait):
    duration: _Seconds


_WORDS = WORDS | {
    "key": Word(_Key, WORDS["key"].about),
    "hold_key": Word(_Hold, WORDS["hold_key"].about),
    "wait": Word(_Wait, WORDS["wait"].about),
}


class AnthropicToolset(ToolEach, ComputerWording, Native):
    """The members of the toolset."""

    name = "anthropic-toolset"
    words = _WORDS

    def meant(self, said: Said) -> tuple[Action, ...]:
        return super().meant(said) * (said.phrase.repeat if isinstance(said.phrase, _Key) else 1)

    @property
    def declaration(self) -> Wire:
        return {"type": "computer_toolset_20260801"}

    def call_of(self, item: Mapping[str, Any]) -> ToolCall:
        return call_of_block(item)

    def item_of(self, call: ToolCall) -> Wire:
        (said,) = self.read(call)
        block = {"type": "tool_use", "id": call.id, "name": said.word, "input": wire(said.phrase)}
        return {**block, "toolset_name": "computer", "caller": {"type": "direct"}}
