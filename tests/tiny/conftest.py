"""A policy of the usual vocabulary with small sizes, made once, and an engine over it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv_tiny import Engine, TinyConfig, TinyPolicy, build_policy  # noqa: E402
from agentenv_tiny.vocabulary import Vocabulary  # noqa: E402
from agentenv_tiny.weights import DecoderShape, DecoderWeights  # noqa: E402

TINY = TinyConfig(layers=2, hidden=32, heads=2, intermediate=48, initial_std=0.3, context=192, seed=3)


@pytest.fixture(scope="session")
def policy() -> TinyPolicy:
    return build_policy(TINY)


@pytest.fixture(scope="session")
def other_policy() -> TinyPolicy:
    """The same sizes, other weights."""
    return build_policy(TinyConfig(**{name: getattr(TINY, name) for name in TINY.__slots__} | {"seed": 4}))


@pytest.fixture(scope="session")
def folder(policy: TinyPolicy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return policy.save(tmp_path_factory.mktemp("policy") / "tiny-start")


@pytest.fixture(scope="session")
def vocabulary(policy: TinyPolicy) -> Vocabulary:
    return Vocabulary.from_backend(policy.tokenizer.backend_tokenizer)


@pytest.fixture
def make_engine(policy: TinyPolicy, vocabulary: Vocabulary) -> Iterator[Callable[..., Engine]]:
    """Start engines over the tiny policy; they are stopped at the end of the test."""
    engines: list[Engine] = []
    shape = DecoderShape.from_config(policy.model.config.to_dict())

    def make(**options: Any) -> Engine:
        weights = DecoderWeights.from_state_dict(policy.model.state_dict(), shape)
        defaults = {"end_id": 1, "token_bytes": vocabulary.token_bytes, "slots": 64, "seed": 0}
        engine = Engine(weights, **{**defaults, **options})
        engines.append(engine)
        engine.start()
        return engine

    yield make
    for engine in engines:
        engine.stop()


@pytest.fixture
def reference_logprobs() -> Callable[[TinyPolicy, list[int], list[int]], Any]:
    """transformers' log-probabilities [sampled, vocabulary] of what comes after a prompt, in one forward pass."""

    def compute(policy: TinyPolicy, prompt_ids: list[int], token_ids: list[int]) -> Any:
        with torch.no_grad():
            logits = policy.model(torch.tensor([[*prompt_ids, *token_ids]])).logits[0]
        return logits[len(prompt_ids) - 1 : -1].log_softmax(-1)

    return compute
