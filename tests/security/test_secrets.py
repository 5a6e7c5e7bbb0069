"""Secrets stay where they belong: canaries are put in their place, and searched for everywhere else after a run.

The canaries are a run's secret (with every key made of it) and a variable of whoever starts the run.
"""

import base64
import json
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.commands.plan import plan_all
from orchestrator.keys import RunKeys, without_secrets
from orchestrator.outcome import RunOptions
from orchestrator.plan import Plan
from orchestrator.run import execute
from orchestrator.terminal import display_for
from tests.host import VARIABLE
from tests.security.runs import write

SECRET = bytes(range(200, 232))
TOKEN = "canary-6d1f0c55-of-whoever-starts-the-run"


def needles(plan: Plan, run_id: str) -> set[bytes]:
    """The run's secret, each key that a node is given, and the token: raw, in hex, and in base64."""
    told = RunKeys(run_id, SECRET)
    raw = {SECRET, TOKEN.encode()}
    for node in plan.nodes:
        given = told.new_life(node.spec)
        raw |= {bytes.fromhex(key) for key in (given["listening"], *given["pairs"].values())}
    return raw | {each.hex().encode() for each in raw} | {base64.b64encode(each)[:-2] for each in raw}


class Lookout(threading.Thread):
    """Reads command lines and environments of all our processes, and the metrics, for as long as a run lasts."""

    def __init__(self, directory: Path) -> None:
        super().__init__(daemon=True)
        self.lines: set[bytes] = set()
        self.environments: set[bytes] = set()  # of the processes that nodes are, and of those that hold them
        self.metrics = b""
        self._events = directory / "events.jsonl"
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError):
                    self.lines.add((folder / "cmdline").read_bytes())
                    environment = (folder / "environ").read_bytes()
                    if f"{VARIABLE}={os.environ[VARIABLE]}".encode() in environment and self._is_a_node(folder):
                        self.environments.add(environment)
            with suppress(OSError, ValueError):
                self._read_metrics()
            time.sleep(0.2)

    def end(self) -> None:
        self._over.set()
        self.join()

    def _is_a_node(self, folder: Path) -> bool:
        return b"node_image" in (folder / "cmdline").read_bytes()

    def _read_metrics(self) -> None:
        for line in self._events.read_text().splitlines():
            event = json.loads(line)
            if event["event"] == "metrics_served":
                with urllib.request.urlopen(event["url"], timeout=2) as answer:
                    self.metrics = answer.read()


def hits(found: Iterator[tuple[str, bytes]], wanted: set[bytes]) -> list[str]:
    """Where a needle is."""
    return [where for where, content in found if any(needle in content for needle in wanted)]


def everything(directory: Path, seen: Lookout) -> Iterator[tuple[str, bytes]]:
    """All that a run has left and shown, each with its name."""
    for path in directory.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(directory)), path.read_bytes()
    yield from ((f"command line {line!r}", line) for line in seen.lines)
    yield from (("environment of a node", environment) for environment in seen.environments)
    yield "metrics", seen.metrics


@pytest.mark.timeout(120)
@pytest.mark.parametrize("substrate", ["simulation", pytest.param("mininet", marks=pytest.mark.root)])
def test_no_secret_is_found_in_anything_that_a_run_leaves_or_shows(
    substrate: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orchestrator.substrates.RunKeys", lambda run_id: RunKeys(run_id, SECRET))
    monkeypatch.setenv("CANARY_TOKEN", TOKEN)
    scenario, out = write(tmp_path), tmp_path / "run"
    plan = plan_all(scenario, ())[0].plan
    lookout = Lookout(out)
    lookout.start()
    try:
        options = RunOptions(out=out, substrate=substrate, keep="always")
        outcome = execute(plan, scenario.read_text(), options, display_for(plain=True))
    finally:
        lookout.end()
    assert outcome.status in ("complete", "degraded")
    said = "".join(capfd.readouterr()).encode()
    run_id = json.loads((out / "environment.json").read_text())["run_id"]
    wanted = needles(plan, run_id)
    assert hits(iter([*everything(out, lookout), ("what was said", said)]), wanted) == []
    if substrate == "mininet":
        assert len(lookout.environments) > 0
        assert b"edgebed_" in lookout.metrics


def test_the_search_finds_what_is_there(tmp_path: Path) -> None:
    for number, content in enumerate((SECRET, SECRET.hex().encode(), base64.b64encode(SECRET), b"nothing")):
        (tmp_path / str(number)).write_bytes(b"before " + content + b" after")
    wanted = {SECRET, SECRET.hex().encode(), base64.b64encode(SECRET)[:-2]}
    assert sorted(hits(everything(tmp_path, Lookout(tmp_path)), wanted)) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "name", ["GRAFANA_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "SSH_AUTH_SOCK", "my_api_key"]
)
def test_a_node_is_not_given_the_secrets_of_whoever_starts_the_run(name: str) -> None:
    assert without_secrets({name: "x", "PATH": "/bin", "OMP_NUM_THREADS": "1"}) == {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "1",
    }


def test_every_run_has_a_secret_of_its_own_that_is_not_shown() -> None:
    first, second = RunKeys("run"), RunKeys("run")
    assert first.secret != second.secret
    assert len(first.secret) == 32
    assert first.secret.hex() not in repr(first)
    assert repr(first.secret) not in repr(first)
