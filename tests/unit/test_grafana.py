"""Speaking to a Grafana: what is sent is what its API knows, the token stays where it is, refusals are one line."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli import main
from orchestrator.commands.grafana import grafana
from orchestrator.errors import EdgebedError, UsageError
from orchestrator.telemetry.dashboards import dashboards
from orchestrator.telemetry.grafana import Grafana, GrafanaError, Stretch, read_token
from orchestrator.telemetry.grafana_check import check
from tests.unit.grafana_server import FakeGrafana, serving_grafana


@pytest.fixture
def fake() -> Iterator[FakeGrafana]:
    with serving_grafana(FakeGrafana()) as found:
        yield found


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("glsa_right\n")
    path.chmod(0o600)
    return path


def command(fake: FakeGrafana, token_file: Path, *words: str) -> Result:
    return CliRunner().invoke(
        grafana, [*words, "--url", fake.url, "--token-file", str(token_file)], standalone_mode=False
    )


def test_push_puts_every_dashboard_its_folder_and_the_data_source_there(fake: FakeGrafana, token_file: Path) -> None:
    found = command(fake, token_file, "push", "--prometheus-url", "http://prom:9090")
    assert found.exception is None
    assert set(fake.dashboards) == set(dashboards())
    assert fake.dashboards["edgebed-overview"]["panels"] == dashboards()["edgebed-overview"]["panels"]
    assert (list(fake.folders), list(fake.datasources)) == (["edgebed"], ["edgebed-prom"])
    assert fake.datasources["edgebed-prom"]["url"] == "http://prom:9090"
    assert f"{fake.url}/d/edgebed-network" in found.output.splitlines()


def test_pushing_again_replaces_the_dashboards_and_leaves_the_data_source_alone(
    fake: FakeGrafana, token_file: Path
) -> None:
    for _ in range(2):
        assert command(fake, token_file, "push").exception is None
    assert {each["version"] for each in fake.dashboards.values()} == {2}
    assert len(fake.datasources) == 1


def a_run(folder: Path) -> Path:
    (folder / "nodes").mkdir(parents=True)
    (folder / "plan.json").write_text("{}")
    (folder / "environment.json").write_text('{"began_unix_s": 1000.0}')
    events = [
        {"t": 4.0, "event": "fault_injected", "fault": 0, "kind": "dropout", "nodes": ["pi-1"], "links": []},
        {"t": 6.0, "event": "fault_injected", "fault": 1, "kind": "flap", "nodes": [], "links": ["a>b", "b>a"]},
        {"t": 7.5, "event": "fault_healed", "fault": 0, "kind": "dropout", "nodes": ["pi-1"], "links": []},
        {"t": 20.0, "event": "run_ended"},
    ]
    (folder / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + '\n{"t": 2')
    return folder


def test_a_run_s_faults_are_annotated_once(fake: FakeGrafana, token_file: Path, tmp_path: Path) -> None:
    run = a_run(tmp_path / "runs" / "cell" / "algorithm=fedavg seed=1")
    for said in ("2 faults annotated, 0 were there already", "0 faults annotated, 2 were there already"):
        assert command(fake, token_file, "annotate", str(run)).output.strip() == said
    first, second = fake.annotations.values()
    assert (first["time"], first["timeEnd"], first["text"]) == (1004000, 1007500, "dropout of pi-1")
    assert (second["time"], second["timeEnd"], second["text"]) == (1006000, 1020000, "flap of a>b, b>a")
    assert first["tags"] == ["edgebed", "run:cell/algorithm=fedavg seed=1", "fault", "dropout"]


def test_check_passes_on_a_grafana_that_keeps_its_promises_and_leaves_nothing(
    fake: FakeGrafana, token_file: Path
) -> None:
    found = command(fake, token_file, "check")
    assert (found.exception, found.return_value) == (None, 0)
    assert all(line.startswith("ok ") for line in found.output.splitlines())
    assert not (fake.dashboards or fake.folders or fake.datasources or fake.annotations)


def test_check_names_the_promise_that_is_not_kept(fake: FakeGrafana, token_file: Path) -> None:
    fake.forgets = "dashboards"
    found = command(fake, token_file, "check")
    assert found.return_value == 4
    failed = [line for line in found.output.splitlines() if line.startswith("FAILED")]
    assert any("comes back as it went: " in line and "not found" in line for line in failed)
    assert not (fake.folders or fake.datasources)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_token_that_others_can_read_is_refused(token_file: Path, mode: int) -> None:
    token_file.chmod(mode)
    with pytest.raises(UsageError, match=r"can be read by others .*; try: chmod 600"):
        read_token(token_file)


@pytest.mark.parametrize("content", ["", "\n", "two words", "glsa_\xe9"])
def test_a_file_that_holds_no_token_is_refused_without_showing_it(token_file: Path, content: str) -> None:
    token_file.write_text(content)
    with pytest.raises(UsageError) as problem:
        read_token(token_file)
    assert "words" not in str(problem.value)


def test_a_missing_token_file_is_one_line(
    fake: FakeGrafana, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grafana", "push", "--url", fake.url, "--token-file", str(tmp_path / "none")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_wrong_token_is_said_and_never_shown_even_if_grafana_repeats_it(fake: FakeGrafana) -> None:
    server = Grafana(fake.url, "glsa_wrong")
    with pytest.raises(GrafanaError, match="is the token of this Grafana") as problem:
        server.ensure_folder()
    assert "glsa_wrong" not in str(problem.value)


def test_redirects_are_refused_and_the_token_does_not_go_along(fake: FakeGrafana) -> None:
    with serving_grafana(FakeGrafana()) as elsewhere:
        fake.redirect_to = f"{elsewhere.url}/api/health"
        with pytest.raises(GrafanaError, match=f"sends us on to {elsewhere.url}"):
            Grafana(fake.url, "glsa_right").version()
        assert elsewhere.asked == []


def test_an_older_grafana_is_named(fake: FakeGrafana, token_file: Path) -> None:
    fake.version = "9.5.2"
    found = command(fake, token_file, "push")
    assert isinstance(found.exception, EdgebedError)
    assert "is Grafana 9.5.2; the dashboards need 10 or newer" in str(found.exception)
    assert not fake.dashboards


def test_something_that_is_no_grafana_is_said(fake: FakeGrafana) -> None:
    fake.html = True
    with pytest.raises(GrafanaError, match="is this the URL of a Grafana"):
        Grafana(fake.url, "t").version()


def test_nobody_there_is_one_line() -> None:
    with pytest.raises(GrafanaError, match=r"http://127\.0\.0\.1:9 does not answer: ConnectionError"):
        Grafana("http://127.0.0.1:9", "t").version()


def test_check_of_nobody_is_one_line() -> None:
    tried = list(check(Grafana("http://127.0.0.1:1", "secret"), "http://127.0.0.1:9090"))
    assert len(tried) == 1
    assert "does not answer" in tried[0].problem


@pytest.mark.parametrize("url", ["127.0.0.1:3000", "ftp://x", "http://me:secret@host", "http://", "http://h?orgId=1"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="is expected, without a name or password"):
        Grafana(url, "t")


def test_proxies_and_netrc_of_the_environment_have_no_say(fake: FakeGrafana, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    Grafana(fake.url, "glsa_right").annotate(Stretch(1.0, 2.0, "x", ("edgebed",)))
    assert fake.headers == ["Bearer glsa_right"]


def test_a_grafana_below_a_path_is_found_there(fake: FakeGrafana) -> None:
    fake.broken.clear()
    with pytest.raises(GrafanaError):
        Grafana(f"{fake.url}/monitoring/", "glsa_right").ensure_folder()
    assert fake.asked[0] == "GET /monitoring/api/folders/edgebed"
    fake.broken.clear()
