"""Gymnasium environments as text: four toy-text classics, and any other through `gym/any-v0`.

    env = agentenv.make("gym/frozen_lake-v0", is_slippery=False)
    env = agentenv.make("gym/any-v0", env_id="CartPole-v1")

Two tags tell what an oracle can do here. `stochastic`: it plays the optimal policy, and chance decides; its *average*
is the best there is. `costs`: every step costs something, so that the best return lies below the range's upper end.
"""

from __future__ import annotations

from agentenv.registry import EnvSpec

_TEXT = "agentenv_gym.env:GymnasiumText"
_FROZEN_LAKE = (
    "Cross the frozen lake from S to G. F is ice that bears you, H is a hole: falling in ends the game. You stand "
    "where the [brackets] are. The ice may be slippery: then you may slide at right angles to where you wanted to go."
)
_TAXI = (
    "Drive the taxi: go to the passenger, pick them up, bring them to their destination and drop them off. Walls (|) "
    "cannot be crossed. Every step costs 1, a pickup or dropoff in the wrong place 10; the right dropoff earns 20."
)
_CLIFF_WALKING = (
    "Walk from the bottom left corner of a 4 by 12 grid to the bottom right one (T). C is the cliff: stepping on it "
    "costs 100 and takes you back to the start. Every other step costs 1. You are x; o is ground."
)
_BLACKJACK = (
    "Play blackjack against the dealer. Cards count their number, face cards 10, an ace 11 or 1. Hit takes a card, "
    "stick ends your turn; above 21 you lose. Then the dealer draws to 17. The higher hand wins 1, the lower loses 1."
)

SPECS = (
    EnvSpec(
        id="gym/frozen_lake-v0",
        entry_point=_TEXT,
        kwargs={"env_id": "FrozenLake-v1", "actions": ["left", "down", "right", "up"], "rules": _FROZEN_LAKE},
        description="Gymnasium's FrozenLake as text; is_slippery=False for a deterministic one.",
        max_turns=200,
        tags=("gymnasium", "multi-turn", "stochastic"),
        extra="gym",
    ),
    EnvSpec(
        id="gym/taxi-v0",
        entry_point=_TEXT,
        kwargs={
            "env_id": "Taxi-v4",
            "actions": ["south", "north", "east", "west", "pickup", "dropoff"],
            "rules": _TAXI,
            "invalid_reward": -10.0,
        },
        description="Gymnasium's Taxi as text.",
        max_turns=200,
        reward_range=(-2000.0, 20.0),
        tags=("gymnasium", "multi-turn", "costs"),
        extra="gym",
    ),
    EnvSpec(
        id="gym/cliff_walking-v0",
        entry_point=_TEXT,
        kwargs={
            "env_id": "CliffWalking-v1",
            "actions": ["up", "right", "down", "left"],
            "rules": _CLIFF_WALKING,
            "invalid_reward": -1.0,
        },
        description="Gymnasium's CliffWalking as text.",
        max_turns=200,
        reward_range=(-20000.0, 0.0),
        tags=("gymnasium", "multi-turn", "costs"),
        extra="gym",
    ),
    EnvSpec(
        id="gym/blackjack-v0",
        entry_point=_TEXT,
        kwargs={
            "env_id": "Blackjack-v1",
            "actions": ["stick", "hit"],
            "rules": _BLACKJACK,
            "invalid_reward": -1.0,
        },
        description="Gymnasium's Blackjack as text.",
        max_turns=25,
        reward_range=(-26.0, 1.5),
        tags=("gymnasium", "multi-turn", "stochastic", "costs"),
        extra="gym",
    ),
    EnvSpec(
        id="gym/any-v0",
        entry_point=_TEXT,
        description="Any registered Gymnasium environment as text: make('gym/any-v0', env_id='CartPole-v1').",
        max_turns=1000,
        reward_range=(float("-1e9"), float("1e9")),
        tags=("gymnasium", "multi-turn", "needs-arguments"),
        extra="gym",
    ),
)
