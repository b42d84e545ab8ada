"""Dialects by name, and the page that shows what each can say."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentenv.errors import ConfigError
from agentenv_gui.codecs import DIALECTS, dialect
from agentenv_gui.codecs.table import SAMPLES, between_markers, can_say
from agentenv_gui.seen import Size

PAGE = Path(__file__).parents[2] / "docs" / "gui-actions.md"


def test_a_dialect_is_had_by_name() -> None:
    for name, made in DIALECTS.items():
        spoken = dialect(name, Size(1280, 800), "0-1000")
        assert type(spoken) is made
        assert spoken.name == name


def test_an_unknown_dialect_is_told_with_near_ones() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'openai'"):
        dialect("opnai", Size(1280, 800))
    with pytest.raises(ConfigError, match="There are elements, places"):
        dialect("xyz", Size(1280, 800))
    with pytest.raises(ConfigError, match="no space"):
        dialect("openai", Size(1280, 800), "inches")


def test_every_action_can_be_said_in_some_dialect() -> None:
    spoken = [dialect(name, Size(1280, 800)) for name in DIALECTS]
    for row, examples in SAMPLES:
        assert any(can_say(one, example) for one in spoken for example in examples), row


def test_the_page_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert between_markers(page) == page, "run: python -m agentenv_gui.codecs --write docs/gui-actions.md"
    for name in DIALECTS:
        assert f"`{name}`" in page
