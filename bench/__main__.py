"""`make bench`: every benchmark in turn; each prints its figures beside the goal and a peer's or the limit."""

import subprocess
import sys

ALL = (
    "aggregation",
    "startup",
    "simulation",
    "fabric",
    "deploy",
    "containers",
    "exporter",
    "goodput",
    "gossip",
    "live",
    "plugins",
    "report",
    "rounds",
    "rules",
    "boards",
    "sweep",
    "vm",
    "workload",
)


def main() -> int:
    """Each in a process of its own, so that none warms up another."""
    chosen = sys.argv[1:] or list(ALL)
    codes = [subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode for name in chosen]
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
