"""The live page as its reader has it: in a browser, while a run lasts and afterwards."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright", reason="needs the playwright package")

from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from node_image.records import Record
from tests.browser.live_run import write_live_run
from tests.browser.served import served
from tests.replayed import Replay
from tests.unit.recorded_runs import write_comparison

CHROMIUM = Path("/usr/bin/chromium")
WAIT_MS = 15_000
FOCUSED = "(({id, textContent, value}) => id || textContent.trim() || value)(document.activeElement)"
Open = Callable[..., Page]

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests here; it is closed before others run, as its event loop is that of the thread."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens pages and, at the end, holds each of them to: no error on the console, no request off loopback."""
    problems: list[str] = []
    contexts = []

    def watch(page: Page, allowed: str | None) -> None:
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on(
            "console",
            lambda said: problems.append(f"console: {said.text}") if _bad(said.type, said.text, allowed) else None,
        )
        page.on("request", lambda asked: problems.append(f"asked {asked.url}") if _off_loopback(asked.url) else None)

    def open_one(
        url: str, width: int = 1440, height: int = 900, scheme: str = "light", allowed: str | None = None
    ) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]  # a Literal
        contexts.append(context)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        watch(page, allowed)
        page.goto(url)
        page.wait_for_selector("body[data-version]")
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not problems


def _bad(kind: str, text: str, allowed: str | None) -> bool:
    return kind in ("error", "warning") and not (allowed and allowed in text)


def _off_loopback(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1"


def figure(page: Page, what: str) -> Locator:
    """A figure of the page's head by its name."""
    return page.locator("#figures div").filter(has_text=re.compile(f"^{what}")).locator("dd")


def marks(page: Page, node: str) -> set[str]:
    """How a node is drawn: the classes that the drawing gives it."""
    found: list[str] = page.evaluate(
        "(name) => document.getElementById('graph')._cyreg.cy.getElementById(name).classes()", node
    )
    return set(found) - {"upper"}  # where its name stands


def test_a_finished_run_is_shown_whole(tmp_path: Path, open_page: Open) -> None:
    with served(write_live_run(tmp_path / "run")) as site:
        page = open_page(site.url)
        expect(page.locator("h1")).to_have_text("dropout30")
        expect(page.locator("#badge")).to_have_text("complete")
        expect(figure(page, "devices up")).to_have_text("3 of 3")
        expect(figure(page, "payload sent")).to_have_text("3.24\u00a0MB")
        expect(figure(page, "energy")).to_have_text(re.compile("kJ$"))
        expect(page.locator("#receipt")).to_contain_text("1 of 2 kinds of checks are out of tolerance")
        expect(page.locator("#receipt")).to_contain_text("20.0 ± 1.00 Mbit/s")
        expect(page.locator("#command")).to_have_text(re.compile(r"^edgebed run .*scenario\.yaml$"))
        expect(page.locator("#energy-table")).to_contain_text("modelled")
        expect(page.locator("#faults")).to_contain_text("planned 60.0 s to 120.0 s; acted 60.0 s to 120.0 s")
        assert page.locator("canvas").count() >= 4


def test_the_page_follows_a_run_through_a_fault_and_its_end(tmp_path: Path, open_page: Open) -> None:
    replay = Replay(write_live_run(tmp_path / "source"), tmp_path / "run")
    with served(tmp_path / "run") as site:
        replay.until(50.0)
        page = open_page(site.url)
        expect(page.locator("#badge")).to_have_text("live")
        assert marks(page, "pi0") == {"device", "up"}
        expect(page.locator("#faults")).to_contain_text("not yet")
        expect(page.locator("#receipt .pending")).to_contain_text("Pending. This is what was set")
        expect(page.locator("#receipt table")).to_contain_text("20.0 Mbit/s")

        replay.until(70.0)
        expect(page.locator("#announce")).to_have_text("dropout of pi0 began")
        expect(page.locator("#graph-words")).to_contain_text("devices 1 dropout, stopped (pi0); 2 up")
        assert marks(page, "pi0") == {"device", "stopped", "faulty"}
        expect(figure(page, "devices up")).to_have_text("2 of 3")
        expect(page.locator("#log li").first).to_have_text(re.compile("dropout of pi0 began: ended by signal 9"))

        replay.until(130.0)
        expect(page.locator("#announce")).to_have_text("dropout of pi0 ended")
        expect(page.locator("#graph-words")).to_contain_text("devices 3 up")
        assert marks(page, "pi0") == {"device", "up"}

        replay.end()
        expect(page.locator("#badge")).to_have_text("complete")
        expect(page.locator("#announce")).to_contain_text("the run ended: complete")
        expect(page.locator("#receipt .pending")).to_have_count(0)
        expect(figure(page, "devices up")).to_have_text("3 of 3")


def test_a_page_that_lost_the_server_resumes_without_loss_or_doubles(tmp_path: Path, open_page: Open) -> None:
    replay = Replay(write_live_run(tmp_path / "source"), tmp_path / "run")
    with served(tmp_path / "run") as site:
        replay.until(50.0)
        page = open_page(site.url)
        expect(page.locator("#figures")).to_contain_text("48.6\u00a0s of")
        site.cut.set()
        replay.until(100.0)
        expect(page.locator("#badge")).to_have_text("connection lost")
        replay.until(130.0)
        site.cut.clear()
        expect(page.locator("#badge")).to_have_text("live")
        replay.end()
        expect(page.locator("#badge")).to_have_text("complete")
        assert site.resumed_at
        expect(figure(page, "payload sent")).to_have_text("3.24\u00a0MB")
        expect(page.locator("#log-count")).to_have_text("18 of 18 events shown")
        expect(page.locator("#bytes-table tbody tr").filter(has_text="update")).to_contain_text("1.62\u00a0MB")


def test_the_page_shows_an_earlier_instant_and_goes_back_to_the_latest(tmp_path: Path, open_page: Open) -> None:
    with served(write_live_run(tmp_path / "run")) as site:
        page = open_page(site.url)
        page.locator("#time").fill("90")
        expect(page.locator("#clock")).to_have_text("90.0\u00a0s of 180.0\u00a0s")
        assert marks(page, "pi0") == {"device", "stopped", "faulty"}
        expect(figure(page, "payload sent")).to_have_text("1.62\u00a0MB")
        expect(page.locator("#follow")).to_have_attribute("aria-pressed", "false")
        page.locator("#follow").click()
        expect(figure(page, "payload sent")).to_have_text("3.24\u00a0MB")


def test_it_can_be_used_with_the_keyboard_alone(tmp_path: Path, open_page: Open) -> None:
    with served(write_live_run(tmp_path / "run")) as site:
        page = open_page(site.url)
        seen = []
        for _ in range(16):
            page.keyboard.press("Tab")
            seen.append(page.evaluate(FOCUSED))
        assert seen[:4] == ["Skip to the run", "follow", "time", "devices-region"]
        assert seen[4:8] == ["coordinator", "pi0", "pi1", "pi2"]
        assert seen[8:14] == ["fault", "problem", "node", "link", "run", "words"]
        page.locator("#devices button", has_text="pi1").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#chosen")).to_contain_text("pi1 up · raspberry pi 4")
        expect(page.locator("#chosen")).to_contain_text("set: 20.0\u00a0Mbit/s, 2.00\u00a0ms one way")
        page.keyboard.press("Escape")
        expect(page.locator("#chosen")).to_be_hidden()
        page.locator("#time").focus()
        page.keyboard.press("Home")
        expect(page.locator("#clock")).to_have_text("0.0\u00a0s of 180.0\u00a0s")


def test_everything_that_can_be_used_or_seen_has_a_name(tmp_path: Path, open_page: Open) -> None:
    with served(write_live_run(tmp_path / "run")) as site:
        tree = open_page(site.url).locator("body").aria_snapshot()
        nameless = [
            line
            for line in tree.splitlines()
            if re.match(r"\s*- (button|slider|combobox|checkbox|searchbox|img|region|heading)\b(?! \")", line)
        ]
        assert nameless == []
        assert 'slider "Time that the page shows"' in tree
        assert 'img "4 nodes, 3 links. At' in tree


def test_a_narrow_page_has_no_horizontal_scroll_and_follows_light_and_dark(tmp_path: Path, open_page: Open) -> None:
    with served(write_live_run(tmp_path / "run", devices=12)) as site:
        page = open_page(site.url, width=390, height=800)
        for width, scheme, paper in ((360, "light", "rgb(255, 255, 255)"), (768, "dark", "rgb(20, 23, 28)")):
            page.set_viewport_size({"width": width, "height": 800})
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a Literal
            page.wait_for_function("(width) => document.documentElement.scrollWidth <= width", arg=width)
            assert page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor") == paper


def test_measured_joules_stand_beside_the_modelled_ones_and_are_added_to_nothing(
    tmp_path: Path, open_page: Open
) -> None:
    run = write_live_run(tmp_path / "run")
    labels = {"node": "pi0", "component": "board", "source": "measured:ina219"}
    with (run / "records.jsonl").open("a") as file:
        file.write(Record(10.0, "energy_joules", 700.0, labels).to_line() + "\n")
    modelled = json.loads((run / "result.json").read_text())["summary"]["energy_joules"]
    with served(run) as site:
        page = open_page(site.url)
        expect(figure(page, "energy, modelled")).to_have_text(f"{modelled / 1000:.2f}\u00a0kJ")
        expect(figure(page, "energy of board, measured")).to_have_text("700\u00a0J")
        rows = page.locator("#energy-table tbody tr")
        expect(rows.last).to_have_text(re.compile("board.*measured, ina219.*700"))
        expect(rows.filter(has_text="modelled in all")).to_contain_text(f"{modelled / 1000:.2f}\u00a0kJ")
        expect(page.locator("#energy-words")).to_contain_text("never added")


def test_events_can_be_filtered_by_kind_and_by_words(tmp_path: Path, open_page: Open) -> None:
    with served(write_live_run(tmp_path / "run")) as site:
        page = open_page(site.url)
        page.locator("#kinds input[value=node]").uncheck()
        expect(page.locator("#log-count")).to_have_text("4 of 18 events shown")
        page.locator("#words").fill("dropout began")
        expect(page.locator("#log li")).to_have_count(1)


def test_of_a_comparison_one_picks_the_run_and_sees_all_their_curves(tmp_path: Path, open_page: Open) -> None:
    with served(write_comparison(tmp_path / "both")) as site:
        page = open_page(site.url)
        expect(page.locator("#others-words")).to_have_text(
            re.compile(r"fedavg 9\d\.\d\u00a0% · fedasync 9\d\.\d\u00a0%")
        )
        page.locator("#runs").select_option(label="algorithm=fedasync seed=1")
        expect(page.locator("#accuracy-words")).to_contain_text("at 180.0\u00a0s: the coordinator's model")
        assert page.url.endswith("#algorithm%3Dfedasync-seed%3D1")


def test_what_is_broken_is_named_and_the_rest_is_shown(tmp_path: Path, open_page: Open) -> None:
    run = write_live_run(tmp_path / "run")
    (run / "plan.json").write_text("{")
    (run / "receipt.json").unlink()
    with served(run) as site:
        page = open_page(site.url)
        expect(page.locator("#notices")).to_contain_text("plan.json is broken")
        expect(page.locator("#receipt")).to_contain_text("There is no receipt")
        expect(page.locator("#log-count")).to_have_text("18 of 18 events shown")
        expect(figure(page, "payload sent")).to_have_text("3.24\u00a0MB")


def test_texts_of_a_run_are_never_taken_for_html(tmp_path: Path, open_page: Open) -> None:
    """What a node writes to its stderr ends up in the log: it must stay text."""
    run = write_live_run(tmp_path / "run")
    evil = "<img src=x onerror=document.title=1>"
    with (run / "events.jsonl").open("a") as file:
        event = {"t": 1.0, "event": "node_exited", "node": "pi1", "asked": False, "last_words": evil}
        file.write(json.dumps(event) + "\n")
    with served(run) as site:
        page = open_page(site.url)
        expect(page.locator("#log")).to_contain_text(evil)
        assert page.locator("#log img").count() == 0


def test_when_the_server_ends_the_page_says_so_and_stays(tmp_path: Path, open_page: Open) -> None:
    replay = Replay(write_live_run(tmp_path / "source"), tmp_path / "run")
    replay.until(100.0)
    with served(tmp_path / "run") as site:
        page = open_page(site.url)
        expect(page.locator("#badge")).to_have_text("live")
        replay.until(120.0)  # the last news, which the page is told as the server ends
    expect(page.locator("#notices")).to_contain_text("This page is no longer served")
    expect(page.locator("#clock")).to_have_text("120.0\u00a0s of 180.0\u00a0s")
    page.locator("#time").fill("90")
    expect(page.locator("#clock")).to_have_text("90.0\u00a0s of 180.0\u00a0s")
    assert marks(page, "pi0") == {"device", "stopped", "faulty"}
