"""OpenAI's Responses API (`client.responses`) over chat completions."""

from __future__ import annotations

from agentenv.gateway.protocols.responses.reply import error_body, from_chat, response_id
from agentenv.gateway.protocols.responses.request import IGNORED, Earlier, to_chat
from agentenv.gateway.protocols.responses.stream import Stream

__all__ = [
    "IGNORED",
    "Earlier",
    "Stream",
    "error_body",
    "from_chat",
    "response_id",
    "to_chat",
]
