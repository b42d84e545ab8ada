"""Every agentenv environment as a `gymnasium.Env`. (The other direction is the plugin `agentenv_gym`.)

    import gymnasium
    import agentenv.gymnasium_bridge          # registers the ids

    env = gymnasium.make("agentenv/calculator-v0", level=2)
    text, info = env.reset(seed=7)
    text, reward, terminated, truncated, info = env.step(
        '<tool_call>{"name": "calculator", "arguments": {"expression": "12*34"}}</tool_call>'
    )

Gymnasium looks for no plugins of its own accord since version 1.0, so something has to import this module first. The
id can do it: `gymnasium.make("agentenv.gymnasium_bridge:agentenv/calculator-v0")`. Since Gymnasium allows one slash in
an id, `math/gsm8k-v0` is called `agentenv/math.gsm8k-v0` there.
"""

from __future__ import annotations

from agentenv.gymnasium_bridge.env import GymnasiumBridge
from agentenv.gymnasium_bridge.registration import gymnasium_id, register_all
from agentenv.gymnasium_bridge.text import parse_action, render_observation

__all__ = ["GymnasiumBridge", "gymnasium_id", "parse_action", "register_all", "render_observation"]

register_all()
