"""BFCL's package in the tests: whether it is there, and its own checkers, which judge the same answers as ours."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections import defaultdict
from typing import Any

import pytest

from tests.conftest import require


def require_bfcl() -> None:
    """Skips the test, or fails it in CI, where `bfcl-eval` or what its simulators need is missing."""
    for package in ("bfcl_eval", "mpmath", "jsonschema_rs"):
        require(importlib.util.find_spec(package) is not None, f"the package {package}")


def their_ast_checker(patch: pytest.MonkeyPatch) -> Any:
    """The module of BFCL's checker of single turns.

    It imports the handlers of all models for one thing: whether a model's tools have underscores in place of dots.
    """
    models = types.ModuleType("bfcl_eval.constants.model_config")
    models.MODEL_CONFIG_MAPPING = defaultdict(lambda: types.SimpleNamespace(underscore_to_dot=True))  # type: ignore[attr-defined]
    patch.setitem(sys.modules, models.__name__, models)
    return importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")


def their_multi_turn_checker() -> Any:
    """The module of BFCL's checker of conversations."""
    return importlib.import_module("bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker")
