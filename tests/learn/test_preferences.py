"""Direct preference optimisation through streams: the gradient is the loss's own, pair by pair."""

from __future__ import annotations

import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.episode import Episode  # noqa: E402
from agentenv.learn.config import TrainConfig  # noqa: E402
from agentenv.learn.experience import Experience  # noqa: E402
from agentenv.learn.learner import Learner  # noqa: E402
from agentenv.learn.losses import dpo  # noqa: E402
from agentenv.learn.preferences import Pair, pairs_of  # noqa: E402
from agentenv.trajectory import build_rows  # noqa: E402
from tests.learn.build import tiny_model  # noqa: E402
from tests.trajectory.build import call, episode  # noqa: E402


def group(name: str, *returns: float | None) -> list[Episode]:
    """Siblings that answer their group's prompt with tokens of their own, in two turns."""
    made, prompt = [], 10 + ord(name) - ord("a")
    for sibling, value in enumerate(returns):
        answer = 5 + sibling
        calls = call([prompt], [answer, 6]), call([prompt, answer, 6, 4], [7 + sibling])
        made.append(episode(*calls, id=f"{name}{sibling}", group=name, sibling=sibling, final_reward=value))
    return made


def experience(episodes: list[Episode]) -> Experience:
    return Experience.of(episodes, build_rows(episodes).rows)


def config(**changes: Any) -> TrainConfig:
    settings = {
        "environment": "calculator-v0",
        "advantage": {"kind": "preference", "beta": 0.5},
        "loss": {"kind": "reinforce"},
        "learner": {"minibatches": 1, "max_grad_norm": 1e9, "lr": 1e-3} | changes,
    }
    return TrainConfig.model_validate(settings)


def likelihood(model: Any, one: Episode) -> torch.Tensor:
    """log π of everything an episode sampled, written out turn by turn."""
    total = torch.zeros(())
    for turn in one.turns:
        tokens = turn.action.tokens
        assert tokens is not None
        ids = torch.tensor([[*tokens.prompt_ids, *tokens.sampled_ids]])
        every = torch.log_softmax(model(input_ids=ids).logits[0], dim=-1)
        for at in range(len(tokens.prompt_ids), ids.shape[1]):
            total = total + every[at - 1, ids[0, at]]
    return total


def test_a_pair_is_the_best_and_the_worst_of_a_group_that_differ() -> None:
    episodes = [*group("a", 0.5, 1.0, 0.0), *group("b", 1.0, 1.0), *group("c", None, 1.0), *group("d", 0.0, 1.0)]
    # The unscored member of c is none of the experience's.
    assert pairs_of(experience(episodes)) == [Pair(1, 2), Pair(7, 6)]


def test_a_step_follows_the_gradient_of_the_loss_of_the_pairs() -> None:
    episodes = [*group("a", 1.0, 0.0), *group("b", 0.0, 1.0)]
    model, reference = tiny_model(seed=0), tiny_model(seed=1)
    theirs = [likelihood(reference, one).detach() for one in episodes]
    ours = [likelihood(model, one) for one in episodes]
    chosen, rejected = torch.stack([ours[0], ours[3]]), torch.stack([ours[1], ours[2]])
    of_reference = torch.stack([theirs[0], theirs[3]]), torch.stack([theirs[1], theirs[2]])
    loss = dpo(chosen, rejected, *of_reference, beta=0.5).mean()
    loss.backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    model.zero_grad()

    learner = Learner(model, config())
    learner.refer_to(reference)
    learned = learner.learn(episodes, iteration=1)
    states = learner.state_dict()["trainer"]["optimizer"]["state"]
    found = torch.cat([states[index]["exp_avg"].flatten() for index in sorted(states)]) / 0.1
    assert ((found - expected).norm() / expected.norm()).item() < 1e-4
    assert learned.update.loss == pytest.approx(float(loss.detach()), abs=1e-4)


def test_learning_widens_the_margin_and_lowers_the_loss() -> None:
    episodes = [*group("a", 1.0, 0.0), *group("b", 0.0, 1.0)]
    model = tiny_model()
    learner = Learner(model, config(lr=3e-3))
    learner.refer_to(tiny_model())
    losses = [learner.learn(episodes, iteration).update.loss for iteration in range(1, 12)]
    # Policy and reference start alike: a margin of 0, a loss of log 2.
    assert losses[0] == pytest.approx(math.log(2), abs=1e-5)
    assert losses[-1] < losses[0] / 2
    assert likelihood(model, episodes[0]) > likelihood(model, episodes[1])


def test_pairs_are_scored_anew_before_every_step() -> None:
    episodes = [one for name in "abcd" for one in group(name, 1.0, 0.0)]
    learner = Learner(tiny_model(), config(minibatches=4, lr=1e-2))
    learner.refer_to(tiny_model())
    learned = learner.learn(episodes, iteration=1)
    assert learned.update.steps == 4
    # Scored once, before any step, all four would have a loss of log 2.
    assert learned.update.loss < math.log(2) - 0.01


def test_a_batch_without_a_preference_takes_no_step() -> None:
    learner = Learner(tiny_model(), config())
    learner.refer_to(tiny_model())
    learned = learner.learn(group("a", 1.0, 1.0), iteration=1)
    assert learned.update.steps == 0
    assert math.isnan(learned.update.loss)
