"""The documentation is true: its site builds without a warning and fetches nothing, its commands do what it says."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml

from node_image import registry
from orchestrator.faults import FAULTS
from orchestrator.reference import command_line, plugins, scenario_keys
from tests import console

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FETCHED = {"audio", "embed", "iframe", "img", "link", "object", "script", "source", "video"}


class Links(HTMLParser):
    """What a page links to and loads, and the anchors that it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {""}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.anchors |= {str(given[name]) for name in ("id", "name") if given.get(name)}
        target = given.get("href") or given.get("src")
        if target and tag in FETCHED and given.get("rel") != "canonical":
            self.loaded.append(target)
        if target:
            self.targets.append(target)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `make docs` builds it, elsewhere."""
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=250, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Links]:
    return {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("site")
def test_every_link_and_anchor_of_the_site_leads_somewhere(site: Path, pages: dict[Path, Links]) -> None:
    broken = [f"{path.relative_to(site)}: {target}" for path, target, found in _local(site, pages) if not found]
    assert not broken, "\n".join(broken)
    assert len(pages) > 30


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("site")
def test_the_site_loads_nothing_from_elsewhere(site: Path, pages: dict[Path, Links]) -> None:
    foreign = [f"{path}: {each}" for path, links in pages.items() for each in links.loaded if urlsplit(each).netloc]
    foreign += [str(path) for path in site.rglob("*.css") if re.search(r"url\(['\"]?(https?:)?//", path.read_text())]
    assert not foreign


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.xdist_group("site")
def test_formulas_and_tables_of_parameters_are_in_the_pages(site: Path) -> None:
    page = (site / "algorithms" / "fedasync.html").read_text(encoding="utf-8")
    assert page.count("<math") > 5
    assert "FORMULA-" not in page
    assert "polynomial_a" in page


def test_every_algorithm_has_a_page_with_its_parameters() -> None:
    for name in registry.ALGORITHMS:
        page = (DOCS / "algorithms" / f"{name}.md").read_text(encoding="utf-8")
        assert f"<!-- parameters algorithm {name} -->" in page


def test_the_reference_names_every_key_kind_and_command() -> None:
    keys, faults, named = scenario_keys.page(), scenario_keys.faults_page(), plugins.page()
    assert all(f"| `{key}` |" in keys for key in ("stop_after", "phase_every", "jitter", "radio_range", "at_least"))
    assert all(f"\n## {kind}\n" in faults for kind in FAULTS)
    for kind in plugins.TITLES:
        assert all(f"{{#{kind}-{name}}}" in named for name in registry.known(kind))
    assert "\n## edgebed run\n" in command_line.page()


def test_a_default_is_shown_as_it_would_be_written() -> None:
    table = plugins.parameters("algorithm", "fedavg")
    assert "| `rejoin_after` | a duration: `20 ms`, at least 1 ms | `20 s` |" in table
    assert "| `fraction` | a share: `30 %` or `0.3`, at least 0 %, at most 100 % | `100 %` |" in table


def test_the_templates_build_on_nothing_but_what_the_page_on_python_calls_stable() -> None:
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    listed: set[str] = {"node_image.algorithms.exchange.RefusedError", "node_image.algorithms.exchange.vector"}
    for name, members in re.findall(r"^::: (\S+)$(?:\n    options:\n      members: \[(.*)\]$)?", page, re.MULTILINE):
        listed |= {f"{name}.{member}" for member in members.split(", ")} if members else {name}
    used = [
        f"{node.module}.{alias.name}"
        for path in (ROOT / "orchestrator" / "templates").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("node_image")
        for alias in node.names
    ]
    assert len(used) > 10
    assert [name for name in used if name not in listed and name.rpartition(".")[0] not in listed] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", ["dataset.md", "topologies.md", "tutorial.md"])
def test_every_command_of_a_page_does_what_the_page_shows(page: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGEBED_")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    (tmp_path / "docs").symlink_to(DOCS)  # the examples, by the path that they have in the project's folder
    shown = console.commands_of((DOCS / page).read_text(encoding="utf-8"))
    assert shown
    for command in shown:
        assert not (wrong := console.run(command, tmp_path, environment)), f"docs/{page}, {wrong}"


def test_a_page_that_shows_other_words_than_came_is_found() -> None:
    assert console.matches(("a  1.5 s", "...", "end"), ["a 27 s", "b", "", "end"])
    assert console.matches(("...",), [])
    assert not console.matches(("a 1 s",), ["a 1 min"])
    assert not console.matches(("a", "..."), ["b", "a"])


def test_the_exit_code_that_a_page_shows_is_the_one_expected() -> None:
    first, second = console.commands_of("```console\n$ edgebed x\nno\n$ echo $?\n2\n$ edgebed y\n```\n")
    assert (first.line, first.output, first.exit_code) == (2, ("no",), 2)
    assert (second.command, second.exit_code) == ("edgebed y", 0)


def test_the_workflow_to_copy_lets_the_run_decide() -> None:
    workflow = yaml.safe_load((DOCS / "examples" / "edgebed.yml").read_text(encoding="utf-8"))
    steps = workflow["jobs"]["gate"]["steps"]
    (gate,) = [step for step in steps if "--substrate simulation" in step.get("run", "")]
    assert "continue-on-error" not in gate
    assert "|| " not in gate["run"]
    assert steps[-1]["uses"].startswith("actions/upload-artifact")
    assert steps[-1]["if"] == "${{ !cancelled() }}"


def _local(site: Path, pages: dict[Path, Links]) -> Iterator[tuple[Path, str, bool]]:
    """Every link inside the site: its page, the target, and whether it is there."""
    for path, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or path.name == "404.html":
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = file.exists() and (file not in pages or unquote(parts.fragment) in pages[file].anchors)
            yield path, target, there
