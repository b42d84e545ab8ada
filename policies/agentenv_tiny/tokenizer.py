"""A byte-level BPE tokenizer for tiny policies: about 512 tokens, one or two digits a token, any text round-trips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from agentenv_tiny.corpus import protocol_corpus
from agentenv_tiny.template import CHAT_TEMPLATE

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

END_TOKEN = "<|end|>"
PAD_TOKEN = "<|pad|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
TOOL_CALL_TOKENS = ("<tool_call>", "</tool_call>")
"""Visible tokens: decoding keeps them, since the tool-call parser reads the decoded text."""

SPLIT_PATTERN = r"\d{1,2}| ?\p{L}+|[^\s\p{L}\d]+(?: [^\s\p{L}\d]+)*|\s+"
"""Digits in chunks of one or two; words with their leading space; punctuation runs that may hold single spaces, so that
`": {"` of a tool call is one chunk; other white space."""


def build_tokenizer(
    corpus: Iterable[str] | None = None, *, vocabulary_size: int = 512, context: int = 512
) -> PreTrainedTokenizerFast:
    """Train the tokenizer on `corpus` (default: `protocol_corpus()`), deterministically.

    The vocabulary is 6 special tokens, the 256 bytes, the merges learnt from the corpus and the 2 tool-call tokens; it
    may come out smaller than `vocabulary_size` when the corpus has no more pairs to merge, so size the model by
    `len(tokenizer)`.
    Raises ValueError when `vocabulary_size` has no room for the special tokens and the bytes.

    >>> build_tokenizer().decode(build_tokenizer().encode("12 times 34"))
    '12 times 34'
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special_tokens = (PAD_TOKEN, END_TOKEN, *ROLE_TOKENS)
    smallest = 256 + len(special_tokens) + len(TOOL_CALL_TOKENS)
    if vocabulary_size < smallest:
        raise ValueError(
            f"vocabulary_size={vocabulary_size} is too small: the 256 bytes and the tokens of the protocol need at "
            f"least {smallest}"
        )
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size - len(TOOL_CALL_TOKENS),
        show_progress=False,
        special_tokens=[AddedToken(token, normalized=False, special=True) for token in special_tokens],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    backend.train_from_iterator(protocol_corpus() if corpus is None else corpus, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=END_TOKEN,
        pad_token=PAD_TOKEN,
        additional_special_tokens=list(ROLE_TOKENS),
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
    # Added after training, because a trainer makes every token it is given special, and decoding would drop them.
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in TOOL_CALL_TOKENS])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
