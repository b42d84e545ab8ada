"""Weights that do not fit are refused before anything is sent, with an error that names the tensor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from safetensors.torch import save_file

from agentenv.errors import ConfigError
from agentenv_vllm.api import VLLMApi
from agentenv_vllm.updates import LoRAShape, UpdateFolders, WeightsMisfitError, make_updater
from agentenv_vllm.updates.layout import ModelLayout
from agentenv_vllm.updates.lora import fit

STATE = {
    "model.embed_tokens.weight": torch.ones(6, 4),
    "model.layers.0.self_attn.q_proj.weight": torch.ones(4, 4),
    "model.layers.0.mlp.down_proj.weight": torch.ones(4, 8),
    "model.norm.weight": torch.ones(4),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model")
    save_file(STATE, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({"tie_word_embeddings": True}))
    return path


@given(
    name=some.sampled_from(sorted(STATE)),
    harm=some.sampled_from(["missing", "renamed", "nested", "cut", "integers", "nan", "infinite"]),
)
def test_one_tensor_that_does_not_fit_is_named(folder: Path, name: str, harm: str) -> None:
    layout, tensor = ModelLayout.read(folder), STATE[name]
    poisoned = tensor.clone()
    poisoned.view(-1)[0] = float("nan") if harm == "nan" else float("inf")
    harmed = {
        "missing": {},
        "renamed": {f"{name}x": tensor},
        "nested": {name: tensor[None]},
        "cut": {name: tensor[:-1]},
        "integers": {name: tensor.long()},
        "nan": {name: poisoned},
        "infinite": {name: poisoned},
    }[harm]
    with pytest.raises(WeightsMisfitError, match=name.replace(".", r"\.")):
        layout.fit({**{key: value for key, value in STATE.items() if key != name}, **harmed})


def test_weights_that_fit_come_back_in_the_order_of_the_checkpoint_and_uncopied(folder: Path) -> None:
    given_order = dict(reversed(STATE.items()))
    fitting = ModelLayout.read(folder).fit(given_order)
    assert list(fitting) == list(ModelLayout.read(folder).sizes)
    assert all(fitting[name] is STATE[name] for name in STATE)


def test_a_tied_head_is_left_out_and_one_that_is_not_tied_any_more_is_refused(folder: Path) -> None:
    layout = ModelLayout.read(folder)
    assert "lm_head.weight" not in layout.fit({**STATE, "lm_head.weight": STATE["model.embed_tokens.weight"]})
    with pytest.raises(WeightsMisfitError, match=r"lm_head\.weight"):
        layout.fit({**STATE, "lm_head.weight": torch.zeros(6, 4)})


@pytest.mark.parametrize("way", ["folder", "transfer"])
async def test_the_server_hears_nothing_of_weights_that_do_not_fit(folder: Path, way: str) -> None:
    class Silent(VLLMApi):
        async def send(self, method: str, path: str, *arguments: object, **named: object) -> object:  # type: ignore[override]
            raise AssertionError(f"{path} was asked")

    updater = make_updater(way, Silent("http://127.0.0.1:9"), folder, "tiny")
    with pytest.raises(WeightsMisfitError, match=r"old weights serve on.*model\.norm\.weight"):
        await updater.publish({**STATE, "model.norm.weight": torch.ones(5)}, 1)
    assert not updater.half_updated
    await updater.close()


def test_a_folder_without_weights_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="save_pretrained"):
        ModelLayout.read(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not at all")
    with pytest.raises(ConfigError, match="no safetensors file"):
        ModelLayout.read(tmp_path)


SHAPE = LoRAShape(rank=2, alpha=4.0, target_modules=("q_proj", "down_proj"))
ADAPTER = {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.ones(2, 4),
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": torch.ones(4, 2),
    "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight": torch.ones(2, 8),
    "base_model.model.model.layers.0.mlp.down_proj.lora_B.weight": torch.ones(4, 2),
}


@pytest.mark.parametrize("prefix", ["base_model.model.", ""])
@pytest.mark.parametrize("adapter_name", ["", ".default"])
def test_an_adapter_is_taken_under_the_names_of_a_file_and_of_a_peft_models_state_dict(
    folder: Path, prefix: str, adapter_name: str
) -> None:
    named = {
        prefix + name.removeprefix("base_model.model.").replace(".weight", f"{adapter_name}.weight"): tensor
        for name, tensor in ADAPTER.items()
    }
    assert set(fit(named, ModelLayout.read(folder), SHAPE)) == set(ADAPTER)


@given(name=some.sampled_from(sorted(ADAPTER)), harm=some.sampled_from(["missing", "other rank", "nan", "elsewhere"]))
def test_an_adapter_with_one_matrix_wrong_is_refused(folder: Path, name: str, harm: str) -> None:
    tensor = ADAPTER[name]
    harmed = {
        "missing": {},
        "other rank": {name: torch.ones(3, 3)},
        "nan": {name: tensor * float("nan")},
        "elsewhere": {name: tensor, name.replace("layers.0", "layers.1"): tensor},
    }[harm]
    with pytest.raises(WeightsMisfitError, match=name.rpartition(".lora")[0].rpartition(".")[2]):
        fit(
            {**{key: value for key, value in ADAPTER.items() if key != name}, **harmed}, ModelLayout.read(folder), SHAPE
        )


def test_an_interrupted_write_leaves_no_folder_under_a_name(tmp_path: Path) -> None:
    folders = UpdateFolders(tmp_path)
    with pytest.raises(FileNotFoundError):
        folders.write(1, STATE, beside=[tmp_path / "no-such-file"])
    assert list(tmp_path.iterdir()) == []


def test_versions_written_twice_have_two_names_and_only_the_newest_stay(tmp_path: Path) -> None:
    folders = UpdateFolders(tmp_path, keep=2)
    names = [folders.write(7, STATE).name for _ in range(3)]
    assert names == ["00000007", "00000007-1", "00000007-2"]
    folders.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000007-1", "00000007-2"]
    assert folders.write(7, STATE).name == "00000007-3"


def test_tensors_that_share_memory_or_are_views_are_written_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    both = torch.arange(8.0).reshape(2, 4)
    folder = UpdateFolders(tmp_path).write(1, {"a": both[0], "b": both.T, "c": both})
    read = load_file(folder / "model.safetensors")
    assert read["a"].tolist() == [0, 1, 2, 3]
    assert read["b"].tolist() == both.T.tolist()
    assert read["c"].tolist() == both.tolist()
