"""Plug-ins of one's own: an algorithm, a rule, a model, a selection or a task in one Python file.

A file is named by whoever runs, never by a scenario, and joins the registry under its name without `.py`. Its bytes are
read once: those that are checked are those that run. A run keeps a copy beside its plan, with its hash in
`plugins.json`; its nodes load that copy and refuse one with another hash. What goes wrong inside a plug-in is told with
the plug-in's own line (`find_mistake`).
"""

import ast
import hashlib
import importlib.util
import json
import linecache
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.abc import SourceLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from node_image.registry import Kind

LIST = "plugins.json"
FOLDER = "plugins"
SCHEMA_VERSION = 1
NAME = re.compile(r"[a-z][a-z0-9_]*")
_FILES: set[str] = set()  # every file that this process has run as a plug-in, as tracebacks name it


class PluginError(Exception):
    """A file cannot be a plug-in; the message has its place and what to do."""


@dataclass(frozen=True)
class Plugin:
    """A file that is a plug-in. `path` is what its user called it; `source` are the bytes that run."""

    kind: "Kind"
    name: str
    path: str
    sha256: str
    source: bytes = field(repr=False)


@dataclass(frozen=True)
class Mistake:
    """Where a plug-in went wrong: the last of its own lines that led to the error."""

    file: str
    line: int
    function: str
    code: str  # that line's text
    error: str  # `ValueError: what it says`

    def __str__(self) -> str:
        return self.told()

    def told(self, t: float | None = None, progress: str = "") -> str:
        """In words, with the time (s since the run began) and how far the node had come, where that is known."""
        when = ("" if t is None else f", {t:.3f} s into the run") + (f", {progress}" if progress else "")
        where = f"{self.file}:{self.line}: in {self.function}{when}: {self.error}"
        return f"{where}\n    {self.code}" if self.code else where


@contextmanager
def loaded(paths: Sequence[Path]) -> Iterator[tuple[Plugin, ...]]:
    """Have these files in the registry while the block lasts. Raises PluginError."""
    with ExitStack() as stack:
        plugins = []
        for path in paths:
            plugins.append(load(path.read_bytes(), str(path)))
            stack.callback(unload, plugins[-1])
        yield tuple(plugins)


def load(source: bytes, path: str) -> Plugin:
    """Run a file's text, check that it is a plug-in, and add it to the registry. Raises PluginError."""
    from node_image import registry
    from node_image.plugin_form import problem_of

    name = Path(path).stem
    if not NAME.fullmatch(name) or Path(path).suffix != ".py":
        raise PluginError(f"{path}: must be called like mine.py (small letters, digits, _): that is its name in YAML")
    if _module_name(name) in sys.modules:
        raise PluginError(f"{path}: there is another plug-in called {name!r}; give the file another name")
    module = _run(source, path, name)
    try:
        kind, problem = problem_of(module, ast.parse(source))
        if kind is None or problem:
            raise PluginError(f"{path}:{problem}")
        if name in registry.known(kind):
            raise PluginError(f"{path}: {name!r} is the name of a built-in {kind}; give the file another name")
    except PluginError:
        del sys.modules[module.__name__]
        raise
    registry.add(kind, name, module)
    return Plugin(kind, name, path, hashlib.sha256(source).hexdigest(), source)


def unload(plugin: Plugin) -> None:
    """Take a plug-in out of the registry again."""
    from node_image import registry

    registry.remove(plugin.kind, plugin.name)
    del sys.modules[_module_name(plugin.name)]


def write_copies(plugins: Sequence[Plugin], directory: Path) -> None:
    """Keep the plug-ins of a run in its directory, for its nodes and for whoever reads the run later."""
    if not plugins:
        return
    (directory / FOLDER).mkdir()
    for plugin in plugins:
        (directory / FOLDER / f"{plugin.name}.py").write_bytes(plugin.source)
    (directory / LIST).write_text(_listed(plugins), encoding="utf-8")


@contextmanager
def copies_loaded(directory: Path) -> Iterator[None]:
    """Have a run directory's plug-ins in the registry while the block lasts. Raises PluginError."""
    file = directory / LIST
    with ExitStack() as stack:
        for plugin in load_copies(file) if file.is_file() else ():
            stack.callback(unload, plugin)
        yield


def load_copies(file: Path) -> list[Plugin]:
    """Load what a `plugins.json` names from the folder beside it. PluginError where a file is not the one named."""
    loaded = []
    for each in json.loads(file.read_text(encoding="utf-8"))["plugins"]:
        copy = file.parent / FOLDER / f"{each['name']}.py"
        source = copy.read_bytes()
        found = hashlib.sha256(source).hexdigest()
        if found != each["sha256"]:
            raise PluginError(
                f"{copy}: is not the plug-in that the run was planned with: its SHA-256 is {found[:12]}..., "
                f"{LIST} says {each['sha256'][:12]}...; run again with --plugin {each['path']}"
            )
        loaded.append(load(source, each["path"]))
    return loaded


def same_copies(plugins: Sequence[Plugin], directory: Path) -> bool:
    """Whether a run directory's run had just these plug-ins, to the byte."""
    file = directory / LIST
    wanted = {(plugin.kind, plugin.name, plugin.sha256) for plugin in plugins}
    if not file.is_file():
        return not wanted
    found = json.loads(file.read_text(encoding="utf-8"))["plugins"]
    return {(each["kind"], each["name"], each["sha256"]) for each in found} == wanted


def find_mistake(error: BaseException) -> Mistake | None:
    """The plug-in's line from which an error came; None where no plug-in had a part in it."""
    if isinstance(error, SyntaxError) and error.filename in _FILES:
        return Mistake(error.filename, error.lineno or 1, "the file", (error.text or "").strip(), _last_line(error))
    for inner in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if (found := find_mistake(inner)) is not None:
            return found
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _FILES and not isinstance(error, BaseExceptionGroup):
            function = "the file" if frame.name == "<module>" else frame.name
            return Mistake(frame.filename, frame.lineno or 1, function, frame.line or "", _last_line(error))
    return None if error.__cause__ is None else find_mistake(error.__cause__)


def last_words(error: Exception, t: float, progress: str = "") -> str:
    """What a node that an error ends leaves behind: a plug-in's mistake at its line, else the whole traceback.

    `progress` says in words how far the node had come.
    """
    mistake = find_mistake(error)
    return "".join(traceback.format_exception(error)) if mistake is None else f"{mistake.told(t, progress)}\n"


def _last_line(error: BaseException) -> str:
    return traceback.format_exception_only(error)[-1].strip()


def _listed(plugins: Sequence[Plugin]) -> str:
    entries = [{"kind": each.kind, "name": each.name, "path": each.path, "sha256": each.sha256} for each in plugins]
    return json.dumps({"schema_version": SCHEMA_VERSION, "plugins": entries}, indent=1) + "\n"


def _module_name(name: str) -> str:
    return f"edgebed_plugin_{name}"


class _Source(SourceLoader):
    """Loads a module from bytes in memory. Tracebacks name `path`, and find its lines wherever they are shown."""

    def __init__(self, source: bytes, path: str) -> None:
        self._source = source
        self._path = path

    def get_filename(self, fullname: str) -> str:
        return self._path

    def get_data(self, path: str | bytes) -> bytes:
        return self._source


def _run(source: bytes, path: str, name: str) -> ModuleType:
    """The file as a module; PluginError with the line where running it fails."""
    _FILES.add(path)
    lines = source.decode("utf-8", "replace").splitlines(keepends=True)
    linecache.cache[path] = (len(source), None, lines, path)  # no modification time: it is never read anew
    spec = importlib.util.spec_from_loader(_module_name(name), _Source(source, path), origin=path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and type hints look for it there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[spec.name]
        raise PluginError(str(find_mistake(error) or f"{path}:1: {_last_line(error)}")) from error
    return module
