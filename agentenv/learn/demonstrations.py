"""Demonstrations: conversations turned into rows for supervised learning.

The policy being warmed up has not sampled these tokens, so here, and only here, text is tokenised: by the model's own
chat template, whose `generation` block says which tokens an assistant would have had to sample.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentenv.episode import Episode
from agentenv.learn.errors import InvalidRowError, LearnError
from agentenv.learn.streams import WeightedRow, demonstration
from agentenv.messages import Message


def conversation_of(episode: Episode) -> list[Message]:
    """Everything said in an episode up to its last action, oldest first."""
    messages: list[Message] = []
    for turn in episode.turns:
        messages += [*turn.observation.messages, turn.action.message]
    return messages


class Demonstrations:
    """Renders episodes with the chat template of the model in `folder`.

    Raises:
        LearnError: the folder has no tokenizer or no chat template with a `generation` block.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        template = self._tokenizer.chat_template
        if not isinstance(template, str) or "generation" not in template:
            raise LearnError(
                f"the chat template in {folder} marks no {{% generation %}} block, so nothing says which tokens of a "
                "demonstration to learn"
            )

    def row(self, episode: Episode) -> WeightedRow:
        """One row for the whole conversation; its mask covers what the assistant said, end-of-turn tokens included."""
        if not episode.turns:
            raise InvalidRowError(f"the demonstration {episode.key} has no turn")
        tools = [spec.to_wire() for spec in episode.turns[0].observation.tools]
        rendered = self._tokenizer.apply_chat_template(
            [message.to_wire() for message in conversation_of(episode)],
            tools=tools or None,
            tokenize=True,
            return_dict=True,
            return_assistant_tokens_mask=True,
        )
        return demonstration(str(episode.key), rendered["input_ids"], map(bool, rendered["assistant_masks"]))
