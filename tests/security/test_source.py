"""Things that no file of this repository may do, read off the source itself: G15, the static gate.

It goes through every Python file, tests and benches too, as a tree, and through all other files as text. What must be
there in spite of a rule stands in ALLOWED with its reason; an entry that nothing needs any more fails as well.
(Who may print, start processes and import what: tests/unit/test_import_rules.py.)
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("analysis", "bench", "node_image", "observability", "orchestrator", "scenarios", "scripts", "tests", ".ci")
TOP = ("Makefile", "Vagrantfile", "pyproject.toml", ".github")
SKIPPED = {"__pycache__", "vendor", "golden", "weights"}
TEXT = {".py", ".sh", ".yaml", ".yml", ".json", ".toml", ".rb", ".cfg", ".ini", ".service", ".html", ".js", ".css", ""}

# file -> rule -> why it must be so
_ADVICE = "words for a user whose container lacks the right: Edgebed itself starts no such container"
ALLOWED: dict[str, dict[str, str]] = {
    "orchestrator/boards/station.py": {"privileged": _ADVICE},
    "orchestrator/doctor.py": {"privileged": _ADVICE},
    "scenarios/flower.yaml": {"every interface": "another's program, in a node's network namespace, which is its own"},
    "orchestrator/substrates/control_groups.py": {"privileged": _ADVICE},
    "scripts/vm.sh": {"privileged": _ADVICE},
    "tests/unit/test_vm_script.py": {"privileged": _ADVICE},
    "tests/unit/test_availability.py": {"unpickles": "writes pickles for what must not unpickle them"},
    "tests/contract/test_plugins.py": {"runs text": "parses a test that `edgebed new` wrote, to see that it is Python"},
}


def files() -> list[Path]:
    """Every file of ours that is text."""
    roots = [ROOT / name for name in (*FOLDERS, *TOP)]
    found = [path for root in roots for path in (root.rglob("*") if root.is_dir() else [root])]
    return sorted(
        path
        for path in found
        if path.is_file() and path.suffix in TEXT and not SKIPPED & set(path.relative_to(ROOT).parts)
    )


def dotted(node: ast.expr) -> str:
    """`os.system` of a name or an attribute; what is computed has none."""
    return ast.unparse(node) if isinstance(node, ast.Name | ast.Attribute) else ""


def _arguments(call: ast.Call) -> dict[str, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords if keyword.arg is not None}


UNPICKLERS = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "jsonpickle"}
RUNS_TEXT = {
    "eval",
    "exec",
    "compile",
    "builtins.eval",
    "builtins.exec",
    "__import__",
    "code.interact",
    "runpy.run_path",
}
SHELLS = {
    "os.system",
    "os.popen",
    "subprocess.getoutput",
    "subprocess.getstatusoutput",
    "asyncio.create_subprocess_shell",
}
UNSAFE_YAML = {"yaml.load", "yaml.load_all", "yaml.full_load", "yaml.unsafe_load", "yaml.unsafe_load_all"}
BLIND_SSH = {"AutoAddPolicy", "WarningPolicy", "MissingHostKeyPolicy"}
UNCHECKED_TLS = {"ssl._create_unverified_context", "ssl.CERT_NONE", "urllib3.disable_warnings"}


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def broken_rules(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, rule) of each breach in a Python file."""
    for line, name in _imports(tree):
        if name.split(".")[0] in UNPICKLERS or name == "numpy.loads":
            yield line, "unpickles"
        if name in SHELLS | UNSAFE_YAML | UNCHECKED_TLS:
            yield line, {**dict.fromkeys(SHELLS, "shell"), **dict.fromkeys(UNSAFE_YAML, "yaml")}.get(name, "tls")
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name):
            name = dotted(node)
            if name.split(".")[-1] in BLIND_SSH:
                yield node.lineno, "ssh host key"
            if name in UNCHECKED_TLS:
                yield node.lineno, "tls"
        if isinstance(node, ast.Call):
            yield from ((node.lineno, rule) for rule in _of_call(dotted(node.func), _arguments(node), node))


def _of_call(name: str, arguments: dict[str, str], call: ast.Call) -> Iterator[str]:
    last = name.split(".")[-1]
    if name in RUNS_TEXT:
        yield "runs text"
    if name in SHELLS or arguments.get("shell", "False") != "False":
        yield "shell"
    if name in UNSAFE_YAML:
        yield "yaml"
    if name == "torch.load" and arguments.get("weights_only") != "True":
        yield "unpickles"
    if arguments.get("allow_pickle", "False") != "False":
        yield "unpickles"
    if arguments.get("verify") == "False" or arguments.get("check_hostname") == "False":
        yield "tls"
    if arguments.get("privileged", "False") != "False" or "cap_add" in arguments:
        yield "privileged"
    if name == "tempfile.mktemp" or (last == "mktemp" and name.startswith("tempfile")):
        yield "mktemp"
    if name.endswith(("extractall", "unpack_archive")) and "filter" not in arguments and "zip" not in name:
        yield "unpacks anywhere"
    if last in ("bind", "create_server", "start_server", "start_http_server") and _is_everywhere(call):
        yield "every interface"


def _is_everywhere(call: ast.Call) -> bool:
    """Whether an address among the arguments is the one that stands for all of them."""
    words = [each for argument in (*call.args, *(k.value for k in call.keywords)) for each in ast.walk(argument)]
    return any(isinstance(each, ast.Constant) and each.value in ("", "::", "0" + ".0.0.0") for each in words)


# What is looked for in every file, whatever its language; the patterns are built so as not to be found here.
TEXTS: dict[str, str] = {
    "every interface": r"\b0\.0\.0\.0\b",
    "docker socket mounted": r"docker\.sock\s*:",
    "privileged": r"--privileged\b|\bprivileged: true|--cap-add|seccomp=unconfined",
    "ends others' processes": r"\bkillall\b|\bpkill\b",
    "ssh host key": r"StrictHostKeyChecking[ =](no|off)|UserKnownHostsFile[ =]/dev/null",
    "tls": r"curl[^\n]* (-k|--insecure)\b|--no-check-certificate|GIT_SSL_NO_VERIFY",
    "runs what it fetched": r"(curl|wget)[^\n|]*\|\s*(sudo )?(ba)?sh\b",
    "open to all": r"chmod (-R )?0?777\b",
    "a key in the source": r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(glsa_|ghp_)[A-Za-z0-9]{20}|\bAKIA[A-Z0-9]{16}\b",
}
THIS = Path(__file__).relative_to(ROOT).as_posix()


@cache
def breaches() -> tuple[tuple[str, int, str, str], ...]:
    """(file, line, rule, text) of all that is found."""
    return tuple(_breaches())


def _breaches() -> Iterator[tuple[str, int, str, str]]:
    for path in files():
        name, text = path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8", errors="replace")
        lines = text.splitlines()
        if path.suffix == ".py":
            for line, rule in broken_rules(ast.parse(text, name)):
                yield name, line, rule, lines[line - 1].strip()
        if name == THIS:
            continue
        for rule, pattern in TEXTS.items():
            for number, each in enumerate(lines, start=1):
                if re.search(pattern, each):
                    yield name, number, rule, each.strip()


def test_no_file_does_what_none_may() -> None:
    found = [f"  {n}:{line}: {rule}: {text}" for n, line, rule, text in breaches() if rule not in ALLOWED.get(n, {})]
    assert not found, "\n".join(["against the rules of this file:", *found])


def test_every_exception_is_needed() -> None:
    needed = {(name, rule) for name, _, rule, _ in breaches()}
    stale = [(name, rule) for name, rules in ALLOWED.items() for rule in rules if (name, rule) not in needed]
    assert not stale


PLANTED = [
    ("import pickle", "unpickles"),
    ("def f():\n    from dill import loads", "unpickles"),
    ("import torch\ntorch.load(path)", "unpickles"),
    ("torch.load(path, weights_only=False)", "unpickles"),
    ("np.load(path, allow_pickle=True)", "unpickles"),
    ("eval(text)", "runs text"),
    ("exec(compile(text, '', 'exec'))", "runs text"),
    ("yaml.load(text)", "yaml"),
    ("from yaml import unsafe_load", "yaml"),
    ("subprocess.run(line, shell=True)", "shell"),
    ("subprocess.run(line, shell=is_shell)", "shell"),
    ("os.system(line)", "shell"),
    ("client.set_missing_host_key_policy(paramiko.AutoAddPolicy())", "ssh host key"),
    ("requests.get(url, verify=False)", "tls"),
    ("context.verify_mode = ssl.CERT_NONE", "tls"),
    ("containers.run(image, privileged=True)", "privileged"),
    ("create_host_config(cap_add=['NET_ADMIN'])", "privileged"),
    ("tempfile.mktemp()", "mktemp"),
    ("tar.extractall(folder)", "unpacks anywhere"),
    ("sock.bind(('', 80))", "every interface"),
    ("start_http_server(80, addr='::')", "every interface"),
]


@pytest.mark.parametrize(("source", "rule"), PLANTED)
def test_the_gate_notices(source: str, rule: str) -> None:
    assert rule in {found for _, found in broken_rules(ast.parse(source))}


def test_the_gate_lets_honest_code_through() -> None:
    honest = "torch.load(p, weights_only=True); np.load(p); re.compile('x'); run(argv); sock.bind(('127.0.0.1', 0))"
    assert list(broken_rules(ast.parse(honest))) == []


def test_it_looks_at_all_kinds_of_files() -> None:
    suffixes = {path.suffix for path in files()}
    assert len(files()) > 300
    assert {".py", ".yaml", ".sh", ""} <= suffixes
