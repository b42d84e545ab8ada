"""The worlds this package comes with. Importing it makes them known by name."""

from __future__ import annotations

from agentenv_tools.worlds.bookings import BookingsWorld
from agentenv_tools.worlds.calculator import CalculatorWorld
from agentenv_tools.worlds.calendar import CalendarWorld
from agentenv_tools.worlds.files import FilesWorld
from agentenv_tools.worlds.python import PythonWorld
from agentenv_tools.worlds.search import SearchWorld
from agentenv_tools.worlds.sql import SqlWorld

__all__ = [
    "BookingsWorld",
    "CalculatorWorld",
    "CalendarWorld",
    "FilesWorld",
    "PythonWorld",
    "SearchWorld",
    "SqlWorld",
]
