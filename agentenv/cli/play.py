"""`agentenv play`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import typer

from agentenv.cli.common import Interrupted, find_environment, find_policy, out, settings_of

if TYPE_CHECKING:
    from agentenv.policy.contract import Policy
    from agentenv.registry import EnvSpec
    from agentenv.tasks import Task


def add_to(app: typer.Typer) -> None:
    app.command("play")(play)


def play(
    context: typer.Context,
    id: str = typer.Argument(help="An environment's id, or path/to/file.py[:Class]."),
    policy: str = typer.Option("human", help="Who plays; see agentenv list policies."),
    model: str | None = typer.Option(None, help="The model, for policies that have several."),
    split: str = typer.Option("train", help="Which tasks."),
    seed: int = typer.Option(0, help="Which first task."),
    episodes: int = typer.Option(1, "-n", min=1, help="How many episodes."),
) -> None:
    """Play an environment yourself at the terminal, or watch a policy play.

    Example: agentenv play calculator-v0 --seed 3
    """
    groups = settings_of(context, env="arguments of the environment", policy="options of the policy")
    spec = find_environment(id, groups["env"])
    player = find_policy(policy, model, groups["policy"])
    from agentenv.policy.human import HumanLeft

    try:
        asyncio.run(_play(spec, player, split, seed, episodes))
    except (HumanLeft, KeyboardInterrupt):
        raise Interrupted("nothing was kept") from None


async def _play(spec: EnvSpec, policy: Policy, split: str, seed: int, episodes: int) -> None:
    from agentenv.evaluate import draw_tasks

    tasks = await draw_tasks(spec, split=split, count=episodes, seed=seed)
    async with policy:
        for task in tasks:
            await _episode(spec, policy, task, seed)


async def _episode(spec: EnvSpec, policy: Policy, task: Task, seed: int) -> None:
    """One episode, everything shown as it happens; errors of the environment end it with their own message."""
    from rich.text import Text

    from agentenv.env import Action
    from agentenv.outcome import Boundary, boundary
    from agentenv.policy.contract import Sampling, Session
    from agentenv.policy.human import HumanPolicy, show_message
    from agentenv.rewards import as_reward

    watched = not isinstance(policy, HumanPolicy)  # a human is shown the messages by the policy itself
    env = spec.make()
    try:
        with boundary(Boundary.ENVIRONMENT, f"{spec.id}.reset"):
            observation, _ = await env.reset(task=task, seed=seed)
        conversation = list(observation.messages)
        new = conversation
        total = 0.0
        while True:
            if watched:
                for message in new:
                    show_message(out(), message)
            completion = await policy.complete(conversation, observation.tools, Sampling(), Session(task.id, seed, env))
            if watched:
                show_message(out(), completion.message)
            conversation.append(completion.message)
            with boundary(Boundary.ENVIRONMENT, f"{spec.id}.step"):
                result = await env.step(Action(completion.message, completion.tokens))
            observation = result.observation
            new = list(observation.messages)
            conversation.extend(new)
            reward = as_reward(result.reward, spec.id)
            total += reward or 0.0
            if result.terminated or result.truncated:
                break
        for message in new:
            show_message(out(), message)
        how = (
            "terminated" if result.terminated else f"truncated ({result.info.get('stop_reason', 'by the environment')})"
        )
        scored = "not scored" if reward is None else f"return {total:g}"
        parts = ", ".join(f"{part.name} {part.value:g}" for part in reward.components) if reward is not None else ""
        out().print(Text(f"{how}: {scored}" + (f"   ({parts})" if parts else ""), style="bold"))
    finally:
        await env.close()
