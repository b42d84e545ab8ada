"""What the four agents have in common: the model's name, what they are told, and the tool they bring along."""

from __future__ import annotations

from agentenv_calculator.problems import evaluate

MODEL = "tiny"
MAX_TURNS = 6
INSTRUCTIONS = "Use the calculator. Answer with the number only."


def calculator(expression: str) -> str:
    """Calculates one operation on two whole numbers and returns the result.

    Args:
        expression: Two integers with one operator (+, - or *) between them, for example "12*34".
    """
    try:
        return str(evaluate(expression))
    except ValueError as error:
        return f"Error: {error}"
