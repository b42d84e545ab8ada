"""The merged and the transition view of the same episodes: fewer trained tokens, the same loss and gradient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from agentenv.episode import Episode  # noqa: E402
from agentenv.learn.aggregation import Aggregation  # noqa: E402
from agentenv.learn.config import AdvantageConfig, CriticConfig, CriticKind, LearnerConfig, TrainConfig  # noqa: E402
from agentenv.learn.config.advantage import Grpo, TurnGae  # noqa: E402
from agentenv.learn.config.loss import PpoClip  # noqa: E402
from agentenv.learn.learner import Learner  # noqa: E402
from agentenv.tokens import TokenRecord  # noqa: E402
from agentenv.trajectory import RowView  # noqa: E402
from tests.learn.build import VOCABULARY, logprobs_of, tiny_model  # noqa: E402
from tests.trajectory.build import call, episode  # noqa: E402

TOLERANCE = 1e-5
CRITIC = CriticConfig(lr=1e-3, pretraining=None)


@dataclass(frozen=True)
class Learnt:
    """What one update by a fresh learner came to; the gradient is that of the policy, then of the critic."""

    trained: int
    sampled: int
    losses: tuple[float, ...]
    gradient: torch.Tensor


def conversation(turns: int, rng: numpy.random.Generator) -> list[TokenRecord]:
    """Calls that continue each other exactly: a prompt of 6, then turns of 2 sampled and 3 observed tokens."""
    ids = rng.integers(1, VOCABULARY, 6 + 5 * turns).tolist()
    calls = []
    for start in range(6, 6 + 5 * turns, 5):
        own = logprobs_of(tiny_model(), ids[: start + 2], [start, start + 1]) + rng.normal(0.0, 0.2, 2)
        made = call(ids[:start], ids[start : start + 2])
        calls.append(TokenRecord(made.prompt_ids, made.sampled_ids, tuple(own.tolist()), made.versions))
    return calls


def siblings(*turns: int, rewritten: bool = False) -> list[Episode]:
    """A group of episodes with so many turns each; `rewritten` ones go on from a context of their own at the end."""
    rng = numpy.random.default_rng(len(turns))
    episodes = []
    for index, count in enumerate(turns):
        calls = conversation(count, rng) + (conversation(2, rng) if rewritten else [])
        episodes.append(episode(*calls, id=f"e{index}", sibling=index, final_reward=float(index % 2)))
    return episodes


def learnt(
    episodes: list[Episode],
    view: RowView,
    advantage: AdvantageConfig,
    critic: CriticConfig | None = None,
    aggregation: Aggregation = Aggregation.EPISODE_MEAN,
) -> Learnt:
    """One optimizer step. The gradient is read from Adam's first moment, which is then a tenth of it."""
    config = TrainConfig(
        environment="toy-v0",
        siblings=len(episodes),
        advantage=advantage,
        loss=PpoClip(aggregation=aggregation),
        critic=critic,
        learner=LearnerConfig(row_view=view, minibatches=1, max_grad_norm=1e9),
    )
    learner = Learner(tiny_model(), config)
    if critic is not None:
        opinionated(learner)
    done = learner.learn(episodes, 1)
    states = learner.state_dict()["trainer"]["optimizer"]["state"]
    gradient = torch.cat([states[index]["exp_avg"].flatten() for index in sorted(states)]) / 0.1
    losses = (done.update.loss,) if critic is None else (done.update.loss, done.update.value_loss)
    return Learnt(sum(len(row.ids) for row in done.rows.rows), done.update.tokens, losses, gradient)


def opinionated(learner: Learner) -> None:
    """Lets a new critic, which says 0 everywhere, say something that differs from token to token."""
    state = learner.state_dict()
    weight = state["trainer"]["critic"]["head.weight"]
    weight.copy_(torch.linspace(-0.3, 0.3, weight.numel()).reshape(weight.shape))
    learner.load_state_dict(state)


def assert_same(merged: Learnt, transition: Learnt) -> None:
    assert merged.sampled == transition.sampled
    assert merged.losses == pytest.approx(transition.losses, abs=TOLERANCE)
    assert merged.gradient.norm() > 1e-3
    assert ((merged.gradient - transition.gradient).norm() / merged.gradient.norm()).item() < TOLERANCE


@pytest.mark.parametrize("aggregation", [Aggregation.EPISODE_MEAN, Aggregation.TOKEN_MEAN])
@pytest.mark.parametrize("rewritten", [False, True])
def test_grpo_has_the_same_loss_and_gradient_in_both_views(aggregation: Aggregation, rewritten: bool) -> None:
    episodes = siblings(1, 5, 10, 3, rewritten=rewritten)
    merged, transition = (
        learnt(episodes, view, Grpo(), aggregation=aggregation) for view in (RowView.MERGED, RowView.TRANSITION)
    )
    assert_same(merged, transition)
    assert merged.trained < transition.trained


@pytest.mark.parametrize("kind", list(CriticKind))
@pytest.mark.parametrize("rewritten", [False, True])
def test_gae_by_turn_has_the_same_losses_and_gradients_of_policy_and_critic_in_both_views(
    kind: CriticKind, rewritten: bool
) -> None:
    episodes = siblings(2, 5, 10, rewritten=rewritten)
    critic = CRITIC.model_copy(update={"kind": kind})
    merged, transition = (
        learnt(episodes, view, TurnGae(discount=0.9), critic) for view in (RowView.MERGED, RowView.TRANSITION)
    )
    assert_same(merged, transition)


def test_ten_turns_train_as_many_tokens_merged_as_their_last_call_holds() -> None:
    # Prompt 6, turns of 2 + 3: the last call ends at 6 + 9·5 + 2 = 53; one row per call holds Σ (8 + 5k), k = 0 … 9.
    episodes = siblings(10, 10)
    assert learnt(episodes, RowView.MERGED, Grpo()).trained == 2 * 53
    assert learnt(episodes, RowView.TRANSITION, Grpo()).trained == 2 * 305
