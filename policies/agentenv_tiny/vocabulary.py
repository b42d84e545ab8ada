"""Text to ids and ids to text without transformers: the `tokenizers` backend with a table of each token's bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from agentenv_tiny.errors import TinyPolicyError


class Vocabulary:
    """The tokenizer of a policy folder, as the server uses it.

    `token_bytes[id]` is what a token adds to the visible text: nothing for special tokens, the bytes of all others.
    Joining them equals `tokenizer.decode(ids, skip_special_tokens=True)`, for a byte-level tokenizer without clean-up.
    """

    def __init__(self, backend: Tokenizer, special_ids: frozenset[int]) -> None:
        self._backend = backend
        self._characters = {character: byte for byte, character in _byte_characters().items()}
        added = backend.get_added_tokens_decoder()
        self.size = backend.get_vocab_size(with_added_tokens=True)
        self.tokens = [backend.id_to_token(index) or "" for index in range(self.size)]
        self.token_bytes = [
            b"" if index in special_ids else token.encode() if index in added else self._bytes_of(token)
            for index, token in enumerate(self.tokens)
        ]
        self.literal_bytes = [
            token.encode() if index in added else self.token_bytes[index] for index, token in enumerate(self.tokens)
        ]
        """As `token_bytes`, with special tokens spelt out."""

    @classmethod
    def from_folder(cls, folder: str | Path) -> Vocabulary:
        """Read `folder/tokenizer.json`. Raises TinyPolicyError when there is none or it is not byte-level."""
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise TinyPolicyError(f"{folder} holds no tokenizer.json: save the policy with agentenv_tiny.create_policy")
        if json.loads(path.read_text())["decoder"].get("type") != "ByteLevel":
            raise TinyPolicyError(f"{path} is not a byte-level tokenizer: serve this model with vLLM instead")
        return cls.from_backend(Tokenizer.from_file(str(path)))

    @classmethod
    def from_backend(cls, backend: Tokenizer) -> Vocabulary:
        """Wrap a tokenizer in memory (`tokenizer.backend_tokenizer` of a transformers one)."""
        added = backend.get_added_tokens_decoder()
        return cls(backend, frozenset(index for index, token in added.items() if token.special))

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; special tokens written in it become their ids, as in transformers."""
        ids: list[int] = self._backend.encode(text, add_special_tokens=False).ids
        return ids

    def id_of(self, token: str) -> int | None:
        """The id of one token, or None."""
        found: int | None = self._backend.token_to_id(token)
        return found

    def decode(self, token_ids: Sequence[int]) -> str:
        """The visible text; bytes that are not UTF-8 become the replacement character."""
        table = self.token_bytes
        return b"".join([table[index] for index in token_ids]).decode(errors="replace")

    def decode_literally(self, token_ids: Sequence[int]) -> str:
        """The text with special tokens spelt out: what `encode` maps back to ids."""
        table = self.literal_bytes
        return b"".join([table[index] for index in token_ids]).decode(errors="replace")

    def _bytes_of(self, token: str) -> bytes:
        return bytes(self._characters[character] for character in token)


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable stand-in for each byte (Radford et al. 2019), in which byte-level vocabularies are written."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    mapping = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in mapping)
    return mapping | {byte: chr(256 + index) for index, byte in enumerate(others)}
