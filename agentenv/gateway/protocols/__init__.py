"""Other people's APIs over OpenAI chat completions: the Responses API and Anthropic's Messages API.

Pure functions from JSON objects to JSON objects; nothing here knows HTTP, sessions or servers. Each protocol is a
module with the same five names:

    chat_request = responses.to_chat(body)                    # ProtocolError names what has no counterpart
    body = responses.from_chat(chat_reply, request_body)      # a whole answer
    stream = responses.Stream(request_body)                   # or piece by piece, as server-sent events
    for chunk in chat_chunks: send(stream.feed(chunk))
    send(stream.finish())                                     # or stream.fail({"message": …}) when it broke
    responses.error_body(400, "…", param="input")             # an error as that protocol's clients expect it

A parameter is translated, or listed with a reason in the protocol's `IGNORED` table (billing, caching and tracing:
things that change nothing about the answer), or refused. Fields of vLLM's own that its chat endpoint knows are passed
on.
"""

from __future__ import annotations

from agentenv.gateway.protocols.common import ProtocolError

__all__ = ["ProtocolError"]
