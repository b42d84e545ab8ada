"""What was recorded of a surface is replayed without it, and only that."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agentenv.errors import ConfigError, SandboxError
from agentenv_gui.actions import Action, Click, Element, Look, Point, Press, TypeText, Zoom
from agentenv_gui.recording.log import EXCHANGES, SCREENS, Acted, Recording
from agentenv_gui.recording.recorder import RecordedSurface
from agentenv_gui.recording.replay import DivergedError, ReplayedSurface
from agentenv_gui.seen import Box, Node, Screenshot, Seen, Size, Tree, Wants
from agentenv_gui.surface import ActionError


@dataclass
class Counter:
    """A surface that counts its clicks and shows the number; a click at a negative place is none."""

    size: Size = field(default_factory=lambda: Size(100, 50))
    clicks: int = 0

    async def act(self, action: Action) -> None:
        if isinstance(action, Press):
            raise SandboxError("the machine is gone")
        if isinstance(action, Click) and isinstance(action.at, Point) and action.at.x < 0:
            raise ActionError("(-1, 0) is outside of the screen")
        self.clicks += isinstance(action, Click)

    async def see(self, wants: Wants, zoom: Zoom | None = None) -> Seen:
        picture = Screenshot(b"picture %d" % (self.clicks % 2), self.size) if wants.screenshot else None
        tree = Tree((Node(1, "button", str(self.clicks), box=Box(10, 10, 20, 10)),), None) if wants.tree else None
        return Seen(picture, tree, (1.0, 2.0), "Counter", "", ("it rang",) if zoom else ())


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += 0.5
        return self.now


async def played(folder: Path) -> list[Seen]:
    surface = RecordedSurface(Counter(), folder, Clock())
    seen = [await surface.see(Wants())]
    await surface.act(Click(Element(1)))
    seen.append(await surface.see(Wants(screenshot=False)))
    with pytest.raises(ActionError):
        await surface.act(Click(Point(-1, 0)))
    await surface.act(Click(Point(20, 15), count=2))
    seen.append(await surface.see(Wants(), Zoom(0, 0, 10, 10)))
    return seen


async def test_a_replayed_surface_answers_as_the_recorded_one_did(tmp_path: Path) -> None:
    seen = await played(tmp_path / "it")
    surface = ReplayedSurface(Recording.read(tmp_path / "it"))
    assert surface.size == Size(100, 50)
    assert await surface.see(Wants()) == seen[0]
    await surface.act(Click(Element(1)))
    assert await surface.see(Wants(screenshot=False)) == seen[1]
    with pytest.raises(ActionError, match="outside of the screen"):
        await surface.act(Click(Point(-1, 0)))
    await surface.act(Click(Point(20, 15), count=2))
    assert not surface.over
    assert await surface.see(Wants(), Zoom(0, 0, 10, 10)) == seen[2]
    assert surface.over


async def test_what_was_not_recorded_is_not_made_up(tmp_path: Path) -> None:
    await played(tmp_path / "it")
    recording = Recording.read(tmp_path / "it")
    with pytest.raises(DivergedError, match="exchange 1 of the recording is a look"):
        await ReplayedSurface(recording).act(Look())
    with pytest.raises(DivergedError, match=r"exchange 1 .* not a look at Wants\(screenshot=False"):
        await ReplayedSurface(recording).see(Wants(screenshot=False))
    surface = ReplayedSurface(recording)
    await surface.see(Wants())
    with pytest.raises(DivergedError, match=r"exchange 2 .*'click'.* not the action .*'type_text'"):
        await surface.act(TypeText("x"))
    with pytest.raises(DivergedError, match="the recording ends after 0 exchanges"):
        await ReplayedSurface(Recording(Size(1, 1), ())).see(Wants())


async def test_times_are_those_of_the_clock(tmp_path: Path) -> None:
    await played(tmp_path / "it")
    exchanges = Recording.read(tmp_path / "it").exchanges
    assert [(exchange.at, exchange.seconds) for exchange in exchanges[:3]] == [(0.5, 0.5), (1.5, 0.5), (2.5, 0.5)]


async def test_a_picture_is_kept_once(tmp_path: Path) -> None:
    await played(tmp_path / "it")
    assert len(list((tmp_path / "it" / SCREENS).iterdir())) == 1


async def test_a_surface_that_fails_ends_the_recording_and_leaves_what_there_was(tmp_path: Path) -> None:
    surface = RecordedSurface(Counter(), tmp_path / "it")
    await surface.act(Look())
    with pytest.raises(SandboxError):
        await surface.act(Press(("Enter",)))
    (only,) = Recording.read(tmp_path / "it").exchanges
    assert isinstance(only, Acted)
    assert only.action == Look()


async def test_a_line_that_was_not_written_to_its_end_is_left_out(tmp_path: Path) -> None:
    await played(tmp_path / "it")
    file = tmp_path / "it" / EXCHANGES
    whole = len(Recording.read(tmp_path / "it").exchanges)
    file.write_bytes(file.read_bytes()[:-10])
    assert len(Recording.read(tmp_path / "it").exchanges) == whole - 1


async def test_a_recording_is_not_written_over(tmp_path: Path) -> None:
    await played(tmp_path / "it")
    with pytest.raises(ConfigError, match="holds a recording already"):
        RecordedSurface(Counter(), tmp_path / "it")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is no recording"),
        ("", "is no recording of format 1"),
        ('{"format": 2}\n', "is no recording of format 1"),
        ('{"format": 1, "size": {"width": 1, "height": 1}}\nnonsense\n', "exchanges.jsonl:2 is damaged"),
        ('{"format": 1, "size": {"width": 1, "height": 1}}\n{"at": 1}\n', "is damaged: KeyError"),
        ('{"format": 1, "size": {"width": 1}}\n', "is damaged: TypeError"),
    ],
)
def test_what_is_no_recording_is_refused(content: str | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / EXCHANGES).write_text(content)
    with pytest.raises(ConfigError, match=says):
        Recording.read(tmp_path)


async def test_a_picture_is_looked_for_in_the_recording_only(tmp_path: Path) -> None:
    """A recording from elsewhere cannot make anybody read another file."""
    await played(tmp_path / "it")
    (tmp_path / "secret.png").write_bytes(b"secret")
    file = tmp_path / "it" / EXCHANGES
    file.write_text(file.read_text().replace('"screen": "', '"screen": "../../secret.png", "was": "'))
    with pytest.raises(ConfigError, match="is damaged: FileNotFoundError"):
        Recording.read(tmp_path / "it")
