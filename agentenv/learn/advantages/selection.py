"""Which episodes of a group are worth training on, and what their length costs. Pure functions, without torch."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from agentenv.errors import ConfigError


def tells_apart(correct: Sequence[bool]) -> bool:
    """0 < #correct < G: whether dynamic sampling keeps a group (DAPO, https://arxiv.org/abs/2503.14476, section 3.2).

    >>> tells_apart([True, False]), tells_apart([True, True])
    (True, False)
    """
    return any(correct) and not all(correct)


def resample_on_correct(
    correct: Sequence[bool], penalties: Sequence[float], rng: random.Random, *, epsilon: float = 1e-3
) -> list[int]:
    """Which half of an oversampled group to keep, as indices in rising order: GRPO-RoC.

    Failures are halved uniformly, so that what goes wrong stays varied; successes are down-sampled without replacement
    with probability inverse to their penalty, so that clean ones are preferred (rStar2-Agent,
    https://arxiv.org/abs/2508.20722). Exactly half is kept; an odd success goes before an odd failure.

    Args:
        correct: whether each episode succeeded; an even number of them.
        penalties: tool-error ratio plus format-error score of each, 0 for a clean one.
        epsilon: added to penalties, so that a clean success is preferred and not the only one possible.
    """
    if len(correct) % 2 or len(correct) != len(penalties):
        raise ConfigError(f"give an even number of episodes with a penalty each, got {len(correct)}, {len(penalties)}")
    if any(penalty < 0 or not math.isfinite(penalty) for penalty in penalties):
        raise ConfigError(f"penalties must be finite and not negative, got {list(penalties)}")
    successes = [index for index, good in enumerate(correct) if good]
    failures = [index for index, good in enumerate(correct) if not good]
    # Exponential waiting times at rate 1/penalty: the first k are a sample without replacement by those weights
    # (Efraimidis and Spirakis 2006).
    waited = {index: rng.expovariate(1.0) * (penalties[index] + epsilon) for index in successes}
    wanted = (len(successes) + 1) // 2
    kept = sorted(successes, key=waited.__getitem__)[:wanted]
    return sorted(kept + rng.sample(failures, len(correct) // 2 - wanted))


def overlong_penalty(length: int, maximum: int, cushion: int) -> float:
    """0 up to `maximum − cushion` tokens, then falling linearly to −1 at `maximum` (DAPO, section 3.4).

    >>> overlong_penalty(70, 100, 20), overlong_penalty(90, 100, 20), overlong_penalty(120, 100, 20)
    (0.0, -0.5, -1.0)
    """
    if not 0 < cushion <= maximum:
        raise ConfigError(f"the cushion must be between 1 and the maximum of {maximum} tokens, got {cushion}")
    over = max(0, length - (maximum - cushion))
    return 0.0 - min(1.0, over / cushion)
