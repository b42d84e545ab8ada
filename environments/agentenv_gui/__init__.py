"""Graphical surfaces: a browser and a desktop, acted upon with a mouse and a keyboard.

`actions` is what can be done, `seen` what there is to see, `surface` what is acted upon; `codecs` are the words for
actions, `render` is what is seen as a policy reads it, and `env` makes an environment of all that. `miniwob` is one.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec
from agentenv_gui.miniwob import SPECS as MINIWOB

SPECS: tuple[EnvSpec, ...] = (*MINIWOB,)
