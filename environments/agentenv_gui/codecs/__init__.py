"""Dialects: the words in which policies speak of a graphical surface, and which configuration names them how.

`contract` is what a dialect is, `space` its units, `keys` the names of keys, `phrases` and `shapes` what dialects are
made of; every dialect has a file of its own, which names the source that it follows.
"""

from __future__ import annotations

from agentenv.errors import ConfigError, nearest
from agentenv_gui.codecs.anthropic_computer import AnthropicComputer
from agentenv_gui.codecs.anthropic_toolset import AnthropicToolset
from agentenv_gui.codecs.contract import Dialect, DialectError, Native
from agentenv_gui.codecs.elements import Elements
from agentenv_gui.codecs.miniwob import MiniWoB
from agentenv_gui.codecs.openai_computer import OpenAI, OpenAIPreview
from agentenv_gui.codecs.osworld import OSWorld
from agentenv_gui.codecs.places import Places
from agentenv_gui.codecs.space import PIXELS, Space
from agentenv_gui.seen import Size

__all__ = ["DIALECTS", "Dialect", "DialectError", "Native", "Space", "dialect"]

DIALECTS: dict[str, type[Dialect]] = {
    made.name: made
    for made in (Elements, Places, OpenAI, OpenAIPreview, AnthropicComputer, AnthropicToolset, OSWorld, MiniWoB)
}
"""By the name that a configuration uses."""


def dialect(name: str, size: Size, space: str = PIXELS) -> Dialect:
    """The dialect of this name, for a surface of this size.

    >>> dialect("openai", Size(1280, 800), "0-1000").space.to_surface(500, 500)
    Point(x=640.0, y=400.0)

    Raises:
        ConfigError: there is no such dialect or space.
    """
    if name not in DIALECTS:
        raise ConfigError(f"there is no dialect {name!r}.{nearest(name, DIALECTS) or f' There are {_NAMES}.'}")
    return DIALECTS[name](Space.declared(space, size))


_NAMES = ", ".join(DIALECTS)
