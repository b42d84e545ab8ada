"""What is sent into a sandbox: modules of `agentenv_code.inside` under their own names.

Compiling them takes longer than most programs do, so they go there compiled, for interpreters like this one; others
compile the source that goes with them.
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import marshal
from pathlib import Path

DRIVER = "agentenv_code.inside.driver"
EXAMINER = "agentenv_code.inside.examiner"
_PLAIN = "agentenv_code.inside.plain"
_BOOT = f"""
import binascii, marshal, sys, types
from importlib._bootstrap_external import MAGIC_NUMBER

def _module(name, compiled, source):
    module = sys.modules[name] = types.ModuleType(name)
    alike = MAGIC_NUMBER == {importlib.util.MAGIC_NUMBER!r}
    exec(marshal.loads(binascii.a2b_base64(compiled)) if alike else compile(source, name, "exec"), vars(module))
    return module
"""


@functools.cache
def bundle(module: str) -> str:
    """A program that makes one module, and binds it to `inside`."""
    calls = [f"_module({name!r}, {_compiled(name)!r}, {_source(name)!r})" for name in (_PLAIN, module)]
    return _BOOT + "".join(f"inside = {call}\n" for call in calls)


def _compiled(name: str) -> bytes:
    return base64.b64encode(marshal.dumps(compile(_source(name), name, "exec", dont_inherit=True)))


def _source(name: str) -> str:
    found = importlib.util.find_spec(name)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_text(encoding="utf-8")
