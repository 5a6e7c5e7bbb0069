"""The report as its reader has it: one file, opened from a disk, in a browser without any network."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="needs the playwright package")

from playwright.sync_api import Browser, Page, sync_playwright

from analysis import report
from analysis.claims import judge
from analysis.load import load_comparisons
from tests.unit.recorded_runs import write_study

CHROMIUM = Path("/usr/bin/chromium")
PHONE, DESK = (390, 844), (1440, 900)
CONTRAST = 4.5  # WCAG 2.2, AA, for text of ordinary size
Open = Callable[..., Page]

pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of two arms in two settings over three seeds, one of which has a fault in every run."""
    folder = tmp_path_factory.mktemp("report")
    (study,) = load_comparisons([write_study(folder / "study", settings=("calm", "storm"))])
    findings = judge(study.claims, [(run.label, run.summary) for run in study.runs])
    path = folder / "report.html"
    path.write_text(report.render(study.runs, findings, study.missing), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_report(browser: Browser, file: Path) -> Iterator[Open]:
    """Opens the report and, at the end, holds each page to: nothing on the console, no request but for the file."""
    problems: list[str] = []
    contexts = []

    def open_one(size: tuple[int, int] = DESK, scheme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)  # type: ignore[arg-type]  # a Literal
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(f"error: {error}"))
        page.on("console", lambda said: problems.append(f"console: {said.text}"))
        page.on("request", lambda asked: problems.append(asked.url) if asked.url != file.as_uri() else None)
        page.goto(file.as_uri())
        return page

    yield open_one
    for context in contexts:
        context.close()
    assert not problems


def test_it_opens_from_a_disk_with_every_part_of_it(open_report: Open) -> None:
    page = open_report()
    headings = page.locator("h2").all_inner_texts()
    assert headings[0] == "Question"
    assert {"Statistics", "Time line of devices", "Who sent what to whom", "How to repeat"} <= set(headings)
    assert page.locator("figure svg").count() >= 6


def test_every_drawing_is_named_and_drawn(open_report: Open) -> None:
    page = open_report()
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    for drawing in page.locator("figure svg").all():
        box = drawing.bounding_box()
        assert box is not None
        assert box["width"] > 300
        assert box["height"] > 80
        assert drawing.get_attribute("aria-label")


def test_no_part_of_a_drawing_is_defined_twice(open_report: Open) -> None:
    twice = open_report().evaluate(
        "[...document.querySelectorAll('[id]')].map(each => each.id).filter((id, at, all) => all.indexOf(id) !== at)"
    )
    assert twice == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_ground(open_report: Open, scheme: str) -> None:
    page = open_report(scheme=scheme)
    found = page.evaluate(
        """() => {
            const light = colour => {
                const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(c => c / 255)
                    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const ground = light(getComputedStyle(document.body).backgroundColor);
            return [...document.querySelectorAll('h1, h2, p, td, th, dt, dd, li, figcaption, summary, b, svg text')]
                .filter(each => each.textContent.trim())
                .map(each => {
                    const style = getComputedStyle(each);
                    const ink = light(each.closest('svg') ? style.fill : style.color);
                    const [low, high] = [ink, ground].sort((a, b) => a - b);
                    return [each.tagName, each.textContent.slice(0, 30), (high + 0.05) / (low + 0.05)];
                });
        }"""
    )
    assert len(found) > 100
    assert [each for each in found if each[2] < CONTRAST] == []


def test_dark_and_light_are_not_the_same(open_report: Open) -> None:
    grounds = [
        open_report(scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor")
        for scheme in ("light", "dark")
    ]
    assert grounds[0] != grounds[1]


def test_on_a_phone_the_page_is_as_wide_as_the_screen(open_report: Open) -> None:
    page = open_report(PHONE)
    page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE[0]


def test_on_paper_it_is_black_on_white_and_nothing_is_cut_off(open_report: Open) -> None:
    page = open_report(scheme="dark")
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 718, "height": 1000})  # A4 less margins of 1 cm at 96 dots an inch
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    wide = page.evaluate(
        "[...document.querySelectorAll('table, pre, figure svg')].filter(e => e.getBoundingClientRect().width)"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 60))"
    )
    assert wide == []
    pages = page.pdf(format="A4").count(b"/Type /Page\n")
    assert 3 <= pages <= 40
