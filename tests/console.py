"""Run what a page shows: fenced blocks of `console`, whose `$ ` lines are commands and whose other lines their output.

In the output `...` on a line of its own stands for any lines, or none; numbers need not be the same, all words must be.
Spaces, rules and lengths of tables do not count. `$ echo $?` shows the exit code of the command before it, which must
be the very same; a command that no such line follows must end with 0. There is no shell.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
EXIT_CODE = "echo $?"
ANY_LINES = "..."
TIMEOUT_S = 250  # a guard; each takes seconds on an idle machine


@dataclass(frozen=True)
class Shown:
    """A command of a page, with the line it stands on, the output that is shown, and the exit code (0, if not told)."""

    line: int
    command: str
    output: tuple[str, ...]
    exit_code: int


def commands_of(page: str) -> list[Shown]:
    """All commands of a page, in their order."""
    return [shown for block in BLOCK.finditer(page) for shown in _of_block(page, block)]


def run(shown: Shown, folder: Path, environment: Mapping[str, str]) -> str:
    """What is wrong with a command of a page, run in that folder; empty if all is as shown."""
    argv = shlex.split(shown.command)
    if argv[0] == "edgebed":
        argv = [sys.executable, "-m", "orchestrator", *argv[1:]]
    done = subprocess.run(
        argv,
        cwd=folder,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode != shown.exit_code:
        told = f"exit code {done.returncode}, the page says {shown.exit_code}"
        return f"line {shown.line}: {shown.command}: {told}:\n{done.stdout}"
    found = done.stdout.splitlines()
    if not matches(shown.output, found):
        return f"line {shown.line}: {shown.command}: the page is not what came:\n{done.stdout}"
    return ""


def matches(expected: tuple[str, ...], found: list[str]) -> bool:
    """Whether the output is as shown."""
    pattern = "".join(r"(?:.*\n)*?" if line == ANY_LINES else re.escape(_shape(line)) + r"\n" for line in expected)
    return re.fullmatch(pattern, "".join(f"{_shape(line)}\n" for line in found)) is not None


def _shape(line: str) -> str:
    """A line without what may differ."""
    return " ".join(NUMBER.sub("0", re.sub("─+", "─", line)).split())


def _of_block(page: str, block: re.Match[str]) -> Iterator[Shown]:
    first = page.count("\n", 0, block.start(1)) + 1
    found: list[tuple[int, str, list[str]]] = []
    for number, line in enumerate(block[1].splitlines(), first):
        if line.startswith("$ "):
            found.append((number, line.removeprefix("$ "), []))
        else:
            found[-1][2].append(line)
    for (number, command, output), after in zip(found, [*found[1:], None], strict=True):
        if command != EXIT_CODE:
            code = int(after[2][0]) if after is not None and after[1] == EXIT_CODE else 0
            yield Shown(number, command, tuple(output), code)
