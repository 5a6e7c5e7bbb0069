"""One life of a node on a board: its process, what it says, what it uses, its end."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from node_image.kernel import die_with_parent, inside_network_of
from node_image.process_limits import ProcessLimits

LAST_BYTES = 16_384
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
FROZEN_WITHIN_S = 2.0
Say = Callable[[Mapping[str, Any]], None]


class Life:
    """A process `python -m node_image` in the namespace of its tunnel, as the user who came in and never as root."""

    def __init__(self, node: str, number: int, folder: Path, say: Say) -> None:
        self.ended = asyncio.get_running_loop().create_future()
        self._name = {"node": node, "life": number}
        self._folder = folder
        self._say = say
        self.limits = ProcessLimits()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the node; 0 before it starts."""
        return 0 if self._process is None else self._process.pid

    def start(self, namespace: int, arguments: list[str], owner: tuple[int, int]) -> int:
        """Start it; returns its pid. Called from the thread that lives as long as the agent: it dies with that one."""
        user, group = owner
        as_user = {"user": user, "group": group, "extra_groups": []} if os.geteuid() == 0 and user else {}
        with (self._folder / "stderr").open("ab") as stderr, inside_network_of(namespace):
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "node_image", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
                env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HOME": str(self._folder)},
                **as_user,  # type: ignore[call-overload]  # mypy knows each of them, but not that a mapping holds them
            )
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._listen, args=(loop, self._process), daemon=True).start()
        return self._process.pid

    def tell(self, line: str) -> None:
        """Write a line to its stdin; one that has gone takes no notice."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def hang_up(self) -> None:
        """Close its stdin: the node ends, unless it was told to stop and is still busy with that."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole session; none to one that has ended, whose number may be another's by now."""
        if self._process is not None and not self.ended.done():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def freeze(self) -> float:
        """Stop all its tasks; returns the CPU seconds it has used when the kernel shows it stopped."""
        self.signal(signal.SIGSTOP)
        async with asyncio.timeout(FROZEN_WITHIN_S):
            while self._stat()[0] != "T":
                await asyncio.sleep(0.001)
        return self.cpu_s()

    def thaw(self) -> float:
        """Let it go on; returns the CPU seconds it had used until then."""
        used_s = self.cpu_s()
        self.signal(signal.SIGCONT)
        return used_s

    def cpu_s(self) -> float:
        """CPU time of all its threads so far (s); 0 for one that has gone."""
        fields = self._stat()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_S if len(fields) > 12 else 0.0

    def memory_bytes(self) -> int:
        """Pages that are its own."""
        with suppress(OSError):
            for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) << 10
        return 0

    def last_words(self) -> str:
        """The end of its stderr."""
        with suppress(OSError), (self._folder / "stderr").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - LAST_BYTES))
            return file.read().decode("utf-8", "replace")
        return ""

    def _stat(self) -> list[str]:
        """Fields of /proc/<pid>/stat from the state on; none when it has gone."""
        with suppress(OSError):
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return [""]

    def _listen(self, loop: asyncio.AbstractEventLoop, process: "subprocess.Popen[bytes]") -> None:
        """In a thread: pass on each line it says, then its wait status."""
        if process.stdout is None:
            return
        with process.stdout:
            for line in process.stdout:
                self._say({**self._name, "line": line.decode("utf-8", "replace").rstrip("\n")})
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        with suppress(RuntimeError):  # the loop has ended, and with it everybody who wants to know
            loop.call_soon_threadsafe(self._over, status, usage.ru_utime + usage.ru_stime)

    def _over(self, status: int, cpu_s: float) -> None:
        self.ended.set_result(status)
        self._say({**self._name, "exited": status, "cpu_s": cpu_s, "last_words": self.last_words()})
