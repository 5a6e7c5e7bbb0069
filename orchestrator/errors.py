"""Errors a user can meet, each with the exit code that `edgebed` leaves with.

An error says what was tried, where, what came back and what to do next. Anything that is not an `EdgebedError`
is a defect of ours and may show its traceback.
"""

from dataclasses import dataclass


class EdgebedError(Exception):
    """A failure with a message for the user; `exit_code` is what the command ends with."""

    exit_code = 4


@dataclass(frozen=True)
class Problem:
    """One mistake in a scenario file: 1-based line and column, dotted path, and what is wrong."""

    file: str
    line: int
    column: int
    path: str
    text: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        return f"{where}{self.path}: {self.text}" if self.path else f"{where}{self.text}"


class ScenarioError(EdgebedError):
    """The scenario (or another input file) is wrong; carries every problem found, not the first alone."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class UsageError(EdgebedError):
    """The command line asks for something that does not exist or contradicts itself."""

    exit_code = 2


class MachineCannotError(EdgebedError):
    """This machine lacks what the run needs (root, a device, a module); the message holds the remedy."""

    exit_code = 3


class RunBrokeError(EdgebedError):
    """The run could not be carried to its end; the message names the node or step and its last words."""

    exit_code = 4


class RunTimedOutError(EdgebedError):
    """A phase did not end within its deadline."""

    exit_code = 5
