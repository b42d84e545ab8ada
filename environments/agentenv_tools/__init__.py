"""Environments of tools: small worlds that are looked at and changed, judged by the state they are left in.

`world` is what a world is, `worlds/` are those there are, `env` plays tasks in them, `errands/` draws the tasks.
`research/` is a small one of its own, to be learnt from nothing.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec
from agentenv_tools.research import SPECS as RESEARCH

SPECS: tuple[EnvSpec, ...] = (
    EnvSpec(
        id="tools/calculator-v0",
        entry_point="agentenv_tools.errands.calculator:CalculatorErrands",
        description="Expressions and sums of money, with a calculator.",
        max_turns=6,
        tags=("tools", "multi-turn", "procedural"),
    ),
    EnvSpec(
        id="tools/python-v0",
        entry_point="agentenv_tools.errands.python:PythonErrands",
        description="Questions that take a program, with Python in a sandbox.",
        max_turns=8,
        tags=("tools", "code", "multi-turn", "procedural"),
    ),
    EnvSpec(
        id="tools/search-v0",
        entry_point="agentenv_tools.errands.search:SearchErrands",
        description="Questions about documents, answered with sources; both are graded. Yours with corpus=.",
        max_turns=16,
        tags=("tools", "search", "multi-turn", "procedural"),
        extra="tools",
    ),
    EnvSpec(
        id="tools/calendar-v0",
        entry_point="agentenv_tools.errands.calendar:CalendarErrands",
        description="A week of events to plan, judged by the calendar as it is left.",
        max_turns=12,
        tags=("tools", "stateful", "multi-turn", "procedural"),
    ),
    EnvSpec(
        id="tools/sql-v0",
        entry_point="agentenv_tools.errands.sql:SqlErrands",
        description="A shop's database to ask and to change, judged by its rows.",
        max_turns=12,
        tags=("tools", "stateful", "multi-turn", "procedural"),
    ),
    EnvSpec(
        id="tools/files-v0",
        entry_point="agentenv_tools.errands.files:FileErrands",
        description="A tree of text files to put in order, judged by what is in it.",
        max_turns=12,
        tags=("tools", "stateful", "multi-turn", "procedural"),
    ),
    EnvSpec(
        id="tools/bookings-v0",
        entry_point="agentenv_tools.errands.bookings:BookingErrands",
        description="Trains to book and to cancel, judged by bookings, seats and money.",
        max_turns=12,
        tags=("tools", "stateful", "multi-turn", "procedural"),
    ),
    EnvSpec(
        id="tools/office-v0",
        entry_point="agentenv_tools.errands.office:Office",
        description="Tasks through several worlds (documents, files, database, calendar, trains), all tools at hand.",
        max_turns=20,
        tags=("tools", "stateful", "multi-turn", "procedural"),
        extra="tools",
    ),
    *RESEARCH,
)
