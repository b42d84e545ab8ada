"""A customer without a model: says what the task has told it, word for word, and the same every time."""

from __future__ import annotations

import re

from agentenv_tau2.rows import Scenario
from agentenv_tau2.users.contract import SimulatedUser, Stop, Utterance
from agentenv_tau2.world import Toolbox

_TRANSFERRED = re.compile(r"transferred to a human|transferring you", re.IGNORECASE)
_DONE = re.compile(
    r"anything else|all (is )?done|everything is done|that is all|taken care of|good ?bye|have a (nice|great|good) day",
    re.IGNORECASE,
)
_IDENTITY = re.compile(
    r"\byour (\w+ ){0,3}(e-?mail|name|zip|identity)|(verify|authenticate|identify) you|who (are|am) ", re.IGNORECASE
)
_CONFIRM = re.compile(
    r"\bconfirm|proceed|go ahead|yes/no|\(yes\)|shall i|should i|is that (right|correct|ok)", re.IGNORECASE
)


class ScriptedUser(SimulatedUser):
    """Opens with the reason for the call and then answers by what the agent's words contain.

    The first that fits: words of a transfer end the conversation, and so do words of an end ("anything else?"); asked
    who it is, it says what it knows of itself; asked to confirm, it says yes; asked anything else, it says what it
    wants and what it was told; told something, it asks the agent to go on. Before it leaves it does with its own tools
    what they are for.

    It is a partner for tests and for training that needs no second model. It takes everything that it is offered, and
    keeps nothing back when it is asked: an agent that does well with it has not shown that it would with people.
    """

    def __init__(self, scenario: Scenario, tools: Toolbox) -> None:
        self._scenario = scenario
        self._tools = tools

    async def open(self) -> Utterance:
        told = self._scenario.instructions
        return Utterance(in_first_person(told if isinstance(told, str) else told.reason_for_call))

    async def answer(self, said: str) -> Utterance:
        if _TRANSFERRED.search(said):
            return self._leave("All right.", Stop.TRANSFER)
        if _DONE.search(said):
            return self._leave("No, that is all. Thank you.", Stop.DONE)
        if _IDENTITY.search(said):
            return Utterance(self._knowledge())
        if _CONFIRM.search(said):
            return Utterance("Yes, please go ahead.")
        if "?" in said:
            return Utterance(self._wishes())
        return Utterance("Please go on with what I have asked for.")

    def _leave(self, words: str, stop: Stop) -> Utterance:
        self._tools.leave()
        return Utterance(words, stop)

    def _knowledge(self) -> str:
        told = self._scenario.instructions
        if isinstance(told, str):
            return in_first_person(told)
        parts = [told.known_info, told.unknown_info]
        return in_first_person(" ".join(part for part in parts if part) or "I do not know more.")

    def _wishes(self) -> str:
        told = self._scenario.instructions
        if isinstance(told, str):
            return in_first_person(told)
        return in_first_person(f"{told.reason_for_call} {told.task_instructions}")


_PERSONS = {
    "you are": "I am",
    "you're": "I'm",
    "you were": "I was",
    "yourself": "myself",
    "yours": "mine",
    "your": "my",
    "you": "I",
}
_SECOND_PERSON = re.compile(rf"\b({'|'.join(_PERSONS)})\b", re.IGNORECASE)


def in_first_person(told: str) -> str:
    """Instructions as the one who follows them would say them, as far as words go.

    >>> in_first_person("You are Mia. You want your order sent to yourself.")
    'I am Mia. I want my order sent to myself.'
    """

    def turned(match: re.Match[str]) -> str:
        found = _PERSONS[match[0].lower()]
        return found.capitalize() if match[0][0].isupper() and not found.startswith("I") else found

    return _SECOND_PERSON.sub(turned, told)
