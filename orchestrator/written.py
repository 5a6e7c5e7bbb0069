"""A scenario as written: the data of its file with overrides made, and from where in it a mistake comes."""

import copy
from dataclasses import dataclass
from typing import Any

from orchestrator.errors import Problem, ScenarioError
from orchestrator.places import problem_at
from orchestrator.yaml_loader import DataPath, Document, dotted, parse_value

SET = "--set"  # the file name of problems that an override brings


class PathError(ValueError):
    """There is nothing at that path, nor can there be."""


@dataclass(frozen=True)
class Override:
    """One `a.b.0.c=value` of the command line; `number` counts from 1."""

    number: int
    path: DataPath
    column: int  # of the value, 1-based


@dataclass(frozen=True)
class Written:
    """Data, ready to be validated, and where it came from."""

    document: Document
    data: Any
    overrides: tuple[Override, ...] = ()

    def problem(self, path: DataPath, text: str) -> Problem:
        """A problem at its place: in the override that set the value, or in the file."""
        for override in reversed(self.overrides):
            brought = override.path[: len(path)] == path and path not in self.document.values
            if brought or path[: len(override.path)] == override.path:
                return Problem(SET, override.number, override.column, dotted(path), text)
        return problem_at(self.document, path, text)

    def with_value(self, path: DataPath, value: Any) -> "Written":
        """A copy in which the value at that path is another one; raises PathError where there can be no such path."""
        data = copy.deepcopy(self.data)
        _assign(data, path, value)
        return Written(self.document, data, self.overrides)


def with_overrides(document: Document, assignments: tuple[str, ...]) -> Written:
    """The document with `a.b.0.c=value` made, later ones over earlier ones; raises ScenarioError with every mistake."""
    written = Written(document, document.data)
    problems: list[Problem] = []
    for number, text in enumerate(assignments, 1):
        name, equals, value_text = text.partition("=")
        override = Override(number, path_of(name), len(name) + 2)
        try:
            if not equals or not name:
                raise ValueError(f"write PATH=VALUE, such as learning.algorithm.name=fedavg (found {text!r})")
            value = parse_value(value_text, SET)
            written = written.with_value(override.path, value)
            written = Written(document, written.data, (*written.overrides, override))
        except ScenarioError as error:
            problems += [Problem(SET, number, override.column, name, problem.text) for problem in error.problems]
        except ValueError as error:
            problems.append(Problem(SET, number, 1, name, str(error)))
    if problems:
        raise ScenarioError(tuple(problems))
    return written


def path_of(name: str) -> DataPath:
    """`devices.0.count` as a path: whole numbers are places in lists."""
    return tuple(int(part) if part.isdecimal() else part for part in name.split("."))


def _assign(data: Any, path: DataPath, value: Any) -> None:
    """Set a value; mappings on the way that are not there are made (a wrong key is for the forms to find)."""
    here = data
    for depth, part in enumerate(path):
        where = dotted(path[:depth]) or "the scenario"
        if isinstance(here, list):
            if not isinstance(part, int) or part >= len(here):
                raise PathError(f"{where} is a list of {len(here)}: no item {part!r} (they count from 0)")
        elif not isinstance(here, dict):
            raise PathError(f"{where} is {here!r}: there is nothing inside it to set; set {where} as a whole")
        elif isinstance(part, int):
            raise PathError(f"{where} is a mapping, not a list; known: {', '.join(here)}")
        if depth == len(path) - 1:
            here[part] = value
        elif isinstance(here, dict):
            here = here.setdefault(part, {})
        else:
            here = here[part]
