"""A recording on disk: a folder with a line for everything that was asked of a surface, and its pictures.

recording/
  exchanges.jsonl    a header, and then one line an action or a look, in their order
  screens/           the pictures, each once, named by what is in it
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pydantic

from agentenv.errors import AgentenvError, ConfigError
from agentenv_gui.actions import Action, Zoom
from agentenv_gui.seen import Seen, Size, Wants
from agentenv_gui.wire import action_from_json, action_to_json, seen_from_json, seen_to_json

EXCHANGES, SCREENS = "exchanges.jsonl", "screens"
FORMAT = 1


class RecordingError(AgentenvError):
    """A recording that cannot be written or read; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Acted:
    """An action.

    Attributes:
        action: what was done. refused: what the policy was told where it could not be carried out.
        at: when it was asked for, in seconds since the recording began. seconds: how long it took.
    """

    action: Action
    refused: str | None
    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Looked:
    """A look: what was wanted and what was seen; `at` and `seconds` as for an action."""

    wants: Wants
    zoom: Zoom | None
    seen: Seen
    at: float
    seconds: float


Exchange: TypeAlias = Acted | Looked


class RecordingLog:
    """A recording that is being written. Every exchange is on disk when `append` returns.

    Args:
        folder: new or empty.
        size: of the surface.

    Raises:
        ConfigError: there is a recording in the folder already. RecordingError: it cannot be written.
    """

    def __init__(self, folder: Path, size: Size) -> None:
        self._folder = folder
        if (folder / EXCHANGES).exists():
            raise ConfigError(f"{folder} holds a recording already; record into another folder")
        try:
            (folder / SCREENS).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordingError(f"{folder} cannot be written: {error.strerror}") from error
        self._write({"format": FORMAT, "size": asdict(size)})

    def append(self, exchange: Exchange) -> None:
        """Adds what was done or seen. Raises `RecordingError`."""
        times = {"at": round(exchange.at, 6), "seconds": round(exchange.seconds, 6)}
        if isinstance(exchange, Acted):
            refused = {} if exchange.refused is None else {"refused": exchange.refused}
            self._write({"action": action_to_json(exchange.action), **refused, **times})
            return
        screenshot = exchange.seen.screenshot
        picture = {} if screenshot is None else {"screen": self._keep(screenshot.png)}
        zoom = {} if exchange.zoom is None else {"zoom": asdict(exchange.zoom)}
        self._write({"wants": asdict(exchange.wants), **zoom, "seen": seen_to_json(exchange.seen), **picture, **times})

    def _keep(self, png: bytes) -> str:
        name = f"{hashlib.sha256(png).hexdigest()[:16]}.png"
        path = self._folder / SCREENS / name
        try:
            if not path.exists():
                path.write_bytes(png)
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}") from error
        return name

    def _write(self, line: dict[str, Any]) -> None:
        path = self._folder / EXCHANGES
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        except OSError as error:
            raise RecordingError(f"{path} cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording that was read."""

    size: Size
    exchanges: tuple[Exchange, ...]

    @classmethod
    def read(cls, folder: Path) -> Recording:
        """Reads a folder. A last line that was not written to its end is left out.

        Raises:
            ConfigError: there is none, it is damaged, or of another format.
        """
        path = folder / EXCHANGES
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{folder} is no recording: {error}") from error
        lines = list(_lines(path, text))
        if not lines or lines[0].get("format") != FORMAT:
            raise ConfigError(f"{path} is no recording of format {FORMAT}")
        try:
            exchanges = tuple(_exchange(line, folder / SCREENS) for line in lines[1:])
            return cls(Size(**lines[0]["size"]), exchanges)
        except (KeyError, TypeError, OSError, pydantic.ValidationError) as error:
            raise ConfigError(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _lines(path: Path, text: str) -> Iterator[dict[str, Any]]:
    complete = text.split("\n")[:-1]
    for number, line in enumerate(complete, 1):
        try:
            yield json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{number} is damaged: {error}") from error


def _exchange(line: dict[str, Any], screens: Path) -> Exchange:
    if "action" in line:
        return Acted(action_from_json(line["action"]), line.get("refused"), line["at"], line["seconds"])
    png = (screens / Path(line["screen"]).name).read_bytes() if "screen" in line else b""
    zoom = Zoom(**line["zoom"]) if "zoom" in line else None
    return Looked(Wants(**line["wants"]), zoom, seen_from_json(line["seen"], png), line["at"], line["seconds"])
