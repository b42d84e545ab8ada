"""`python -m agentenv`: the command line, where no script of that name is on the path."""

from __future__ import annotations

from agentenv.cli import main

main()
