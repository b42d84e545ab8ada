"""Adapters: they alone are trained, and what is served and saved is an ordinary model."""

from __future__ import annotations

import builtins
import copy
import random
from pathlib import Path
from typing import Any

import numpy
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.errors import ConfigError, MissingExtraError  # noqa: E402
from agentenv.learn.adapters import adapters_of, merged, without_adapters  # noqa: E402
from agentenv.learn.config import LearnerConfig, LoraConfig, TrainConfig  # noqa: E402
from agentenv.learn.learner import Learner  # noqa: E402
from agentenv.learn.loop import train  # noqa: E402
from agentenv.learn.model import load_model, prepare  # noqa: E402
from agentenv.learn.parallel import Parallel  # noqa: E402
from agentenv.learn.weights import Weights  # noqa: E402
from tests.learn.build import logprobs_of, random_rows, tiny_model, trainer  # noqa: E402
from tests.learn.letters import FIRST_LETTER, LETTERS, DirectPolicy  # noqa: E402

LORA = LoraConfig(rank=3, alpha=6.0)


def test_a_merged_weight_worked_by_hand() -> None:
    state = {
        "layer.base_layer.weight": torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        "layer.base_layer.bias": torch.tensor([5.0, 6.0]),
        "layer.lora_A.default.weight": torch.tensor([[1.0, 2.0]]),
        "layer.lora_B.default.weight": torch.tensor([[3.0], [4.0]]),
        "norm.weight": torch.tensor([7.0]),
    }
    # B A = [[3, 6], [4, 8]], times alpha / rank = 2.
    ordinary = merged(state, LoraConfig(rank=1, alpha=2.0))
    assert {name: tensor.tolist() for name, tensor in ordinary.items()} == {
        "layer.weight": [[7.0, 12.0], [8.0, 17.0]],
        "layer.bias": [5.0, 6.0],
        "norm.weight": [7.0],
    }
    assert list(adapters_of(state)) == ["layer.lora_A.default.weight", "layer.lora_B.default.weight"]


def test_without_peft_the_message_names_the_line_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def no_peft(name: str, *rest: Any, **more: Any) -> Any:
        if name == "peft":
            raise ImportError(name)
        return plain(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_peft)
    with pytest.raises(MissingExtraError, match=r"learner\.lora needs .* pip install 'agentenv-rl\[lora\]'"):
        prepare(tiny_model(), LearnerConfig(lora=LORA))


class TestWithPeft:
    """What can only be seen where peft is installed."""

    @pytest.fixture(autouse=True)
    def _peft(self) -> None:
        pytest.importorskip("peft")

    def test_new_adapters_change_nothing_and_are_the_same_for_the_same_seed(self) -> None:
        one, same, other = (adapted(seed=seed) for seed in (1, 1, 2))
        assert logprobs(one) == logprobs(tiny_model())
        assert torch.equal(line(one, "lora_A"), line(same, "lora_A"))
        assert not torch.equal(line(one, "lora_A"), line(other, "lora_A"))

    def test_only_adapters_are_trained(self) -> None:
        model, start = trained()
        state = model.state_dict()
        for name, before in start.items():
            assert torch.equal(state[name], before) == ("lora_" not in name)

    def test_the_merged_weights_say_what_the_adapted_model_says(self, tmp_path: Path) -> None:
        model, _ = trained()
        weights = Weights(model, LORA, Parallel())
        ordinary = tiny_model()
        assert weights.state_dict().keys() == ordinary.state_dict().keys()
        ordinary.load_state_dict(weights.state_dict())
        weights.save_pretrained(tmp_path)
        for model_of_others in (ordinary, load_model(tmp_path)):
            assert logprobs(model_of_others) == pytest.approx(logprobs(model), abs=1e-5)
            assert logprobs(model_of_others) != pytest.approx(logprobs(tiny_model()), abs=1e-3)

    def test_under_the_adapters_is_the_model_they_were_put_into(self) -> None:
        model, _ = trained()
        with without_adapters(model):
            assert logprobs(model) == logprobs(tiny_model())
        assert logprobs(model) != logprobs(tiny_model())
        assert all(p.requires_grad == ("lora_" in name) for name, p in model.named_parameters())

    def test_a_learner_with_adapters_needs_no_second_model_as_its_reference(self) -> None:
        config = {"environment": "e", "learner": {"lora": LORA.model_dump()}, "loss": {"kl": {}}}
        learner = Learner(tiny_model(), TrainConfig.model_validate(config))
        assert not learner.wants_reference
        rows = random_rows(3)
        found = learner._reference_logprobs(rows)
        assert [stream[one.mask].tolist() for stream, one in zip(found, rows, strict=True)] == [
            pytest.approx(logprobs_of(tiny_model(), one.ids.tolist(), numpy.nonzero(one.mask)[0].tolist()), abs=1e-5)
            for one in rows
        ]
        warmed = TrainConfig.model_validate(config | {"warmup": {}})
        assert Learner(tiny_model(), warmed).wants_reference

    def test_a_learner_goes_on_from_its_state_and_the_base_model(self) -> None:
        config = TrainConfig.model_validate({"environment": "e", "learner": {"lora": LORA.model_dump()}})
        first, second = (Learner(tiny_model(), config) for _ in range(2))
        rows = random_rows(6, model=tiny_model())
        first._trainer.update(rows, random.Random(0))
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        for learner in (first, second):
            learner._trainer.update(rows, random.Random(1))
        ours, theirs = first.weights.state_dict(), second.weights.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    @pytest.mark.slow
    async def test_a_run_is_served_and_saves_ordinary_models_and_goes_on_exactly(self, tmp_path: Path) -> None:
        start = tmp_path / "start"
        tiny_model(vocab_size=FIRST_LETTER + len(LETTERS)).save_pretrained(start)

        async def run(name: str, iterations: int) -> DirectPolicy:
            policy = DirectPolicy(start)  # type: ignore[abstract]
            result = await train(letters(iterations), policy, tmp_path / name)
            saved = load_model(result.last_folder).state_dict().values()
            assert torch.equal(torch.cat([tensor.flatten() for tensor in saved]), policy.weights())
            return policy

        whole = await run("whole", 4)
        await run("broken", 2)
        resumed = await run("broken", 4)
        assert torch.equal(resumed.weights(), whole.weights())
        assert not torch.equal(whole.weights(), DirectPolicy(start).weights())  # type: ignore[abstract]

    def test_activations_may_be_computed_again(self) -> None:
        plain, _ = trained()
        again, _ = trained(gradient_checkpointing=True)
        assert torch.allclose(line(plain, "lora_B"), line(again, "lora_B"), atol=1e-6)

    def test_targets_are_layers_by_the_last_part_of_their_name_and_never_the_head(self) -> None:
        model = adapted(targets=("q_proj", "down_proj"))
        layers = {name.split(".lora_")[0].rpartition(".")[2] for name in adapters_of(model.state_dict())}
        assert layers == {"q_proj", "down_proj"}
        for target in ("lm_head", "q_prj"):
            with pytest.raises(ConfigError, match=rf"'{target}'; there are down_proj, .*q_proj"):
                adapted(targets=(target,))
        assert not any("lm_head" in name for name in adapters_of(adapted().state_dict()))


def letters(iterations: int) -> TrainConfig:
    settings: dict[str, Any] = {
        "environment": f"{Path(__file__).parent / 'letters.py'}:Letters",
        "iterations": iterations,
        "tasks_per_iteration": 3,
        "siblings": 4,
        "max_tokens": 3,
        "checkpoint_every": 2,
        "loss": {"kl": {}},
        "learner": {"lr": 1e-2, "lora": LORA.model_dump()},
        "evaluation": {"every": 2, "tasks": 2},
    }
    return TrainConfig.model_validate(settings)


def adapted(seed: int = 0, **changes: Any) -> Any:
    return prepare(tiny_model(), LearnerConfig(lora=LORA.model_copy(update=changes)), seed)


def trained(**learner: Any) -> tuple[Any, dict[str, Any]]:
    """A model whose adapters have been trained a little, and its state before."""
    model = prepare(tiny_model(), LearnerConfig(lora=LORA, **learner))
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learning = trainer(model, lr=1e-2)
    for step in range(3):
        learning.update(random_rows(8, model=tiny_model()), random.Random(step))
    return model, start


def line(model: Any, part: str) -> torch.Tensor:
    """All parameters whose names have this in them."""
    return torch.cat([tensor.flatten() for name, tensor in model.state_dict().items() if part in name])


def logprobs(model: Any) -> list[float]:
    found: list[float] = logprobs_of(model, [3, 5, 7, 9, 11], [1, 2, 3, 4]).tolist()
    return found
