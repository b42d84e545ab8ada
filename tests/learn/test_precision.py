"""Where and how the layers compute: bfloat16, the device, activations computed again. The mathematics stay the same."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.errors import ConfigError  # noqa: E402
from agentenv.learn.batches import pad  # noqa: E402
from agentenv.learn.config import CriticConfig, LearnerConfig, Precision  # noqa: E402
from agentenv.learn.critic import Critic  # noqa: E402
from agentenv.learn.model import Forward, prepare, torch_device  # noqa: E402
from tests.learn.build import gradient_of, random_rows, row, tiny_model, trainer  # noqa: E402


def test_in_bfloat16_logits_states_and_values_come_out_in_float32_and_close() -> None:
    model = tiny_model()
    inputs = pad(random_rows(4)).inputs
    critic = Critic(model, CriticConfig(), Precision.BFLOAT16)
    with torch.no_grad():
        exact, rounded = (Forward(model, precision)(inputs) for precision in Precision)
        assert critic(inputs, None).dtype is torch.float32
    assert rounded.logits.dtype is rounded.states.dtype is torch.float32
    assert 0.0 < (rounded.logits - exact.logits).abs().max() < 0.1
    # Float32 in the head: its logits have more digits than bfloat16 can hold.
    assert not torch.equal(rounded.logits, rounded.logits.bfloat16().float())


def test_an_update_in_bfloat16_goes_nearly_the_same_way_and_leaves_float32_weights() -> None:
    rows = random_rows(8, model=tiny_model())

    def gradient(precision: str) -> torch.Tensor:
        model = tiny_model()
        learner = trainer(model, minibatches=1, precision=precision, max_grad_norm=1e9)
        learner.update(rows, random.Random(0))
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
        states = learner.state_dict()["optimizer"]["state"]
        return torch.cat([states[index]["exp_avg"].flatten() for index in sorted(states)])

    exact, rounded = gradient("float32"), gradient("bfloat16")
    assert torch.nn.functional.cosine_similarity(exact, rounded, dim=0).item() > 0.99
    assert (exact - rounded).norm() < 0.1 * exact.norm()


def test_scores_in_bfloat16_differ_from_float32_by_its_rounding_only() -> None:
    rows = random_rows(6)
    exact, rounded = (trainer(tiny_model(), precision=precision).logprobs(rows) for precision in Precision)
    worst = max(abs(one - other).max() for one, other in zip(exact, rounded, strict=True))
    assert 0.0 < worst < 0.1


def test_updates_in_bfloat16_are_consistent_with_its_own_scores() -> None:
    """π_p recomputed and π_θ of the first step are the same numbers: the ratio starts at 1."""
    model = tiny_model()
    learner = trainer(model, minibatches=1, precision="bfloat16")
    plain = [row([3, 5, 7, 9, 11], [2, 4])]
    own = learner.logprobs(plain)[0]
    rows = [row([3, 5, 7, 9, 11], [2, 4], logprobs=own[plain[0].mask].tolist())]
    assert learner.update(rows, random.Random(0)).mismatch_max < 1e-6


def test_activations_computed_again_give_the_same_gradient() -> None:
    rows = random_rows(8, model=tiny_model())
    plain = gradient_of(tiny_model(), rows).gradient
    model = prepare(tiny_model(), LearnerConfig(gradient_checkpointing=True))
    passes: list[int] = []
    model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: passes.append(1))
    again = gradient_of(model, rows).gradient
    assert ((again - plain).norm() / plain.norm()).item() < 1e-9
    assert len(passes) == 4  # twice to look at the model, once there, once again on the way back


def test_the_device_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert torch_device("auto") == torch.device(name)
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        torch_device("cuda:1")
    assert torch_device("cpu") == torch.device("cpu")
