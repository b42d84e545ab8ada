"""Which runs there are: every variant's file, once for each seed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agentenv.cli.train_config import TrainRun

HERE = Path(__file__).parent
BASE = "base"
START = "start"


@dataclass(frozen=True, slots=True)
class Variant:
    """One configuration.

    Attributes:
        question: what it is about, the name of its folder. name: of the variant. file: its settings.
    """

    question: str
    name: str
    file: Path

    @property
    def title(self) -> str:
        """Names its run folder."""
        return self.name if self.question == BASE else f"{self.question}-{self.name}"


@dataclass(frozen=True, slots=True)
class Run:
    """A variant with a seed, in a folder of its own; `settings` go on the command line, after those of its file."""

    variant: Variant
    seed: int
    folder: Path
    settings: tuple[str, ...] = ()


def variants(questions: list[str] | None = None, root: Path = HERE) -> list[Variant]:
    """The base, and every file of the questions asked for (all by default), in the order of their names.

    Raises:
        ValueError: there is no such question.
    """
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("_"))
    unknown = set(questions or ()) - {folder.name for folder in folders}
    if unknown:
        raise ValueError(f"no question {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in folders)}")
    chosen = [folder for folder in folders if questions is None or folder.name in questions]
    files = [file for folder in chosen for file in sorted(folder.glob("*.toml"))]
    return [Variant(BASE, BASE, root / f"{BASE}.toml"), *(Variant(file.parent.name, file.stem, file) for file in files)]


def starts(chosen: list[Variant], root: Path = HERE) -> list[Path]:
    """The files of the models that these variants begin with, each after the one that it begins with itself."""
    made: dict[str, Path] = {}

    def need(file: Path) -> None:
        policy = TrainRun.load(file, [], None).policy
        for start in sorted(root.glob(f"{START}*.toml")):
            if f"/{start.stem}/" in policy and start.stem not in made:
                need(start)
                made[start.stem] = start

    for variant in chosen:
        need(variant.file)
    return list(made.values())


def grid(chosen: list[Variant], *, seeds: int, base_seeds: int, out: Path) -> list[Run]:
    """Every variant with every seed, seed by seed, so that an interrupted grid is an even one.

    The base gets `base_seeds`: how much runs of one and the same configuration differ is the measure of everything
    else.
    """
    return [
        Run(variant, seed, out / variant.title / f"seed-{seed}")
        for seed in range(max(seeds, base_seeds))
        for variant in chosen
        if seed < (base_seeds if variant.question == BASE else seeds)
    ]
