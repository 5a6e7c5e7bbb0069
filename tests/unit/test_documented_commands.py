"""Every command that a page names is there, with the options and arguments that the page gives it; none is run here.

Pages whose commands are run, with their output held against what is shown, are in test_documentation.py.
"""

import re
import shlex
from pathlib import Path

import click
import pytest

from orchestrator.cli import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))])
FENCED = re.compile(r"^```(?:console|sh)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"^ {2,4}(edgebed .*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:edgebed|make|scripts/|python -m|pytest|\.venv/bin/)[^`]*)`")
PROMPT = re.compile(r"^(\$ |\.venv/bin/|sudo )")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
SET_UP = re.compile(r"^[A-Z_]+=")
OF_SCENARIOS = {"run", "plan", "sweep", "validate", "show", "calibrate"}
OUR_PACKAGES = {"analysis", "bench", "node_image", "orchestrator"}
NAME = re.compile(r"^[a-z][a-z0-9_/]*$")  # a scenario's; x.yaml, NAME and the like are the reader's


def commands_of(page: str) -> list[str]:
    """All commands of a page: in blocks (a line each, `&&` between two), and inside sentences."""
    lines = [line for block in FENCED.findall(page) for line in block.replace("\\\n", " ").splitlines()]
    lines += INDENTED.findall(page) + INLINE.findall(re.sub(r"\n(?=\S)", " ", page))
    return [PROMPT.sub("", part.strip()) for line in lines for part in line.split(" && ")]


def wrong_with(command: str) -> str:
    """Why there is no such command; empty where there is, and for what is none of ours."""
    words = shlex.split(command, comments=True)
    if words[:1] == ["edgebed"] and len(words) > 1:
        return "; ".join(filter(None, (_wrong_call(words[1:]), _wrong_scenario(words[1:]))))
    if words[:1] == ["make"]:
        targets = [word for word in words[1:] if not SET_UP.match(word)]
        unknown = [word for word in targets if word not in TARGETS]
        settings = [word.split("=")[0] for word in words[1:] if SET_UP.match(word)]
        unknown += [name for name in settings if not re.search(rf"\({name}\b", MAKEFILE)]
        return f"the Makefile has no {', '.join(unknown)}" if unknown else ""
    if words[:2] == ["python", "-m"] and len(words) > 2:
        path = ROOT / words[2].replace(".", "/")
        ours = words[2].split(".")[0] in OUR_PACKAGES
        return f"no module {words[2]}" if ours and not (path.is_dir() or path.with_suffix(".py").is_file()) else ""
    if words and (words[0] == "pytest" or words[0].startswith("scripts/")):
        paths = [word for word in words if re.match(r"^(tests|scripts)/", word)]
        return ", ".join(f"there is no {path}" for path in paths if not (ROOT / path.split("::")[0]).exists())
    return ""


def _wrong_call(arguments: list[str]) -> str:
    """What the command line itself would say; a word like `enroll|check` stands for each of them."""
    command: click.Command = cli
    for place, word in enumerate(arguments):
        if not isinstance(command, click.Group):
            return _wrong_options(command, arguments[place:])
        if word.startswith("-"):
            return _wrong_options(command, [word])
        missing = [each for each in word.split("|") if each not in command.commands]
        if missing:
            return f"no command {', '.join(missing)}"
        command = command.commands[word.split("|")[0]]
    return ""


def _wrong_options(command: click.Command, arguments: list[str]) -> str:
    given = [word for word in arguments if word not in ("...", "RUN...")]
    try:
        command.make_parser(click.Context(command)).parse_args(given)
    except click.UsageError as error:
        return "" if "requires an argument" in error.message else error.message  # named by itself: `sweep --on`
    return ""


def _wrong_scenario(arguments: list[str]) -> str:
    of, *rest = arguments
    named = of in OF_SCENARIOS and rest and NAME.match(rest[0])
    return f"no scenario {rest[0]}" if named and not (ROOT / "scenarios" / f"{rest[0]}.yaml").exists() else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one(page: Path) -> None:
    found = commands_of(page.read_text(encoding="utf-8"))
    assert [f"{command}: {wrong}" for command in found if (wrong := wrong_with(command))] == []


def test_pages_have_commands_to_look_at() -> None:
    found = [command for page in PAGES for command in commands_of(page.read_text(encoding="utf-8"))]
    assert sum(command.startswith("edgebed ") for command in found) > 80
    assert sum(command.startswith("make ") for command in found) > 20


@pytest.mark.parametrize(
    "command",
    [
        *("edgebed rum smoke", "edgebed run smoke --serv", "edgebed run smok --serve", "edgebed boards enrol|check"),
        *("make smok", "make scenario NAMED=smoke", "python -m bench.no", "scripts/no.sh", "pytest tests/unit/no.py"),
    ],
)
def test_a_command_that_is_not_there_is_found(command: str) -> None:
    assert wrong_with(command)


def test_a_command_is_found_wherever_a_page_has_it() -> None:
    page = "a `make\nsmoke` b\n\n    edgebed run x  # y\n\n```sh\n$ edgebed plan \\\n  z && make test\n```\n"
    found = [" ".join(shlex.split(each, comments=True)) for each in commands_of(page)]
    assert found == ["edgebed plan z", "make test", "edgebed run x", "make smoke"]
