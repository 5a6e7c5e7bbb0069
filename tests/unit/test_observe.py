"""`edgebed observe` and `replay` where something is missing: one line that says what to do; and what is checked in."""

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from orchestrator.cli import main
from orchestrator.telemetry import compose
from orchestrator.telemetry.discovery import WATCHER, alive, watching_port
from orchestrator.telemetry.observe import CONFIGURATION, prepare


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEBED_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def taken() -> Iterator[int]:
    """A loopback port on which something listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def said(capsys: pytest.CaptureFixture[str]) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def executable(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def a_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    return folder


@pytest.mark.parametrize("words", [["observe", "--no-grafana"], ["replay", "{run}"]])
def test_without_prometheus_the_remedy_is_named(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run = a_run(tmp_path / "runs" / "a")
    assert main([word.format(run=run) for word in words]) == 3
    assert "is not installed. Debian: apt-get install prometheus" in said(capsys)


def test_a_port_in_use_is_named(
    taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    executable(tmp_path, "prometheus", "exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["observe", "--no-grafana", "--port", str(taken)]) == 2
    assert f"127.0.0.1:{taken} is in use" in said(capsys)


def test_a_prometheus_that_ends_at_once_shows_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    executable(tmp_path, "prometheus", "echo opening storage failed: lock DB directory >&2; exit 2")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert main(["observe", "--no-grafana", "--port", str(port)]) == 4
    assert "lock DB directory" in capsys.readouterr().err
    assert watching_port() is None


def test_without_docker_grafana_is_one_line_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    state.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    started, line = compose.up(state, 9090)
    assert not started
    assert line.startswith("not started (docker: No such file or directory); for a Grafana of your own:")


def test_a_docker_without_compose_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Path) -> None:
    state.mkdir()
    said = "unknown flag: --env-file\n\nRun 'docker --help' for more information"
    executable(tmp_path, "docker", f'echo "{said}"; exit 1')
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compose.up(state, 9123)[1].startswith("not started (this docker has no `compose`: install")


def test_a_docker_that_cannot_pull_shows_its_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: Path
) -> None:
    state.mkdir()
    executable(tmp_path, "docker", "echo pulling; echo 'Error: no route to registry'; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert compose.up(state, 9123)[1].startswith("not started (Error: no route to registry)")
    assert (state / "compose.env").read_text() == "EDGEBED_PROMETHEUS_URL=http://127.0.0.1:9123\n"


def test_a_watcher_that_is_gone_does_not_watch(state: Path) -> None:
    state.mkdir()
    for content, port in (("1\n9090\n", 9090), ("4194305\n9090\n", None), ("", None), ("x y z", None)):
        (state / WATCHER).write_text(content)
        assert watching_port() == port
    assert alive(os.getpid())


def test_the_state_folder_gets_the_configuration_that_is_checked_in(state: Path) -> None:
    prepare(state)
    for name in ("prometheus.yml", "rules.yml"):
        assert (state / name).read_bytes() == (CONFIGURATION / name).read_bytes()
    assert (state / "targets").stat().st_mode & 0o077 == 0


def test_grafana_in_a_container_listens_on_loopback_and_finds_what_is_mounted() -> None:
    made = yaml.safe_load((CONFIGURATION / "compose.yaml").read_text())
    grafana = made["services"]["grafana"]
    assert grafana["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert ":" in grafana["image"] and not grafana["image"].endswith(":latest")
    mounts = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert all((CONFIGURATION / source).is_dir() for source in mounts)
    provider = yaml.safe_load((CONFIGURATION / "grafana/provisioning/dashboards/edgebed.yaml").read_text())
    assert provider["providers"][0]["options"]["path"] in mounts.values()
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (CONFIGURATION / "grafana" / "dashboards" / home.name).is_file()


def test_the_provisioned_data_source_is_the_one_that_push_makes() -> None:
    from orchestrator.telemetry.grafana import DATASOURCE

    (source,) = yaml.safe_load((CONFIGURATION / "grafana/provisioning/datasources/edgebed.yaml").read_text())[
        "datasources"
    ]
    assert (source["name"], source["uid"], source["type"]) == (DATASOURCE, DATASOURCE, "prometheus")


def test_a_comparison_without_a_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "compare.json").write_text(json.dumps({"runs": []}))
    assert main(["replay", str(tmp_path)]) == 2
    assert "without a run that came far enough" in said(capsys)
