"""A terminal: task folders in Harbor's format, a `bash` tool, and a verifier that comes when the agent has gone.

`folder` reads a task, `settings` its task.toml, `dockerfile` what its image would be made of; `ground` lays it out in a
sandbox, `shell` is what the agent works with, `verifier` says what its work is worth, and `env` puts them together.
"""

from __future__ import annotations
