"""The source that is sent into a sandbox: modules of `agentenv_code.inside` under their own names."""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

_BOOT = """
import sys, types

def _module(name, source):
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec", dont_inherit=True), vars(module))
    return module
"""
DRIVER = "agentenv_code.inside.driver"
EXAMINER = "agentenv_code.inside.examiner"
_PLAIN = "agentenv_code.inside.plain"


@functools.cache
def bundle(module: str) -> str:
    """A program that makes one module, and binds it to `inside`."""
    sources = {name: _source(name) for name in (_PLAIN, module)}
    return _BOOT + "".join(f"inside = _module({name!r}, {source!r})\n" for name, source in sources.items())


def _source(name: str) -> str:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_text(encoding="utf-8")
