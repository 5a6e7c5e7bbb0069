"""The one place that runs a command of this machine: argument tuples, never a shell, always a deadline."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

COMMAND_NOT_FOUND = 127
TOOK_TOO_LONG = 124


@dataclass(frozen=True)
class Ran:
    """What came of a command; `output` is stdout and stderr together."""

    argv: tuple[str, ...]
    returncode: int
    output: str


def run(argv: tuple[str, ...], timeout_s: float = 10.0) -> Ran:
    """Run a command to its end. Raises nothing: a missing or slow command has the return code that a shell gives it."""
    try:
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout_s
        )
    except (FileNotFoundError, PermissionError) as error:
        return Ran(argv, COMMAND_NOT_FOUND, f"{argv[0]}: {error.strerror}")
    except subprocess.TimeoutExpired:
        return Ran(argv, TOOK_TOO_LONG, f"{argv[0]}: no answer within {timeout_s:g} s")
    return Ran(argv, done.returncode, done.stdout.decode(errors="replace").strip())


def attempt(argv: tuple[str, ...]) -> tuple[bool, str]:
    """Whether a command works here, and the last line it said."""
    ran = run(argv)
    said = ran.output.splitlines()
    return ran.returncode == 0, said[-1] if said else f"{argv[0]} ended with {ran.returncode}"


def start_beside(
    argv: tuple[str, ...], fds: tuple[int, ...], environment: Mapping[str, str]
) -> "subprocess.Popen[bytes]":
    """A process that runs beside this one and inherits some sockets. Its standard input ends when this process does.

    It is in a session of its own: the Ctrl-C that a terminal sends to a run is not for it.
    """
    return subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=fds, env=environment, start_new_session=True
    )


def end_beside(process: subprocess.Popen[bytes], within_s: float) -> None:
    """End it by the end of its standard input; by a kill if it does not end in time."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
