"""The live page's web application: who is answered, with what headers, and how its events resume."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from orchestrator.commands.serve import receipt_rows
from orchestrator.telemetry.live.app import STATIC, Served, make_app
from orchestrator.telemetry.live.folder import Folder
from orchestrator.telemetry.live.follower import Cursor
from tests.replayed import Replay
from tests.unit.recorded_runs import write_comparison, write_run

Told = list[tuple[str, str, Any]]  # (event, id, data)


def client(directory: Path, host: str = "127.0.0.1:8420") -> TestClient:
    return TestClient(make_app(Served(Folder(directory, receipt_rows))), base_url=f"http://{host}")


def parsed(text: str) -> Told:
    found = []
    for block in text.split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines())
        if "data" in fields:
            found.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
    return found


def streamed(
    directory: Path, cursor: Cursor, enough: Callable[[Told], bool], between: Callable[[int], None] = lambda _: None
) -> Told:
    """What the stream of a single run tells until it is enough; `between(n)` is called after the n-th update."""

    async def read() -> Told:
        found: Told = []
        async with asyncio.timeout(10):
            served = Served(Folder(directory, receipt_rows), every_s=0.01)
            stream = served.stream("run", cursor)
            async for text in stream:
                news = parsed(text)
                found += news
                if any(event == "update" for event, _, _ in news):
                    between(sum(event == "update" for event, _, _ in found))
                if enough(found):
                    break
            await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        return found

    return asyncio.run(read())


def test_only_names_of_loopback_are_answered(tmp_path: Path) -> None:
    """A web page elsewhere, whose own name leads to 127.0.0.1, must not read runs through its reader's browser."""
    run = write_run(tmp_path / "run")
    for host in ("127.0.0.1:8420", "localhost:8420", "localhost"):
        assert client(run, host).get("/api/runs").status_code == 200
    for host in ("evil.example", "127.0.0.1.evil.example:8420"):
        assert client(run, host).get("/api/runs").status_code == 400


@pytest.mark.parametrize("path", ["/", "/api/runs", "/static/main.js", "/api/runs/run/state", "/nothing"])
def test_every_answer_forbids_the_browser_to_ask_anybody_else(tmp_path: Path, path: str) -> None:
    headers = client(write_run(tmp_path / "run")).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_the_page_names_no_address_elsewhere() -> None:
    """Names of XML's vocabularies and of licences are no addresses that a browser asks."""
    for path in [*STATIC.glob("*.*")]:
        for address in re.findall(r"https?://[^\s\"')]+", path.read_text(encoding="utf-8")):
            assert address == "http://www.w3.org/2000/svg", f"{path.name}: {address}"


def test_what_the_page_asks_for_is_there(tmp_path: Path) -> None:
    answers = client(write_run(tmp_path / "run"))
    page = answers.get("/").text
    found = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
    assert len(found) >= 5
    for script in STATIC.glob("*.js"):
        found += [f"static/{name}" for name in re.findall(r'from "\./([^"]+)"', script.read_text())]
    assert all(answers.get(f"/{path}").status_code == 200 for path in found)


def test_vendored_files_are_those_that_were_published() -> None:
    """The table of versions, licences and sums is true of every file beside it."""
    import hashlib

    vendor = STATIC / "vendor"
    rows = re.findall(r"\| `([^`]+)` \| `([0-9a-f]{64})` \|", (vendor / "README.md").read_text())
    assert {name for name, _ in rows} == {path.name for path in vendor.iterdir() if path.suffix in (".js", ".css")}
    for name, digest in rows:
        assert hashlib.sha256((vendor / name).read_bytes()).hexdigest() == digest


def test_files_outside_the_page_are_not_given_out(tmp_path: Path) -> None:
    answers = client(write_run(tmp_path / "run"))
    assert answers.get("/static/../app.py").status_code == 404
    assert answers.get("/static/%2e%2e/app.py").status_code == 404
    assert answers.get("/api/runs/..%2f..%2fetc/state").status_code == 404


def test_the_state_of_a_run_is_json(tmp_path: Path) -> None:
    state = client(write_run(tmp_path / "run")).get("/api/runs/run/state").json()
    assert state["facts"]["name"] == "dropout30"
    assert state["status"]["state"] == "ended"


def test_the_runs_of_a_comparison_have_their_accuracy(tmp_path: Path) -> None:
    answers = client(write_comparison(tmp_path / "both"))
    keys = [run["key"] for run in answers.get("/api/runs").json()]
    assert len(keys) == 2
    assert [value for value in answers.get(f"/api/runs/{keys[0]}/accuracy").json()["main"] if value is not None]
    assert answers.get("/api/runs/no-such-run/state").status_code == 404


def test_nothing_can_be_changed(tmp_path: Path) -> None:
    answers = client(write_run(tmp_path / "run"))
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert answers.request(method, "/api/runs").status_code == 405


def test_the_stream_of_a_finished_run_tells_all_and_ends(tmp_path: Path) -> None:
    with client(write_run(tmp_path / "run")).stream("GET", "/api/runs/run/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = parsed(answer.read().decode())
    assert [event for event, _, _ in told] == ["runs", "update", "end"]
    assert told[1][2]["status"]["result"] == "complete"


def test_a_stream_resumes_where_the_last_one_ended(tmp_path: Path) -> None:
    """A page reconnects with the id of the last event it has seen: no loss, and nothing told twice."""
    replay = Replay(write_run(tmp_path / "source"), tmp_path / "run")
    replay.until(30.0)

    async def read() -> tuple[Told, Told]:
        served = Served(Folder(tmp_path / "run", receipt_rows), every_s=0.01)
        parts: list[Told] = []
        seen = ""
        for _ in range(2):
            found: Told = []
            async with asyncio.timeout(10):
                stream = served.stream("run", Cursor.parse(seen))
                async for text in stream:
                    found += parsed(text)
                    if any(event == "update" for event, _, _ in found):
                        break
                await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
            seen = next(identity for event, identity, _ in found if event == "update")
            parts.append(found)
            replay.until(60.0)
        return parts[0], parts[1]

    first, second = asyncio.run(read())
    before, after = (next(data for event, _, data in part if event == "update") for part in (first, second))
    assert "facts" in before
    assert "facts" not in after
    own = [part["series"]["accuracy"]["coordinator"] for part in (before, after)]
    assert own[1][0] > own[0][0] + len(own[0][1:]) - 1  # the first bin told now is after the last one told before


def test_a_page_is_told_when_a_run_that_lives_goes_on_and_ends(tmp_path: Path) -> None:
    replay = Replay(write_run(tmp_path / "source"), tmp_path / "run")
    replay.until(30.0)

    def between(updates: int) -> None:
        if updates == 1:
            replay.until(90.0)
        elif updates == 2:
            replay.end()

    told = streamed(tmp_path / "run", Cursor("", 0), lambda found: bool(found) and found[-1][0] == "end", between)
    updates = [data for event, _, data in told if event == "update"]
    assert [round(data["now_s"], -1) for data in updates[:2]] == [30.0, 90.0]
    assert updates[-1]["status"]["state"] == "ended"
    assert told[-1] == ("end", "", {"served": True})


def test_a_page_of_a_run_that_has_no_directory_yet_waits_for_it(tmp_path: Path) -> None:
    source = write_run(tmp_path / "source")

    async def read() -> Told:
        found: Told = []
        async with asyncio.timeout(10):
            async for text in Served(Folder(tmp_path / "run", receipt_rows), every_s=0.01).stream("run", Cursor("", 0)):
                found += parsed(text)
                if found == [("runs", "", [])]:
                    Replay(source, tmp_path / "run").end()
        return found

    assert [event for event, _, _ in asyncio.run(read())][-1] == "end"


def test_before_the_server_ends_pages_are_told_the_last_news(tmp_path: Path) -> None:
    replay = Replay(write_run(tmp_path / "source"), tmp_path / "run")
    replay.until(30.0)

    async def read() -> Told:
        served = Served(Folder(tmp_path / "run", receipt_rows), every_s=60.0)
        found: Told = []
        async with asyncio.timeout(10):
            async for text in served.stream("run", Cursor("", 0)):
                found += parsed(text)
                if found[-1:] and found[-1][0] == "update" and not served.closing.is_set():
                    replay.end()
                    served.closing.set()
        return found

    told = asyncio.run(read())
    assert told[-1] == ("end", "", {"served": False})
    assert told[-2][2]["status"]["result"] == "complete"
