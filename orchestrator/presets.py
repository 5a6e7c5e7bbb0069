"""Link shapes, device profiles and radios by name: one YAML file each, in the folders that Edgebed ships or your own.

A folder `links`, `devices` or `radios` beside the scenario file comes before the shipped one.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from orchestrator.devices import Quality
from orchestrator.errors import Problem, ScenarioError
from orchestrator.forms.base import Form, Reading, mistakes_of, unknown
from orchestrator.forms.link import PLAIN, Link, LinkForm
from orchestrator.forms.profile import ProfileForm
from orchestrator.forms.radio import RadioForm
from orchestrator.places import problem_at
from orchestrator.yaml_loader import Document, read_yaml

SHIPPED = Path(__file__).resolve().parent.parent / "scenarios"
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_]{0,63}")

F = TypeVar("F", bound=Form)


class LinkPreset(LinkForm):
    """A file of `links/`: a link with its name and source."""

    name: str
    about: str = ""
    source: str
    quality: Quality


class Presets:
    """Named shapes, profiles and radios; each file is read when it is asked for first.

    The methods raise ValueError for an unknown name (with the known ones) and for a file with mistakes (with all of
    them), so that a scenario's problem stands where the name is used.
    """

    def __init__(self, folder: Path) -> None:
        self._folders = tuple(dict.fromkeys((folder.resolve(), SHIPPED)))
        self._links: dict[str, Link] = {}
        self._under_way: set[str] = set()
        self._profiles: dict[str, ProfileForm] = {}
        self._radios: dict[str, RadioForm] = {}

    def known(self, kind: str) -> tuple[str, ...]:
        """Names of a kind (`links`, `devices`, `radios`), sorted."""
        files = [path for folder in self._folders for path in (folder / kind).glob("*.yaml")]
        return tuple(sorted({path.stem for path in files}))

    def link(self, name: str) -> Link:
        """A link shape."""
        if name not in self._links:
            preset = self._read("links", "link preset", name, LinkPreset)
            if preset.preset is not None and preset.preset in self._under_way:
                raise ValueError(f"link preset {name} is built on {preset.preset}, which is built on {name}")
            self._under_way.add(name)
            self._links[name] = preset.resolved(self.link(preset.preset) if preset.preset else PLAIN)
            self._under_way.remove(name)
        return self._links[name]

    def profile(self, name: str) -> ProfileForm:
        """A device profile."""
        if name not in self._profiles:
            self._profiles[name] = self._read("devices", "device profile", name, ProfileForm)
        return self._profiles[name]

    def written_profile(self, name: str) -> dict[str, Any]:
        """A device profile as its file says it."""
        self.profile(name)
        data: dict[str, Any] = read_yaml(self._path("devices", "device profile", name)).data
        return data

    def radio(self, name: str) -> RadioForm:
        """A radio."""
        if name not in self._radios:
            self._radios[name] = self._read("radios", "radio", name, RadioForm)
        return self._radios[name]

    def _path(self, kind: str, what: str, name: str) -> Path:
        if _FILE_NAME.fullmatch(name):
            for folder in self._folders:
                path = folder / kind / f"{name}.yaml"
                if path.is_file():
                    return path
        raise ValueError(unknown(what, name, self.known(kind)))

    def _read(self, kind: str, what: str, name: str, form: type[F]) -> F:
        path = self._path(kind, what, name)
        try:
            document = read_yaml(path)
            found = read_form(document, lambda data: form.model_validate(data, context=Reading(path.parent, self)))
            if document.data["name"] != name:
                raise ScenarioError((problem_at(document, ("name",), f"must be {name!r}, as the file is called"),))
        except ScenarioError as error:
            mistakes = "; ".join(str(problem) for problem in error.problems)
            raise ValueError(f"{what} {name} has mistakes: {mistakes}") from error
        return found


def read_form(document: Document, validate: Callable[[Any], F]) -> F:
    """What a document holds; raises ScenarioError with a problem for every mistake, at its place."""
    try:
        return validate(document.data)
    except ValidationError as error:
        problems: list[Problem] = [problem_at(document, path, text) for path, text in mistakes_of(error)]
        raise ScenarioError(tuple(problems)) from error
