"""The inventory, boards.yaml: which boards there are and how each is reached. Every mistake at once, at its place."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, StringConstraints

from node_image.meters import METERS
from node_image.parameters import REQUIRED, describe
from orchestrator.errors import Problem, ScenarioError
from orchestrator.forms.base import Form, Mistake, Name, Reading, name_of, read_by, refusal, shown, unknown
from orchestrator.places import problem_at
from orchestrator.presets import Presets, read_form
from orchestrator.yaml_loader import read_yaml

HERE = "here"  # the host of a board that is no board: nodes placed on it run on the orchestrator's machine
STORE = "~/.cache/edgebed"
MAX_BOARDS = 200

Host = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:%_-]{0,252}[A-Za-z0-9])?$")]
Port = Annotated[int, Strict(), Field(ge=1, le=65535)]
User = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?$")]
Interface = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,15}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,3}(\.[0-9]{1,3}){3}$")]
FilePath = Annotated[str, StringConstraints(min_length=1, max_length=1000)]

_PATTERNS = {  # what the patterns above mean, where the forms' own words for a name would mislead
    "host": "not a host name or an IP address",
    "user": "not the name of a user",
    "interface": "not the name of a network interface",
    "address": "not an IPv4 address",
}


@dataclass(frozen=True)
class Board:
    """One machine that nodes can run on. Paths are as on the board, except `key`, which is a file here."""

    name: str
    host: str
    port: int
    user: str
    key: Path
    profile: str
    interface: str | None = None  # that packets between nodes cross; None: that of SSH
    address: str | None = None  # the board's on that interface; None: looked up there
    python: str | None = None
    store: str = STORE
    data_dir: str | None = None
    meter: Mapping[str, Any] | None = None

    @property
    def is_here(self) -> bool:
        """Whether it stands for the orchestrator's own machine."""
        return self.host == HERE

    @property
    def where(self) -> str:
        """`name (user@host:port)`, for messages."""
        return f"{self.name} (this machine)" if self.is_here else f"{self.name} ({self.user}@{self.host}:{self.port})"


@dataclass(frozen=True)
class Inventory:
    """The boards of a file, in its order, and the file beside it that pins their host keys."""

    path: Path
    boards: tuple[Board, ...]
    insecure: bool = False  # messages between nodes are not encrypted
    known_hosts: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "known_hosts", self.path.with_suffix(".known_hosts"))


class DataForm(Form):
    """The board's interface for packets between nodes."""

    interface: Interface | None = None
    address: Address | None = None


def _known_profile(value: Any, reading: Reading) -> str:
    reading.presets.profile(str(value))
    return str(value)


def _read_key(value: Any, reading: Reading) -> Path:
    if not isinstance(value, str) or not value:
        raise ValueError("must be the path of a private key file")
    key = reading.folder / Path(value).expanduser()
    if problem := problem_of_key(key):
        raise ValueError(problem)
    return key


def _read_meter(value: Any, _: Reading) -> dict[str, Any]:
    """`{kind: ina3221, rails: VDD_IN}`, with every mistake at its key."""
    known = ", ".join(sorted(METERS))
    if not isinstance(value, Mapping):
        raise refusal([((), f"must be a mapping with a kind; known: {known}{shown(value)}")])
    if "kind" not in value:
        raise refusal([(("kind",), f"is required; known: {known}")])
    if not isinstance(value["kind"], str) or value["kind"] not in METERS:
        raise refusal([(("kind",), unknown("meter", value["kind"], METERS))])
    specs = describe(METERS[value["kind"]].Parameters)
    given = {name: found for name, found in value.items() if name != "kind"}
    mistakes: list[Mistake] = [((name,), unknown("key", name, ("kind", *specs))) for name in given if name not in specs]
    for name, spec in specs.items():
        if name not in given:
            problem = f"is required: {spec.about}" if spec.default is REQUIRED else None
        else:
            problem = spec.problem(given[name])
        if problem is not None:
            mistakes.append(((name,), problem))
    if mistakes:
        raise refusal(mistakes)
    return dict(value)


class BoardForm(Form):
    """A board as the inventory writes it; `host: here` needs neither user nor key."""

    name: Name
    host: Host
    port: Port = 22
    user: User | None = None
    key: Annotated[Path | None, read_by(_read_key, str)] = None
    profile: Annotated[str, read_by(_known_profile, name_of("devices"))]
    data: DataForm | None = None
    python: FilePath | None = None
    store: FilePath = STORE
    data_dir: FilePath | None = None
    meter: Annotated[dict[str, Any] | None, read_by(_read_meter, dict[str, Any])] = None

    def board(self) -> Board:
        """As the rest of Edgebed has it."""
        data = self.data or DataForm()
        return Board(
            name=self.name,
            host=self.host,
            port=self.port,
            user=self.user or "",
            key=self.key or Path(),
            profile=self.profile,
            interface=data.interface,
            address=data.address,
            python=self.python,
            store=self.store,
            data_dir=self.data_dir,
            meter=self.meter,
        )


class InventoryForm(Form):
    """The whole file."""

    boards: Annotated[tuple[BoardForm, ...], Field(min_length=1, max_length=MAX_BOARDS)]
    messages: Literal["tls", "insecure"] = "tls"  # between nodes, on the network


def load_inventory(path: Path) -> Inventory:
    """Read an inventory; raises ScenarioError with every mistake, those of key files too."""
    document = read_yaml(path)
    reading = Reading(path.parent, Presets(path.parent))
    mistakes = [problem_at(document, where, text) for where, text in _across(document.data)]
    try:
        form = read_form(document, lambda data: InventoryForm.model_validate(data, context=reading))
    except ScenarioError as error:
        mistakes += [_said_well(problem) for problem in error.problems]
    if mistakes:
        raise ScenarioError(tuple(sorted(mistakes, key=lambda each: (each.line, each.column))))
    return Inventory(path, tuple(each.board() for each in form.boards), form.messages == "insecure")


def _said_well(problem: Problem) -> Problem:
    words = _PATTERNS.get(problem.path.rpartition(".")[2])
    if words is None or not problem.text.startswith("not a name here"):
        return problem
    found = problem.text.rpartition(" (found ")[2]
    return Problem(problem.file, problem.line, problem.column, problem.path, f"{words} (found {found}")


def problem_of_key(key: Path) -> str:
    """What is wrong with a private key file, with its remedy; empty where nothing is."""
    try:
        mode = key.stat().st_mode
    except OSError as error:
        return f"cannot use {key}: {error.strerror}; make one with: ssh-keygen -t ed25519 -f {key}"
    if not stat.S_ISREG(mode):
        return f"{key} is not a file"
    if mode & 0o077:
        return f"others may read {key} (mode {mode & 0o777:o}); chmod 600 {key}"
    return ""


def _across(data: Any) -> list[Mistake]:
    """What no single value shows: who lacks a way in, and who stands there twice. Looks at the file as written."""
    mistakes: list[Mistake] = []
    names: set[str] = set()
    hosts: dict[tuple[str, int], str] = {}
    listed = data.get("boards") if isinstance(data, Mapping) else None
    for number, item in enumerate(listed if isinstance(listed, list) else ()):
        if not isinstance(item, Mapping):
            continue
        name, host, port = item.get("name"), item.get("host"), item.get("port", 22)
        for needed in () if host == HERE else ("user", "key"):
            if item.get(needed) is None:
                mistakes.append((("boards", number, needed), "is required, unless the host is `here`"))
        if isinstance(name, str):
            if name in names:
                mistakes.append((("boards", number, "name"), f"a board of this name stands above (found {name!r})"))
            names.add(name)
        if isinstance(host, str) and isinstance(port, int):
            address = (host.lower(), 0 if host == HERE else port)
            if address in hosts:
                mistakes.append((("boards", number, "host"), f"this is the same machine as {hosts[address]}"))
            hosts.setdefault(address, str(name))
    return mistakes
