"""What is in the files of the world `files` at the start of an episode."""

from __future__ import annotations

import random

from agentenv_tools.worlds.places import CITIES, PEOPLE

TEAMS = ("sales", "design", "support", "finance")
TOPICS = ("budget", "survey", "launch", "audit", "hiring", "travel")
SERVICES = ("mailer", "billing", "search", "gateway")


def draw_files(rng: random.Random) -> dict[str, str]:
    """A tree of reports, notes, settings and costs, by path."""
    files: dict[str, str] = {}
    for team in rng.sample(TEAMS, 3):
        for topic in rng.sample(TOPICS, rng.randint(2, 4)):
            files[f"/{team}/{topic}.txt"] = _note(rng, team, topic)
        files[f"/{team}/costs.csv"] = _costs(rng)
    for number in rng.sample(range(100, 1000), 6):
        ending = rng.choice(("csv", "txt", "log"))
        files[f"/inbox/{rng.choice(TOPICS)}-{number}.{ending}"] = f"{rng.choice(PEOPLE)} sent this, number {number}.\n"
    for service in rng.sample(SERVICES, 3):
        files[f"/settings/{service}.ini"] = _settings(rng, service)
    return dict(sorted(files.items()))


def _note(rng: random.Random, team: str, topic: str) -> str:
    owner, reviewer = rng.sample(PEOPLE, 2)
    return (
        f"Team: {team}\nTopic: {topic}\nOwner: {owner}\nReviewer: {reviewer}\nPlace: {rng.choice(CITIES)}\n"
        f"Reference: {rng.randint(10_000, 99_999)}\n"
    )


def _costs(rng: random.Random) -> str:
    lines = [f"{topic},{rng.randint(100, 9_999)}" for topic in rng.sample(TOPICS, 5)]
    return "item,cost\n" + "\n".join(lines) + "\n"


def _settings(rng: random.Random, service: str) -> str:
    return (
        f"[{service}]\nport = {rng.randint(1_024, 9_999)}\nworkers = {rng.randint(2, 16)}\n"
        f"timeout = {rng.randint(5, 60)}\nregion = {rng.choice(CITIES).lower()}\n"
    )
