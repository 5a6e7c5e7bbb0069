"""A strict YAML reader: plain data, the place of every key and value, and every mistake as a `Problem`.

Scalars follow YAML 1.2's core schema (on, yes and 12:30 are texts, 012 is 12, 1e3 is a number). Refused: duplicate and
non-text keys, merge keys, tags beyond the core ones, infinite numbers, aliases that contain themselves, and files that
are large, deep or explode through aliases. The limits are checked on events, before anything is built.
"""

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import Problem, ScenarioError

MAX_BYTES = 256 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 20
MAX_ALIASES = 100
MAX_EXPANSION = 10  # nodes after following every alias, as a multiple of the nodes written
MAX_DIGITS = 18  # of an integer: all fit 64 bits

DataPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """1-based line and column."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """What a file holds. `keys` and `values` say where each is written, by path; a list's item has no key."""

    file: str
    data: Any
    keys: dict[DataPath, Place]
    values: dict[DataPath, Place]


_TAG = "tag:yaml.org,2002:"
_CORE = {
    "null": re.compile(r"~|null|Null|NULL|"),
    "bool": re.compile(r"true|True|TRUE|false|False|FALSE"),
    "int": re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"),
    "float": re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
}


class _CoreLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # C where libyaml is there
    """PyYAML's parser with the resolvers of YAML 1.2's core schema in place of its own."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own shape


for _name, _pattern in _CORE.items():
    _CoreLoader.add_implicit_resolver(_TAG + _name, re.compile(rf"(?:{_pattern.pattern})\Z"), None)


def read_yaml(path: Path, shown: str | None = None) -> Document:
    """Read a YAML file; raises ScenarioError with every problem found. `shown` is the name that problems carry."""
    name = shown or str(path)
    try:
        if not path.is_file():
            raise OSError("there is no such file" if not path.exists() else "not a regular file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScenarioError((Problem(name, 1, 1, "", f"cannot read it: {error.strerror or error}"),)) from error
    return parse_yaml(raw, name)


def parse_yaml(raw: bytes, file: str) -> Document:
    """Read YAML text; raises ScenarioError with every problem found."""
    text = _decoded(raw, file)
    try:
        written = _count(text, file)
        root = yaml.compose(text, Loader=_CoreLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _at(mark)
        said = ", ".join(part for part in (error.problem, error.context) if part)
        raise _refused(file, place, f"not YAML: {said}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _refused(file, Place(1, 1), f"not YAML: {str(error).splitlines()[0]}") from error
    if root is None:
        raise _refused(file, Place(1, 1), "the file is empty")
    _check_expansion(root, written, file)
    builder = _Builder(file)
    data = builder.build(root, ())
    if builder.problems:
        raise ScenarioError(tuple(builder.problems))
    return Document(file, data, builder.keys, builder.values)


def parse_value(text: str, file: str) -> Any:
    """A YAML value of one line, as in `--set a.b=value`; an empty text is null."""
    return parse_yaml(text.encode(), file).data if text.strip() else None


def _refused(file: str, place: Place, text: str, path: str = "") -> ScenarioError:
    return ScenarioError((Problem(file, place.line, place.column, path, text),))


def _decoded(raw: bytes, file: str) -> str:
    if len(raw) > MAX_BYTES:
        raise _refused(file, Place(1, 1), f"larger than {MAX_BYTES // 1024} KiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refused(file, Place(line, 1), f"not UTF-8 text: {error.reason} at byte {error.start}") from error


def _count(text: str, file: str) -> int:
    """Number of nodes written; refuses what is too much before it is built."""
    nodes = aliases = depth = 0
    for event in yaml.parse(text, Loader=_CoreLoader):
        place = _at(event.start_mark)
        if isinstance(event, yaml.NodeEvent):
            nodes += 1
            if nodes > MAX_NODES:
                raise _refused(file, place, f"more than {MAX_NODES} keys and values")
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise _refused(file, place, f"more than {MAX_ALIASES} aliases")
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise _refused(file, place, f"nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return nodes


def _check_expansion(root: yaml.Node, written: int, file: str) -> None:
    """Refuse aliases that contain themselves, multiply the document or nest it too deep; each node is measured once.

    An alias can only name what stands before it, so the recursion never goes deeper than the text is nested.
    """
    measured: dict[int, tuple[int, int]] = {}  # node -> nodes in it, levels in it
    open_nodes: set[int] = set()

    def measure(node: yaml.Node) -> tuple[int, int]:
        if id(node) in open_nodes:
            raise _refused(file, _place(node), "an alias refers to what contains it")
        if id(node) not in measured:
            open_nodes.add(id(node))
            inside = [measure(child) for child in _children(node)]
            open_nodes.remove(id(node))
            levels = 1 + max(levels for _, levels in inside) if inside else 0
            measured[id(node)] = (1 + sum(nodes for nodes, _ in inside), levels)
        return measured[id(node)]

    nodes, levels = measure(root)
    if nodes > MAX_EXPANSION * written:
        raise _refused(file, Place(1, 1), f"aliases make it more than {MAX_EXPANSION} times as large as written")
    if levels > MAX_DEPTH:
        raise _refused(file, Place(1, 1), f"aliases nest it more than {MAX_DEPTH} deep")


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _place(node: yaml.Node) -> Place:
    return _at(node.start_mark)


def _at(mark: Any) -> Place:  # PyYAML's marks count from 0; its C parser has a class of its own for them
    return Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)


@dataclass
class _Builder:
    """Turns nodes into data, noting places and problems on the way."""

    file: str
    keys: dict[DataPath, Place] = field(default_factory=dict)
    values: dict[DataPath, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def build(self, node: yaml.Node, path: DataPath) -> Any:
        self.values[path] = _place(node)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode) and (kind == "str" or kind in _CORE):
            return self._scalar(kind, node, path)
        return self._refuse(node, path, f"the tag {node.tag} is not allowed here")

    def _mapping(self, node: yaml.MappingNode, path: DataPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = key.value
            if not isinstance(key, yaml.ScalarNode) or key.tag != _TAG + "str":
                self._refuse(key, path, f"keys must be texts (found {_shown(key)})")
            elif name == "<<":
                self._refuse(key, path, "merge keys are not part of YAML 1.2; write the keys out")
            elif name in found:
                self._refuse(key, path, f"the key {name!r} stands here twice; first on line {self._first(path, name)}")
            else:
                self.keys[(*path, name)] = _place(key)
                found[name] = self.build(value, (*path, name))
        return found

    def _first(self, path: DataPath, name: str) -> int:
        return self.keys[(*path, name)].line

    def _scalar(self, kind: str, node: yaml.ScalarNode, path: DataPath) -> Any:
        text: str = node.value
        if kind == "str":
            return text
        if not _CORE[kind].fullmatch(text):
            return self._refuse(node, path, f"{_shown(node)} is not !!{kind}")
        if kind == "null":
            return None
        if kind == "bool":
            return text.lower() == "true"
        if kind == "int":
            if len(text.lstrip("+-0")) > MAX_DIGITS:
                return self._refuse(node, path, f"a whole number of more than {MAX_DIGITS} digits")
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        number = math.inf if text.lower().endswith(("inf", "nan")) else float(text)
        if not math.isfinite(number):
            return self._refuse(node, path, f"not a finite number (found {_shown(node)})")
        return number

    def _refuse(self, node: yaml.Node, path: DataPath, text: str) -> Any:
        """Note a problem; None stands for the value, which nobody gets to see."""
        place = _place(node)
        self.problems.append(Problem(self.file, place.line, place.column, dotted(path), text))
        return None


def dotted(path: DataPath) -> str:
    """`faults.0.at`: a path as problems and `--set` write it."""
    return ".".join(str(part) for part in path)


def _shown(node: yaml.Node) -> str:
    """A value as messages quote it: short, on one line."""
    if not isinstance(node, yaml.ScalarNode):
        return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
    return repr(node.value) if len(node.value) <= 40 else repr(node.value[:37] + "...")
