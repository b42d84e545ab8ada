"""The command line every runner understands, ours and the peers'. Standard library only."""

from __future__ import annotations

import argparse
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """What to run against which server."""

    base_url: str
    sizes: tuple[int, ...]
    """Rollouts of each measured run, in order; two different sizes at least, for a slope."""
    concurrency: int
    save: bool
    """Whether results are written to disk as they come (ours: the journal)."""
    warm_up: int
    """Rollouts before anything is measured."""
    model: str = "mock"

    @classmethod
    def parse(cls) -> Options:
        parser = argparse.ArgumentParser()
        parser.add_argument("--base-url", required=True)
        parser.add_argument("--sizes", type=int, nargs="+", default=[100, 600])
        parser.add_argument("--concurrency", type=int, default=64)
        parser.add_argument("--save", action="store_true", help="write results to disk as they come")
        parser.add_argument("--warm-up", type=int, default=100)
        found = parser.parse_args()
        return cls(found.base_url, tuple(found.sizes), found.concurrency, found.save, found.warm_up)

    def arguments(self) -> list[str]:
        """The command line that parses to this."""
        sizes = [str(size) for size in self.sizes]
        return [
            *("--base-url", self.base_url, "--concurrency", str(self.concurrency)),
            *("--warm-up", str(self.warm_up), "--sizes", *sizes, *(["--save"] if self.save else [])),
        ]
