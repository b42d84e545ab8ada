"""The model made from scratch and its folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from agentenv_tiny import TinyConfig, TinyPolicy, WeightsError, build_policy, create_policy, load_policy
from agentenv_tiny.weights import DecoderShape, read_weights


def test_the_default_policy_has_about_half_a_million_float32_parameters() -> None:
    model = build_policy().model
    assert 400_000 < sum(parameter.numel() for parameter in model.parameters()) < 600_000
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_model_has_one_row_for_each_token_of_the_tokenizer(policy: TinyPolicy) -> None:
    assert policy.model.config.vocab_size == len(policy.tokenizer) == policy.model.get_input_embeddings().num_embeddings


def test_initial_weights_follow_the_seed_and_leave_the_global_generator_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, again, other = (build_policy(TinyConfig(layers=1, hidden=16, seed=seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    head = [each.model.lm_head.weight for each in (first, again, other)]
    assert torch.equal(head[0], head[1])
    assert not torch.equal(head[0], head[2])


def test_the_initial_standard_deviation_is_the_one_asked_for() -> None:
    weight = build_policy(TinyConfig(initial_std=0.08)).model.lm_head.weight
    assert weight.std().item() == pytest.approx(0.08, rel=0.02)


def test_a_folder_gives_back_the_model_and_says_where_an_answer_ends(tmp_path: Path) -> None:
    made = create_policy(tmp_path / "deep" / "folder", TinyConfig(layers=1, hidden=16))
    loaded = load_policy(tmp_path / "deep" / "folder")
    for name, tensor in made.model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[name], tensor)
    assert not loaded.model.training
    generation = json.loads((tmp_path / "deep" / "folder" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == loaded.tokenizer.convert_tokens_to_ids("<|end|>")
    assert {path.name for path in (tmp_path / "deep" / "folder").iterdir()} >= {
        *("config.json", "generation_config.json", "model.safetensors"),
        *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
    }


@pytest.mark.parametrize("sizes", [{"hidden": 100, "heads": 3}, {"hidden": 12, "heads": 4}, {"layers": 0}])
def test_sizes_that_do_not_fit_together_are_refused(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(sizes))):
        TinyConfig(**sizes)


def test_a_folder_without_a_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="create_policy"):
        load_policy(tmp_path)
    with pytest.raises(WeightsError, match="create_policy"):
        read_weights(tmp_path)


def test_truncated_weights_are_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"model\.safetensors cannot be read"):
        read_weights(tmp_path)


@pytest.mark.parametrize("change", [{"model_type": "qwen3"}, {"num_key_value_heads": 1}, {"attention_bias": True}])
def test_models_the_compact_forward_does_not_know_are_refused(policy: TinyPolicy, change: dict[str, object]) -> None:
    with pytest.raises(WeightsError, match="plain Llama"):
        DecoderShape.from_config({**policy.model.config.to_dict(), **change})


def test_importing_the_package_loads_neither_torch_nor_transformers_nor_aiohttp() -> None:
    script = "import sys, agentenv_tiny; print([m for m in ('torch', 'transformers', 'aiohttp') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
