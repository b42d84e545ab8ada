"""Images without a registry.

python -m agentenv_docker build              agentenv/base, from Debian's packages (as root)
python -m agentenv_docker build science      agentenv/science, on top of it
"""

from __future__ import annotations

import argparse
import sys

from agentenv.errors import AgentenvError
from agentenv_docker.images import FOLDER, build


def main() -> int:
    names = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
    parser = argparse.ArgumentParser(prog="python -m agentenv_docker", description=__doc__)
    parser.add_argument("command", choices=["build"])
    parser.add_argument("images", nargs="*", default=["base"], help=f"of {', '.join(names)}; base by default")
    given = parser.parse_args()
    try:
        for name in given.images:
            print(f"building agentenv/{name} ...", file=sys.stderr)  # noqa: T201
            print(build(name))  # noqa: T201
    except AgentenvError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        print("Stopped; the same command begins anew.", file=sys.stderr)  # noqa: T201
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
