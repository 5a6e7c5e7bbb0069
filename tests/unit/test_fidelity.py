"""The page of how true links are: errors against the closed form, judged by the goal."""

import json
from pathlib import Path
from typing import Any

import pytest

from analysis import fidelity
from analysis.fidelity import Cell, load, summary, tables
from bench.fidelity import LOSSES, _lost
from bench.pairs import expected_s
from orchestrator.links.shape import BurstLoss, LinkShape

CHANCE = {"link": "loss 5 %", "figure": "share lost", "unit": "%", "asked": 5.0, "found": 5.18, "half_width": 0.3}


def timed(found_s: list[float | None], **changes: Any) -> dict[str, Any]:
    cell = {"transport": "datagrams", "rate_bps": 1e6, "delay_s": 0.02, "size_bytes": 100_000, "expected_s": 1.0}
    return {**cell, "found_s": found_s, **changes}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    content = {
        "shaper": "netem",
        "where": "vm",
        "kernel": "user-mode Linux 6.1",
        "times": [
            timed([1.002, 1.001, 1.5]),
            timed([1.2], delay_s=0.1),
            timed([0.0104], size_bytes=100, expected_s=0.01),
            timed([0.011], size_bytes=100, expected_s=0.01, delay_s=0.1),
            timed([0.5, None], transport="tcp", size_bytes=10_000, expected_s=0.5),
        ],
        "chances": [CHANCE],
    }
    (tmp_path / "netem_vm.json").write_text(json.dumps(content))
    return tmp_path


def test_a_message_takes_its_bits_at_the_rate_with_headers_and_once_the_delay() -> None:
    shape = LinkShape(rate_bps=1e6, delay_s=0.02)
    assert expected_s(shape, 100) == pytest.approx(0.02 + 128 * 8e-6)
    assert expected_s(shape, 3000) == pytest.approx(0.02 + (3000 + 3 * 28) * 8e-6)
    assert expected_s(shape, 10_000, tcp=True) == pytest.approx(0.02 + (10_000 + 7 * 52) * 8e-6)
    assert expected_s(LinkShape(delay_s=0.02), 10_000) == 0.02


def test_the_median_is_judged_by_three_percent_or_half_a_millisecond() -> None:
    assert Cell("datagrams", 1e6, 0.0, 1, 1.0, 0.0299, 1).met
    assert not Cell("datagrams", 1e6, 0.0, 1, 1.0, -0.0301, 1).met
    assert Cell("datagrams", 1e6, 0.0, 1, 0.001, 0.0005, 1).met
    assert not Cell("datagrams", 1e6, 0.0, 1, 0.001, 0.0006, 1).met
    assert not Cell("datagrams", 1e6, 0.0, 1, 1.0, None, 1).met


def test_a_table_shows_every_error_and_marks_what_missed_the_goal(folder: Path) -> None:
    lines = tables(load(folder / "netem_vm.json")).splitlines()
    assert lines[0] == "| rate | delay | 100 kB | 100 B | 10 kB by TCP |"
    assert lines[2] == "| 1 Mbit/s | 20 ms | +0.20 % | +0.40 ms | **incomplete** |"
    assert lines[3] == "| 1 Mbit/s | 100 ms | **+20.00 %** | **+1.00 ms** |  |"
    assert lines[-1] == "| loss 5 % | share lost | 5 % | 5.18 % | ± 0.3 % |"


def test_the_summary_counts_and_shows_the_worst(folder: Path) -> None:
    line = summary([load(folder / "netem_vm.json")]).splitlines()[-1]
    assert line.startswith("| netem in user-mode Linux 6.1 | 2 of 5 | ")
    assert line.endswith("| 667 %: +200.00 ms, 100 kB in 1 s |")


def test_the_page_is_filled_in_between_its_marks_and_the_figure_drawn(folder: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "images").mkdir(parents=True)
    page = docs / "fidelity.md"
    page.write_text(
        "# Words\n<!-- fidelity: summary -->\nold\n<!-- end -->\nmore\n<!-- fidelity: netem_vm -->\n<!-- end -->\n"
        "<!-- fidelity: not_measured -->\nstays\n<!-- end -->\n"
    )
    assert fidelity.main([str(folder), str(docs)]) == 0
    text = page.read_text()
    assert text.startswith("# Words\n")
    assert "old" not in text
    assert "2 of 5" in text
    assert "**incomplete**" in text
    assert "stays" in text
    assert "<svg" in (docs / "images" / "fidelity.svg").read_text()
    assert fidelity.main([str(folder), str(docs)]) == 0
    assert page.read_text() == text


def test_losses_are_compared_with_what_was_asked_and_with_how_well_a_sample_can_tell() -> None:
    (share,) = _lost(LinkShape(loss=LOSSES[1]), [number % 20 == 0 for number in range(10_000)])
    assert (share.asked, share.found) == (5.0, 5.0)
    assert share.half_width == pytest.approx(0.427, abs=0.001)
    in_fives = [number % 100 < 5 for number in range(10_000)]
    share, length = _lost(LinkShape(burst_loss=BurstLoss(0.01, 0.25)), in_fives)
    assert share.asked == pytest.approx(100 / 26)
    assert share.half_width > 2 * 0.38  # packets that are alike tell less
    assert (length.asked, length.found) == (4.0, 5.0)
