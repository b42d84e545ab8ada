from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentenv.config import load_config, parse_overrides, parse_value
from agentenv.errors import ConfigError


class Shape(StrEnum):
    ROUND = "round"
    SQUARE = "square"


class Learner(pydantic.BaseModel, frozen=True, extra="forbid"):
    lr: float = pydantic.Field(3e-4, gt=0)
    clip_low: float = 0.2
    minibatches: int = pydantic.Field(2, ge=1)
    max_norm: float | None = 1.0
    shape: Shape = Shape.ROUND
    betas: tuple[float, float] = (0.9, 0.999)


class Local(pydantic.BaseModel, extra="forbid"):
    kind: Literal["local"] = "local"
    threads: int = 1


class Remote(pydantic.BaseModel, extra="forbid"):
    kind: Literal["remote"]
    url: str


class Environment(pydantic.BaseModel, extra="forbid"):
    id: str
    kwargs: dict[str, pydantic.JsonValue] = {}


class Config(pydantic.BaseModel):
    name: str = "run"
    seed: int = 0
    quick: bool = False
    output: Path = Path("runs")
    learner: Learner = Learner()
    engine: Annotated[Local | Remote, pydantic.Field(discriminator="kind")] = Local()
    environments: list[Environment] = []

    @pydantic.model_validator(mode="after")
    def _sensible(self) -> Config:
        if self.quick and self.learner.minibatches > 8:
            raise ValueError("quick runs take at most 8 minibatches")
        return self


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(Config, path, overrides)
    return str(caught.value)


def test_no_file_and_no_override_gives_the_defaults() -> None:
    assert load_config(Config) == Config()


def test_a_file_says_only_what_differs_from_its_base(tmp_path: Path) -> None:
    write(tmp_path, "shared/default.toml", "seed = 5\n[learner]\nlr = 1e-3\nclip_low = 0.1\nbetas = [0.5, 0.6]")
    write(tmp_path, "middle.toml", 'base = "shared/default.toml"\n[learner]\nclip_low = 0.3\nbetas = [0.1, 0.2]')
    top = write(tmp_path, "top.toml", 'base = "middle.toml"\nname = "ablation"')
    config = load_config(Config, top)
    assert (config.name, config.seed) == ("ablation", 5)
    assert (config.learner.lr, config.learner.clip_low, config.learner.betas) == (1e-3, 0.3, (0.1, 0.2))


def test_files_based_on_each_other_in_a_circle_are_refused(tmp_path: Path) -> None:
    first = write(tmp_path, "a.toml", 'base = "b.toml"')
    write(tmp_path, "b.toml", 'base = "a.toml"')
    assert "in a circle: a.toml → b.toml → a.toml" in refusal(first)


def test_a_base_used_twice_side_by_side_is_no_circle(tmp_path: Path) -> None:
    write(tmp_path, "root.toml", "seed = 1")
    assert load_config(Config, write(tmp_path, "x.toml", 'base = "root.toml"')).seed == 1
    assert load_config(Config, write(tmp_path, "y.toml", 'base = "root.toml"')).seed == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [('base = "gone.toml"', "gone.toml cannot be read"), ("base = 3", "base must be"), ("seed = = 1", "run.toml: ")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(write(tmp_path, "run.toml", text))


@pytest.mark.parametrize(
    "overrides",
    [["--learner.lr", "3e-5"], ["--learner.lr=3e-5"], ["learner.lr=3e-5"], ["learner.lr=1", "--learner.lr", "3e-5"]],
)
def test_overrides_come_in_three_spellings_and_the_last_wins(overrides: list[str]) -> None:
    assert load_config(Config, None, overrides).learner.lr == 3e-5


def test_overrides_are_read_by_the_type_of_their_field() -> None:
    overrides = [
        "name=123",
        "quick=true",
        "output=a/b",
        "learner.max_norm=none",
        "learner.shape=square",
        "learner.betas=[0.1, 0.2]",
        "learner.minibatches=3",
        'environments=[{id = "a-v0", kwargs = {level = 2}}]',
    ]
    config = load_config(Config, None, overrides)
    assert (config.name, config.quick, config.output) == ("123", True, Path("a/b"))
    assert (config.learner.max_norm, config.learner.shape) == (None, Shape.SQUARE)
    assert (config.learner.betas, config.learner.minibatches) == ((0.1, 0.2), 3)
    assert config.environments == [Environment(id="a-v0", kwargs={"level": 2})]


def test_an_override_reaches_into_a_chosen_alternative() -> None:
    config = load_config(Config, None, ["engine.kind=remote", "engine.url=http://x"])
    assert config.engine == Remote(kind="remote", url="http://x")


def test_an_override_goes_on_top_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "run.toml", "[learner]\nlr = 1.0\nclip_low = 0.4")
    learner = load_config(Config, path, ["--learner.lr", "2.0"]).learner
    assert (learner.lr, learner.clip_low) == (2.0, 0.4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[learner]\nrl = 1e-3", "learner.rl is no setting. Did you mean 'learner.lr'?"),
        ("[learner]\nclip_lo = 0.1", "learner.clip_lo is no setting. Did you mean 'learner.clip_low'"),
        ("[lerner]\nlr = 1e-3", "lerner is no setting. Did you mean 'learner'?"),
        ("lr = 1e-3", "lr is no setting. Did you mean 'learner.lr'?"),
        ("[engine]\nkind = 'local'\nthreds = 2", "engine.threds is no setting. Did you mean 'engine.threads'?"),
        (
            "[[environments]]\nid = 'a'\nkwarg = {}",
            "environments.0.kwarg is no setting. Did you mean 'environments.0.kwargs'",
        ),
        ("zzzzzz = 1", "zzzzzz is no setting. Valid here: engine, environments, learner, name, output, quick, seed."),
    ],
)
def test_a_typo_is_named_with_its_file_and_the_nearest_key(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, "run.toml", text)
    assert f"{path}: {said}" in refusal(path)


def test_a_typo_in_a_base_names_the_base_and_one_on_the_command_line_says_so(tmp_path: Path) -> None:
    base = write(tmp_path, "base.toml", "sed = 1")
    top = write(tmp_path, "top.toml", 'base = "base.toml"')
    problems = refusal(top, "--quik", "true").splitlines()
    assert problems == [
        f"{base}: sed is no setting. Did you mean 'seed'?",
        "command line: quik is no setting. Did you mean 'quick'?",
    ]


def test_free_form_tables_take_any_key() -> None:
    config = load_config(Config, None, ['environments=[{id = "a", kwargs = {whatever = [1]}}]'])
    assert config.environments[0].kwargs == {"whatever": [1]}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["learner.lr=fast"], "command line: learner.lr = 'fast': input should be a valid number"),
        (["learner.lr=-1"], "command line: learner.lr = -1: input should be greater than 0"),
        (["learner.shape=oval"], "learner.shape = 'oval': input should be 'round' or 'square'"),
        (["seed=1.5"], "seed = 1.5: input should be a valid integer"),
        (["engine.kind=remote"], "engine.url is missing"),
        (["learner.betas=fast"], "learner.betas = 'fast': a list is wanted, such as [\"fast\"]"),
        (["quick=true", "learner.minibatches=9"], "quick runs take at most 8 minibatches"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(overrides: list[str], said: str) -> None:
    assert said in refusal(None, *overrides)


@pytest.mark.parametrize("argument", ["--seed", "seed", "=3", "--.lr=1", "a..b=1", ""])
def test_an_override_without_key_or_value_is_refused(argument: str) -> None:
    with pytest.raises(ConfigError, match="sets nothing"):
        parse_overrides([argument])


def test_values_without_a_type_are_read_as_toml_or_left_as_text() -> None:
    texts = ["3", "1.5", "true", "[1, 2]", '"3"', "easy", "a = 1", "1\nb = 2", ""]
    assert [parse_value(text) for text in texts] == [3, 1.5, True, [1, 2], "3", "easy", "a = 1", "1\nb = 2", ""]


finite = st.floats(allow_nan=False, allow_infinity=False)
configs = st.builds(
    Config,
    name=st.text(),
    seed=st.integers(-(2**62), 2**62),
    quick=st.just(False),
    output=st.just(Path("a/b")),
    learner=st.builds(
        Learner,
        lr=st.floats(min_value=1e-12, max_value=1e6),
        clip_low=finite,
        minibatches=st.integers(1, 1000),
        max_norm=st.none() | finite,
        shape=st.sampled_from(Shape),
        betas=st.tuples(finite, finite),
    ),
    engine=st.builds(Local, threads=st.integers()) | st.builds(Remote, kind=st.just("remote"), url=st.text()),
    environments=st.lists(st.builds(Environment, id=st.text(), kwargs=st.dictionaries(st.text(), st.integers()))),
)


@given(configs)
def test_what_a_run_writes_down_reads_back_the_same(tmp_path_factory: pytest.TempPathFactory, config: Config) -> None:
    path = tmp_path_factory.mktemp("config") / "config.json"
    path.write_text(config.model_dump_json())
    assert load_config(Config, path) == config


def leaves(values: Any, at: str = "") -> list[tuple[str, Any]]:
    if isinstance(values, dict) and values:
        return [leaf for key, value in values.items() for leaf in leaves(value, f"{at}.{key}" if at else key)]
    return [(at, values)]


@given(configs)
def test_every_setting_can_be_given_as_an_override(config: Config) -> None:
    values = config.model_dump(mode="json", exclude={"environments"})
    texts = [
        (key, "none" if value is None else value if isinstance(value, str) else json.dumps(value))
        for key, value in leaves(values)
    ]
    read = load_config(Config, None, [f"{key}={text}" for key, text in texts])
    assert read == config.model_copy(update={"environments": []})
