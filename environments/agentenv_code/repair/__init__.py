"""Repositories with a bug: the agent repairs one in its sandbox, and its changes are judged in another.

`instances` are tasks in SWE-bench's shape; `changes` is what an agent did to a repository, as data; `judge` applies it
to a fresh copy and runs named tests there, with `runner` inside; `env` is the environment.
"""

from __future__ import annotations
