"""How smooth the live page is with 100 devices, and what it costs: `python -m bench.live`. Needs Debian's chromium.

A recorded star of 100 devices is played into a run directory faster than life while headless chromium shows it;
frames are counted by `requestAnimationFrame`. There is no graphics card here: all pixels are drawn by the processor,
which the page's server and the player share, so a desktop does better.
"""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.figures import Figure, show
from orchestrator.commands.serve import receipt_rows
from orchestrator.telemetry.live.beside import listen, page_beside, url_of
from orchestrator.telemetry.live.follower import Cursor, Follower
from tests.browser.live_run import write_live_run
from tests.replayed import Replay
from tests.unit.recorded_runs import STOP_AFTER_S

DEVICES = 100
WATCHED_S = 15.0
COUNT = """(seconds) => new Promise((done) => {
  const began = performance.now(); let frames = 0, longest = 0, last = began;
  const frame = (now) => {
    frames += 1; longest = Math.max(longest, now - last); last = now;
    if (now - began < 1000 * seconds) requestAnimationFrame(frame);
    else done([frames / ((now - began) / 1000), longest, Number(document.body.dataset.version)]);
  };
  requestAnimationFrame(frame);
})"""


async def watched(source: Path, folder: Path) -> tuple[float, float, float]:
    """Frames a second, longest frame (ms) and updates a second, while the whole run is played in `WATCHED_S`."""
    from playwright.async_api import async_playwright

    replay = Replay(source, folder)
    replay.until(1.0)
    sock = listen(0)
    url = url_of(sock)
    with page_beside(folder, sock):
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            await page.goto(url)
            await page.wait_for_selector("body[data-version]")
            before = int(await page.evaluate("document.body.dataset.version"))
            counting = asyncio.create_task(page.evaluate(COUNT, WATCHED_S))
            began = time.monotonic()
            while (passed := time.monotonic() - began) < WATCHED_S:
                replay.until(1.0 + passed / WATCHED_S * (STOP_AFTER_S - 1.0))
                await asyncio.sleep(0.1)
            frames, longest_ms, after = await counting
            await browser.close()
    return frames, longest_ms, (after - before) / WATCHED_S


def figures() -> Iterator[Figure]:
    """Frames of the page; the server's cost to read and tell; the size of what a page is told that opens."""
    with tempfile.TemporaryDirectory() as scratch:
        source = write_live_run(Path(scratch) / "source", devices=DEVICES)
        frames, longest_ms, updates = asyncio.run(watched(source, Path(scratch) / "run"))
        beside = f"software rendering; {updates:.1f} updates/s, longest frame {longest_ms:.0f} ms"
        yield Figure(f"live page, {DEVICES} devices", frames, "frames/s", 30.0, more_is_better=True, beside=beside)
        lines = sum(path.read_text().count("\n") for path in source.rglob("*.jsonl"))
        follower = Follower(source, receipt_rows)
        began = time.process_time()
        follower.read()
        seconds = time.process_time() - began
        yield Figure("live page, lines a server reads", lines / seconds, "lines/s", beside="of events and records")
        _, told = follower.since(Cursor("", 0))
        size = len(json.dumps(told, separators=(",", ":"))) / 1e3
        yield Figure(f"live page that opens on {lines} lines", size, "kB", beside="told once; then what is new")


if __name__ == "__main__":
    if Path("/usr/bin/chromium").exists():
        for each in figures():
            show(each)
    else:
        sys.stdout.write("not measured: the live page (needs /usr/bin/chromium: apt-get install chromium)\n")
