"""The walls of the house, checked on the source itself: who may import whom, and what nobody may do.

A file that breaks a rule is named with its line. A rule that must give way is changed here, with its reason.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("node_image", "orchestrator", "analysis")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
# av (PyAV) and PIL decode the user's own videos and images, inside functions.
NODE_LIBRARIES = {"PIL", "av", "msgpack", "numpy", "safetensors", "sklearn", "torch"}

# One outside library, one door: files (or folders) that may import it.
DOORS = {
    "click": ("orchestrator/cli.py", "orchestrator/commands/", "orchestrator/reference/command_line.py"),
    "cryptography": ("orchestrator/boards/certificates.py",),
    "docker": ("orchestrator/hosts/container.py",),
    "grafana_api": ("orchestrator/telemetry/grafana.py",),
    "matplotlib": ("analysis/figures/",),
    "mininet": ("orchestrator/substrates/",),
    "paramiko": ("orchestrator/hosts/ssh.py",),
    "prometheus_client": ("orchestrator/telemetry/",),
    "ray": ("orchestrator/cluster.py",),
    "rich": ("orchestrator/terminal/",),
    "scipy": ("analysis/statistics/",),
    "starlette": ("orchestrator/telemetry/live/app.py",),
    "uvicorn": ("orchestrator/telemetry/live/server.py",),
    "yaml": ("orchestrator/scenario.py", "orchestrator/devices.py", "orchestrator/yaml_loader.py"),
}
# Who starts processes: commands of this machine, node processes inside namespaces, and the fork server.
PROCESS_DOORS = (
    "orchestrator/command.py",
    "orchestrator/substrates/",
    "orchestrator/hosts/",
    "orchestrator/links/",
    "node_image/board/",  # on a board: the nodes, and what looks at the board
    "node_image/meters/raspberry_pi_5.py",  # a program of the board's maker tells its power
)
PRINT_DOORS = ("orchestrator/terminal/", "orchestrator/commands/")

Imported = tuple[int, str, bool]  # line, dotted name, only for type checking


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(tree: ast.AST) -> Iterator[Imported]:
    """Every import anywhere in a file, those inside functions included."""
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in for_types
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}", id(node) in for_types


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def broken(rule: str, found: list[str]) -> str:
    return f"{rule}:\n" + "\n".join(found)


def at(path: Path, line: int, text: str) -> str:
    return f"  {relative(path)}:{line}: {text}"


def test_the_source_is_found() -> None:
    assert len(FILES) > 20


def test_a_node_imports_the_standard_library_and_its_declared_libraries_alone() -> None:
    allowed = NODE_LIBRARIES | {"node_image"} | set(sys.stdlib_module_names)
    found = [
        at(path, line, name)
        for path in FILES
        if relative(path).startswith("node_image/")
        for line, name, _ in imports_of(parsed(path))
        if name.split(".")[0] not in allowed
    ]
    assert not found, broken("node_image must run from a bare copy", found)


def test_analysis_reads_run_directories_and_knows_no_other_part_of_the_orchestrator() -> None:
    allowed = ("orchestrator.rundir", "orchestrator.quantities")
    found = [
        at(path, line, name)
        for path in FILES
        if relative(path).startswith("analysis/")
        for line, name, _ in imports_of(parsed(path))
        if name.startswith("orchestrator") and not name.startswith(allowed)
    ]
    assert not found, broken("analysis sees run directories only", found)


def test_only_commands_use_analysis() -> None:
    found = [
        at(path, line, name)
        for path in FILES
        if relative(path).startswith("orchestrator/") and not relative(path).startswith("orchestrator/commands/")
        for line, name, _ in imports_of(parsed(path))
        if name.split(".")[0] == "analysis"
    ]
    assert not found, broken("what runs does not depend on what is drawn of it", found)


def test_planning_is_pure() -> None:
    """The plan is decided without looking at machines: no substrates, no runs, no processes, no clock."""
    pure = {"orchestrator/plan.py", "orchestrator/topology.py", "orchestrator/agreement.py", "orchestrator/units.py"}
    banned = ("orchestrator.run.", "orchestrator.substrates", "orchestrator.command", "subprocess", "socket", "time.")
    found = [
        at(path, line, name)
        for path in FILES
        if relative(path) in pure
        for line, name, for_types in imports_of(parsed(path))
        if (f"{name}.").startswith(banned) and not for_types
    ]
    assert not found, broken("planning is pure", found)


def test_faults_never_ask_which_substrate_it_is() -> None:
    found = [
        at(path, line, name)
        for path in FILES
        if relative(path).startswith("orchestrator/faults/")
        for line, name, _ in imports_of(parsed(path))
        if name.startswith("orchestrator.substrates") and not name.startswith("orchestrator.substrates.base")
    ]
    assert not found, broken("faults use abilities, not substrates", found)


def test_algorithms_import_no_networking_no_files_and_no_clock() -> None:
    banned = {"socket", "asyncio.streams", "pathlib", "os", "io", "time", "datetime", "subprocess", "random"}
    found = [
        at(path, line, name)
        for path in FILES
        if relative(path).startswith("node_image/algorithms/")
        for line, name, _ in imports_of(parsed(path))
        if name.split(".")[0] in banned or name.startswith("node_image.tcp")
    ]
    assert not found, broken("an algorithm sees the world through NodeRuntime", found)


@pytest.mark.parametrize("library", sorted(DOORS))
def test_a_library_comes_in_by_one_door(library: str) -> None:
    found = [
        at(path, line, name)
        for path in FILES
        for line, name, for_types in imports_of(parsed(path))
        if name.split(".")[0] == library and not for_types and not relative(path).startswith(DOORS[library])
    ]
    assert not found, broken(f"{library} only in {', '.join(DOORS[library])}", found)


def test_the_orchestrator_learns_nothing_itself() -> None:
    """Torch takes seconds to import: only the simulation, which is the nodes, and what forks nodes may have it.

    The templates of `edgebed new` are texts here; who imports torch is the plug-in that is made of them.
    """
    doors = ("orchestrator/simulation/", "orchestrator/substrates/", "orchestrator/templates/")
    found = [
        at(path, line, name)
        for path in FILES
        if relative(path).startswith("orchestrator/") and not relative(path).startswith(doors)
        for line, name, _ in imports_of(parsed(path))
        if name.split(".")[0] == "torch"
    ]
    assert not found, broken("torch only where nodes live", found)


def test_processes_are_started_in_few_places() -> None:
    found = [
        at(path, line, name)
        for path in FILES
        if not relative(path).startswith(PROCESS_DOORS)
        for line, name, _ in imports_of(parsed(path))
        if name.split(".")[0] == "subprocess"
    ]
    assert not found, broken(f"subprocess only in {', '.join(PROCESS_DOORS)}", found)


def calls_of(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def test_nothing_is_unpickled() -> None:
    found = [
        at(path, line, name)
        for path in FILES
        for line, name, _ in imports_of(parsed(path))
        if name.split(".")[0] in ("pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve")
    ]
    for path in FILES:
        for call in calls_of(parsed(path)):
            name = ast.unparse(call.func)
            arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if name == "torch.load" and arguments.get("weights_only") != "True":
                found.append(at(path, call.lineno, "torch.load without weights_only=True"))
            if arguments.get("allow_pickle") == "True":
                found.append(at(path, call.lineno, "allow_pickle=True"))
    assert not found, broken("bytes from elsewhere never become code", found)


def test_no_shell_and_no_unsafe_yaml() -> None:
    found = []
    for path in FILES:
        for call in calls_of(parsed(path)):
            name = ast.unparse(call.func)
            if any(keyword.arg == "shell" and ast.unparse(keyword.value) != "False" for keyword in call.keywords):
                found.append(at(path, call.lineno, "shell=True"))
            if name in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system", "os.popen", "eval", "exec"):
                found.append(at(path, call.lineno, name))
    assert not found, broken("arguments are tuples, YAML goes through the strict loader", found)


def test_only_the_terminal_prints() -> None:
    found = [
        at(path, call.lineno, "print(")
        for path in FILES
        if not relative(path).startswith(PRINT_DOORS)
        for call in calls_of(parsed(path))
        if ast.unparse(call.func) == "print"
    ]
    assert not found, broken("results go through terminal.py", found)


# Texts that no file of ours may hold, in whatever language; this file alone names them.
FORBIDDEN = {
    r"\b0\.0\.0\.0\b": "listens on every interface",
    r"\bkillall\b|\bpkill\b": "ends processes by name, which may be somebody else's",
    r"\bmn -c\b": "removes what other people's Mininet made",
}


@pytest.mark.parametrize("pattern", sorted(FORBIDDEN))
def test_texts_that_no_file_may_hold(pattern: str) -> None:
    files = [*FILES, *sorted((ROOT / "scripts").glob("*")), ROOT / "Makefile", *sorted((ROOT / ".ci").glob("*"))]
    found = [
        at(path, number, line.strip())
        for path in files
        if path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if re.search(pattern, line)
    ]
    assert not found, broken(FORBIDDEN[pattern], found)


def test_the_rules_notice_a_breach(tmp_path: Path) -> None:
    """The gate itself: a planted import inside a function is seen, and told from one for types."""
    planted = tmp_path / "planted.py"
    planted.write_text("if TYPE_CHECKING:\n    import rich\ndef f():\n    from paramiko import SSHClient\n")
    assert list(imports_of(parsed(planted))) == [(2, "rich", True), (4, "paramiko.SSHClient", False)]


def test_nothing_waits_with_wait_for() -> None:
    """Before Python 3.12 `asyncio.wait_for` can swallow a cancellation (cpython#86296): a run then never ends."""
    for path in sorted(ROOT.glob("[!.]*/**/*.py")):
        if path.parts[-2] != "unit":
            assert "asyncio.wait_for(" not in path.read_text(), f"{path}: use asyncio.timeout"
