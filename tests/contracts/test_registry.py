from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pydantic
import pytest

from agentenv.env import SyncEnv
from agentenv.errors import MissingExtraError, RegistryError
from agentenv.messages import assistant
from agentenv.registry import EnvSpec, Registry, WrapperSpec, make
from agentenv.wrappers import Limited

ENVIRONMENT = """
from agentenv import ChatEnv, ListTasks, Task, reward

class Riddles(ChatEnv):
    max_turns = 3

    def __init__(self, hint: bool = False) -> None:
        super().__init__()
        self.hint = hint

    def tasks(self, split="train"):
        return ListTasks([Task.ask("egg", "What breaks before use?", answer="egg")])

    @reward
    def correct(self, completion: str, answer: str) -> float:
        return float(completion == answer)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "riddles.py"
    path.write_text(ENVIRONMENT)
    return path


def plugin(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, "agentenv.environments")


def test_a_specification_is_data() -> None:
    wrappers = (WrapperSpec(entry_point="b:B"),)
    spec = EnvSpec(id="ns/a-v2", entry_point="a:A", kwargs={"level": [1, 2]}, wrappers=wrappers)
    assert EnvSpec.model_validate_json(spec.model_dump_json()) == spec
    assert json.loads(spec.model_dump_json())["reward_range"] == [0.0, 1.0]


@pytest.mark.parametrize("id", ["", "noversion", "a-v", "a/b/c-v0", "spa ce-v0", "/a-v0"])
def test_a_malformed_id_is_refused_with_the_right_form(id: str) -> None:
    with pytest.raises(pydantic.ValidationError, match="Name-vN"):
        EnvSpec(id=id, entry_point="a:A")


def test_an_unknown_key_in_a_specification_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="max_turn"):
        EnvSpec.model_validate({"id": "a-v0", "entry_point": "a:A", "max_turn": 3})


def test_the_same_id_cannot_mean_two_things() -> None:
    registry = Registry(plugins=())
    registry.register(EnvSpec(id="a-v0", entry_point="a:A"))
    registry.register(EnvSpec(id="a-v0", entry_point="a:A"))
    with pytest.raises(RegistryError, match="already registered by a:A"):
        registry.register(EnvSpec(id="a-v0", entry_point="b:B"))


def test_an_unknown_id_names_the_nearest_and_a_wrong_version_the_known_ones() -> None:
    registry = Registry(plugins=())
    registry.register(EnvSpec(id="calculator-v0", entry_point="a:A"))
    registry.register(EnvSpec(id="calculator-v2", entry_point="a:A"))
    with pytest.raises(RegistryError, match="Did you mean 'calculator-v"):
        registry.spec("calcualtor-v0")
    with pytest.raises(RegistryError, match="known versions: calculator-v0, calculator-v2"):
        registry.spec("calculator-v1")


def test_only_the_plugin_that_is_asked_for_is_loaded() -> None:
    registry = Registry(
        plugins=[
            plugin("ours", "tests.contracts.plugin_fixture:SPECS"),
            plugin("broken", "tests.contracts.no_such_module:SPECS"),
        ]
    )
    assert registry.spec("ours/one-v0").entry_point == "nowhere:One"
    assert registry.broken == {}
    assert [spec.id for spec in registry.list()] == ["ours/one-v0", "ours/two-v0"]
    assert "no_such_module" in registry.broken["broken"]
    with pytest.raises(RegistryError, match=r"failed to load: broken \(ModuleNotFoundError"):
        registry.spec("ours/three-v0")


def test_what_cannot_be_imported_says_why(file: Path) -> None:
    with pytest.raises(RegistryError, match="cannot import nowhere:One"):
        EnvSpec(id="a-v0", entry_point="nowhere:One").make()
    with pytest.raises(MissingExtraError, match=r"pip install 'agentenv-rl\[math\]'"):
        EnvSpec(id="a-v0", entry_point="nowhere:One", extra="math").make()
    with pytest.raises(RegistryError, match="cannot be built from"):
        make(f"{file}:Riddles", level=3)
    with pytest.raises(RegistryError, match="which is no Env"):
        EnvSpec(id="a-v0", entry_point="builtins:dict").make()


def test_a_file_is_an_environment(file: Path) -> None:
    env = make(f"{file}:Riddles", hint=True)
    assert isinstance(env, Limited)
    assert env.unwrapped.hint is True  # type: ignore[union-attr]
    assert make(str(file)).spec.max_turns == 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("source", "attribute", "message"),
    [
        ("class A: pass", ":Riddles", "has no 'Riddles'; environments in it: none"),
        ("def (", ":Riddles", "cannot be imported: SyntaxError"),
        ("1 / 0", ":Riddles", "cannot be imported: ZeroDivisionError"),
        (ENVIRONMENT + "\nclass Other(Riddles): pass", "", "file.py:Class; environments in it: Riddles, Other"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, source: str, attribute: str, message: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(source)
    with pytest.raises(RegistryError, match=message):
        make(f"{path}{attribute}")


def test_a_file_that_does_not_exist_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="there is no file"):
        make(str(tmp_path / "missing.py"))


def test_the_fingerprint_follows_the_code_and_the_arguments(file: Path, tmp_path: Path) -> None:
    spec = make(str(file)).spec
    assert spec is not None
    assert spec.fingerprint() == make(str(file)).spec.fingerprint()  # type: ignore[union-attr]
    assert spec.fingerprint() != spec.with_kwargs(hint=True).fingerprint()
    before = spec.fingerprint()
    file.write_text(ENVIRONMENT + "\n# changed")
    assert spec.fingerprint() != before


class Shout(SyncEnv):
    def reset(self, *, task=None, seed=None):  # type: ignore[no-untyped-def]
        raise AssertionError("not played here")

    def step(self, action):  # type: ignore[no-untyped-def]
        raise AssertionError("not played here")

    def oracle(self):  # type: ignore[no-untyped-def]
        return assistant("hey")


def test_wrappers_and_limits_are_applied_in_order_and_the_specification_is_attached() -> None:
    spec = EnvSpec(
        id="shout-v0",
        entry_point="tests.contracts.test_registry:Shout",
        max_turns=2,
        wrappers=(WrapperSpec(entry_point="agentenv.wrappers:Limited", kwargs={"max_tool_calls": 4}),),
    )
    env = spec.make()
    assert env.spec is spec
    assert type(env.unwrapped).__name__ == "Shout"
    assert env.oracle().text == "hey"
