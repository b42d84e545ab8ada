"""Where BFCL's data and simulators are: in the package `bfcl-eval`, which is read and never changed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

from agentenv.errors import ConfigError, MissingDataError

PACKAGE = "bfcl_eval"
TESTED = "2026.3.23"
"""The release whose data and rules this plugin was checked against."""

_INSTALL = f"pip install --no-deps 'bfcl-eval=={TESTED}' mpmath"
_PREFIX = "BFCL_v4_"

Row = dict[str, Any]
"""A line of a data file."""


def folder() -> Path:
    """The folder of the data.

    Raises:
        MissingDataError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise MissingDataError(f"BFCL's data and simulators are not installed: {_INSTALL}")
    return Path(found.origin).parent / "data"


def rows(name: str) -> list[Row]:
    """The lines of a data file, by its path inside of the data folder.

    Raises:
        MissingDataError: the package, or this file of it, is not there. ConfigError: it is damaged.
    """
    file = folder() / name
    if not file.is_file():
        raise MissingDataError(f"The installed bfcl-eval has no {name}; the release {TESTED} has: {_INSTALL}")
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
    except ValueError as error:
        raise ConfigError(f"{file} is no JSON lines: {error}") from error


def questions(category: str) -> list[Row]:
    """The questions of a category. Raises as `rows`."""
    return rows(f"{_PREFIX}{category}.json")


def answers(category: str) -> dict[str, Any]:
    """The ground truths of a category by the id of their question. Raises as `rows`."""
    return {row["id"]: row["ground_truth"] for row in rows(f"possible_answer/{_PREFIX}{category}.json")}


class Simulator(StrEnum):
    """A simulated world, by the name of its class."""

    FILE_SYSTEM = "GorillaFileSystem"
    MATH = "MathAPI"
    MESSAGES = "MessageAPI"
    POSTS = "TwitterAPI"
    TICKETS = "TicketAPI"
    TRADING = "TradingBot"
    TRAVEL = "TravelAPI"
    VEHICLE = "VehicleControlAPI"

    @property
    def stem(self) -> str:
        """What its module and the file of its function descriptions are called."""
        return _STEMS[self]


_STEMS = {
    Simulator.FILE_SYSTEM: "gorilla_file_system",
    Simulator.MATH: "math_api",
    Simulator.MESSAGES: "message_api",
    Simulator.POSTS: "posting_api",
    Simulator.TICKETS: "ticket_api",
    Simulator.TRADING: "trading_bot",
    Simulator.TRAVEL: "travel_booking",
    Simulator.VEHICLE: "vehicle_control",
}


@functools.cache
def simulator_class(simulator: Simulator) -> type[Any]:
    """The class of a simulator.

    Raises:
        MissingDataError: the package is not installed, or what the simulator needs is not.
    """
    folder()
    module = f"{PACKAGE}.eval_checker.multi_turn_eval.func_source_code.{simulator.stem}"
    try:
        found: type[Any] = getattr(importlib.import_module(module), simulator.value)
    except ImportError as error:
        raise MissingDataError(f"BFCL's {simulator.value} cannot be imported ({error}): {_INSTALL}") from error
    return found


def simulator_functions(simulator: Simulator) -> list[Row]:
    """The descriptions of a simulator's functions. Raises as `rows`."""
    return rows(f"multi_turn_func_doc/{simulator.stem}.json")
