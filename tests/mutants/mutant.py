"""What a mutant is: one function of Edgebed replaced by a wrong one, and where that shows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

Wrong = Callable[[Any], Any]  # makes the wrong function of the right one


@dataclass(frozen=True)
class Mutant:
    """One wrong change: of which object's function, and what takes its place. `stage`: where it shows, if anywhere."""

    owner: Any
    name: str
    wrong: Wrong
    stage: str = "fedasync"
    survives: str = ""

    @contextmanager
    def alive(self) -> Iterator[None]:
        """As long as this lasts, the wrong function is in place."""
        right = getattr(self.owner, self.name, None)  # None: a function of Python's own
        with patch.object(self.owner, self.name, self.wrong(right)):
            yield


def does_nothing(_: Any) -> Any:
    return lambda *_args, **_named: None


def says_so_but_does_nothing(_: Any) -> Any:
    async def act(*_args: Any, **_named: Any) -> str:
        return "done"

    return act
