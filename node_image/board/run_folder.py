"""The folder that a run has on a board, for as long as its agent lives: all that comes and all that nodes leave."""

import fcntl
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
FILE_NAME = re.compile(r"([a-z]{1,20}/)?[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
RUN = "run-"


class RunFolder:
    """Below `store`, belonging to the user who came in: nodes run as that one. Its lock says that an agent lives."""

    def __init__(self, store: Path, run: str, owner: tuple[int, int]) -> None:
        self._owner = owner
        self.path = store / f"{RUN}{run}"
        self.path.mkdir(mode=0o700)
        self._lock = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.give(self.path)

    def close(self) -> None:
        """Remove it with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)

    def place(self, name: str) -> Path:
        """Where a file of this name is, or ValueError: `x` or `folder/x`, and nothing that leads out of here."""
        if not FILE_NAME.fullmatch(name):
            raise ValueError(f"not the name of a file: {name!r}")
        return self.path / name

    def of_node(self, node: str) -> Path:
        """What a node has for itself."""
        if not NAME.fullmatch(node):
            raise ValueError(f"not a node: {node!r}")
        return self.path / f"node-{node}"

    def make(self, folder: Path) -> None:
        """A folder in here, if it is not there yet."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self.give(folder)

    def give(self, path: Path) -> None:
        """To the user who came in."""
        if os.geteuid() == 0:
            os.chown(path, *self._owner)


def checked(run: str) -> str:
    """The id of a run, or ValueError."""
    if not NAME.fullmatch(run):
        raise ValueError(f"not a run: {run!r}")
    return run


def remove_left(store: Path) -> bool:
    """Remove those of agents that were killed, whose locks are free; whether no other is left."""
    for left in store.glob(f"{RUN}*"):
        _remove_if_free(left)
    return not any(store.glob(f"{RUN}*"))


def _remove_if_free(folder: Path) -> None:
    with suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
