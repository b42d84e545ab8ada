"""The default text the tokenizer is trained on: the protocol a tool-calling policy must speak, generated in code.

The corpus decides which character runs become one token. It holds what appears in nearly every prompt and answer
(digits in pairs, the JSON skeleton of a tool call, arithmetic in words, the commonest English words), so that an
episode of two tool calls stays near sixty tokens. It is built without a random generator: same code, same tokenizer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

OPERATOR_WORDS = (
    "plus",
    "minus",
    "times",
    "divided by",
    "add",
    "subtract",
    "multiply by",
    "added to",
    "over",
    "modulo",
)
OPERATOR_SIGNS = ("+", "-", "*", "/")
QUESTIONS = (
    "{a} {word} {b}",
    "{a} {word} {b}, then {word} {b}",
    "What is {a} {word} {b}?",
    "Compute {a} {sign} {b}.",
    "Calculate {a}{sign}{b} and give the answer.",
)
SENTENCES = (
    "You are a helpful assistant. Use the tools and then give the answer.",
    "Answer the question with the number only. Do not explain.",
    "the of and to in is it for that with as on are be this from or by have not can you we",
    "Let me think step by step. First, then, next, so the result is the answer.",
    "The final answer is \\boxed{7}. error: invalid expression",
    "if each one has more than all of them, how many are there in total?",
    "true false null None True False yes no query text value result",
)
TOOL_NAMES = ("calculator", "calculator", "calculator", "search", "python")
ARGUMENT_NAMES = {"calculator": "expression", "search": "query", "python": "code"}


def protocol_corpus(repeats: int = 40) -> Iterator[str]:
    """Yield the training text of the default tokenizer, line by line.

    `repeats` weighs the protocol against the guarantee that every two-digit chunk is a token; it need not be changed
    unless the vocabulary is made smaller or larger.
    """
    digit_pairs = " ".join(f"{number:02d}" for number in range(100))
    for _ in range(3 * repeats):
        yield digit_pairs
    for round_number in range(repeats):
        yield from SENTENCES
        for index, word in enumerate(OPERATOR_WORDS):
            sign = OPERATOR_SIGNS[index % len(OPERATOR_SIGNS)]
            a, b = 10 + (7 * round_number + index) % 90, 1 + (11 * round_number + 3 * index) % 99
            for question in QUESTIONS:
                yield question.format(a=a, b=b, word=word, sign=sign)
            for tool_name in TOOL_NAMES:
                yield json.dumps({"name": tool_name, "arguments": {ARGUMENT_NAMES[tool_name]: f"{a}{sign}{b}"}})
        yield "tools: calculator"
        yield "tools: calculator, search, python"
