"""What a language model is told so that it plays a customer."""

from __future__ import annotations

from agentenv_tau2.rows import Scenario
from agentenv_tau2.users.contract import Stop

GREETING = "Hi! How can I help you today?"
"""What the model is given to answer with its first words. The agent has not said it, and does not see it."""

_RULES = f"""\
You play a customer who writes to a company's customer service. The scenario below says who you are and what you want. \
The messages you receive are the service agent's.

- Write one message at a time, short and natural, as a person would.
- Keep to the scenario. What it does not say you do not know: never make anything up, not an order number either.
- Use your own words instead of the scenario's.
- Do not tell everything at once. Wait until the agent asks for a piece of information.
- Go on until you have what the scenario says you want; then write {Stop.DONE} and nothing else.
- Once you are handed over to another agent, write {Stop.TRANSFER} and nothing else.
- Where the scenario does not say enough for the conversation to go on, write {Stop.OUT_OF_SCOPE} and nothing else."""

_TOOLS = """
- You have tools of your own, for what is on your side. Use them when the scenario or the agent asks for it; in one \
turn either call a tool or write to the agent.
- What you say about your side must be what your tools have returned. If a call fails, put it right and try again."""


def system_prompt(scenario: Scenario, *, with_tools: bool) -> str:
    """The whole of it: rules, and the scenario."""
    rules = _RULES + (_TOOLS if with_tools else "")
    return f"{rules}\n\n<scenario>\n{_told(scenario)}\n</scenario>"


def _told(scenario: Scenario) -> str:
    parts = [("Who you are", scenario.persona)]
    told = scenario.instructions
    if isinstance(told, str):
        parts.append(("What you do", told))
    else:
        parts += [
            ("Why you write", told.reason_for_call),
            ("What you know", told.known_info),
            ("What you do not know", told.unknown_info),
            ("How you behave", told.task_instructions),
        ]
    return "\n".join(f"{title}: {text}" for title, text in parts if text)
