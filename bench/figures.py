"""A figure of a benchmark: what was measured, beside the goal and, where there is one, a peer's or the bare thing's."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """`goal` is a limit: `found` should be at most it, or at least it where `more_is_better`."""

    what: str
    found: float
    unit: str
    goal: float | None = None
    more_is_better: bool = False
    beside: str = ""  # the peer's figure, or the bare arithmetic's, in the same run

    @property
    def met(self) -> bool | None:
        """None where there is no goal."""
        if self.goal is None:
            return None
        return self.found >= self.goal if self.more_is_better else self.found <= self.goal


def show(figure: Figure) -> None:
    """One line on stdout."""
    verdict = {True: "met   ", False: "MISSED", None: "      "}[figure.met]
    goal = (
        "" if figure.goal is None else f"goal {'>=' if figure.more_is_better else '<='} {figure.goal:g} {figure.unit}"
    )
    line = f"{verdict}  {figure.what:<58} {figure.found:>10.4g} {figure.unit:<10} {goal:<22} {figure.beside}"
    sys.stdout.write(line.rstrip() + "\n")
    sys.stdout.flush()
