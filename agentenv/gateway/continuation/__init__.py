"""Token-exact turns for any agent that speaks OpenAI: what was sampled is what the next prompt contains.

A chat API sends text, and text has many spellings in tokens. When a server renders a conversation that goes on, the
answer it sampled a moment ago comes back in other ids than it was sampled in, and what is trained is not what was
sampled: *drift*. Here a session remembers its answered calls. A new call that goes on from one is rendered by the
server; if the render does not start with the earlier prompt and sampled ids, the ids are put where the render spells
the same answer, provided that can be **proved** (see `exact`), and the model is asked with token ids. What cannot be
proved is a fork: the chat request goes through as it is, a new branch begins, and the reason is counted.

Everything is asked of the server that samples: `/v1/chat/completions/render` and `/derender` for the template and the
parsers, `/detokenize` for texts (`renderer`). The PyPI package `renderers` was weighed as a second backend and left
out: it needs every model's tokenizer (transformers) in the gateway, knows a fixed list of model families by code
written by hand (24,000 lines; for any other template its `bridge_to_next_turn` gives up), closes answers that were cut
with a token nobody sampled, and keeps or drops reasoning by a setting of its own, where the server's template is what
the model is really served with. `Renderer` is a small protocol, so a stranger can still bring it.
"""

from __future__ import annotations

from agentenv.gateway.continuation.completions import chat_answer, read_ids
from agentenv.gateway.continuation.conversations import Conversations, Plan
from agentenv.gateway.continuation.drift import DriftStatistics
from agentenv.gateway.continuation.exact import SampledTokens
from agentenv.gateway.continuation.renderer import Post, Rendered, Renderer, RendererError, ServerRenderer

__all__ = [
    "Conversations",
    "DriftStatistics",
    "Plan",
    "Post",
    "Rendered",
    "Renderer",
    "RendererError",
    "SampledTokens",
    "ServerRenderer",
    "chat_answer",
    "read_ids",
]
