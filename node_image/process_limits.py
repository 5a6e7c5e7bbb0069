"""Limits that the kernel sets to a running process (prlimit), read back from /proc/PID/limits, and lifted again.

What they refuse:

    descriptors   RLIMIT_NOFILE: files and sockets beyond it are refused (EMFILE); those that are open stay so
    disk          RLIMIT_FSIZE: a file ends there, what goes beyond is refused (EFBIG), as by a disk that is full
"""

import resource
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

KINDS = {"descriptors": (resource.RLIMIT_NOFILE, "Max open files"), "disk": (resource.RLIMIT_FSIZE, "Max file size")}
Set = Callable[[int, int, tuple[int, int]], object]


class ProcessLimits:
    """Of the processes of one node. Needs the right to limit them: their owner's, or root's with CAP_SYS_RESOURCE.

    `set_limit` is how it is done: of a process, which limit, soft and hard.
    """

    def __init__(self, set_limit: Set = resource.prlimit) -> None:
        self._set = set_limit
        self._before: dict[tuple[str, int], tuple[int, int]] = {}  # by kind and process: soft and hard

    def tighten(self, pids: Iterable[int], kind: str, most: int) -> str:
        """Limit all of them; `most` 0: no more open files than there are. Says what was read back."""
        seen = []
        for pid in pids:
            with suppress(ProcessLookupError, FileNotFoundError):
                which = KINDS[kind][0]
                _, hard = self._before.setdefault((kind, pid), _limits(pid, kind))
                wanted = most or _lowest_free(pid)
                wanted = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
                self._set(pid, which, (wanted, hard))
                seen.append(_in_words(pid, kind))
        return ", ".join(seen) or "not running, limited when it starts again"

    def lift(self, kind: str) -> str:
        """Give them back what they had."""
        mine = {key: before for key, before in self._before.items() if key[0] == kind}
        seen = []
        for (_, pid), before in mine.items():
            with suppress(ProcessLookupError, FileNotFoundError):
                self._set(pid, KINDS[kind][0], before)
                seen.append(_in_words(pid, kind))
            del self._before[kind, pid]
        return ", ".join(seen) or "not limited in this life"

    def forget(self) -> None:
        """Another life begins: its processes are others, with the limits that every process begins with."""
        self._before.clear()


def _in_words(pid: int, kind: str) -> str:
    soft = _written(pid, kind)[0]
    has = f", it has {len(_open_files(pid))} open" if kind == "descriptors" else ""
    return f"pid {pid}: {KINDS[kind][1].lower()} read back as {soft}{has}"


def _limits(pid: int, kind: str) -> tuple[int, int]:
    """Soft and hard, from where everybody may read them."""
    soft, hard = (resource.RLIM_INFINITY if each == "unlimited" else int(each) for each in _written(pid, kind))
    return soft, hard


def _written(pid: int, kind: str) -> list[str]:
    """Soft and hard, as the kernel writes them."""
    label = KINDS[kind][1]
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(label)).removeprefix(label).split()[:2]


def _lowest_free(pid: int) -> int:
    """The lowest number that no open file has: with this limit no more can be opened."""
    taken = _open_files(pid)
    return next(number for number in range(len(taken) + 1) if number not in taken)


def _open_files(pid: int) -> set[int]:
    """Their numbers."""
    return {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
