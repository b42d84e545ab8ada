"""Anthropic's Messages API (`client.messages`) over chat completions."""

from __future__ import annotations

from agentenv.gateway.protocols.anthropic.arguments import INVALID_JSON
from agentenv.gateway.protocols.anthropic.reply import error_body, from_chat
from agentenv.gateway.protocols.anthropic.request import IGNORED, to_chat
from agentenv.gateway.protocols.anthropic.stream import Stream

__all__ = ["IGNORED", "INVALID_JSON", "Stream", "error_body", "from_chat", "to_chat"]
