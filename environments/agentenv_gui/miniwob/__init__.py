"""MiniWoB++: small tasks on web pages, in one headless Chromium.

`source` finds the pages of the package `miniwob`, `tasks` are what is to be done on them. In a page, `clock.js` is its
time, `episode.js` an episode, `state.js` what state it is in, and `oracles/` say what to do next; `scripts` puts them
there. `stage` is such a page, `reading` is what it tells, and `env` is the environment. `oracle` says aloud what an
oracle in a page would do. `proof`
compares episodes in a page that was played on before with those in one that was just loaded; `report` is the table.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec

SPECS: tuple[EnvSpec, ...] = (
    EnvSpec(
        id="gui/miniwob-v0",
        entry_point="agentenv_gui.miniwob.env:MiniWoB",
        description="MiniWoB++: 130 small tasks on web pages, in a headless Chromium. Yours with tasks=.",
        max_turns=100,
        reward_range=(-1.0, 1.0),
        tags=("gui", "browser", "multi-turn", "procedural", "needs-data"),
        extra="gui",
    ),
)
