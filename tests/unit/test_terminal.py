"""What one sees of a run, and where it goes."""

import io
import json

import pytest
from rich.console import Console

from orchestrator import quantities
from orchestrator.terminal import (
    JsonDisplay,
    LiveDisplay,
    PlainDisplay,
    QuietDisplay,
    RunState,
    can_redraw,
    display_for,
    print_table,
)

STATE = RunState(
    devices_up=7, devices=10, accuracy=0.713, payload_bytes=1_234_567, wire_bytes=None, joules=42.0, round=3
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_plain_lines_tell_phases_progress_and_events_without_control_characters() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream)
    display.phase("learn", "180 s")
    display.progress(61.0, 180.0, STATE)
    display.event(60.0, "dropout of pi0")
    display.warn("the link is slow")
    display.close()
    assert stream.getvalue().splitlines() == [
        "learn: 180 s",
        "  61.0 s of 180 s: 7/10 devices up, round 3, accuracy 71.3 %, payload 1.23 MB, energy 42.0 J",
        "  60.0 s: dropout of pi0",
        "warning: the link is slow",
    ]


def test_plain_progress_does_not_fill_a_log_file() -> None:
    stream = io.StringIO()
    display = PlainDisplay(stream, every_s=1000.0)
    for tick in range(100):
        display.progress(tick, 100.0, STATE)
    assert len(stream.getvalue().splitlines()) == 1


def test_quiet_shows_warnings_alone() -> None:
    stream = io.StringIO()
    display = QuietDisplay(stream)
    display.phase("learn")
    display.progress(1.0, 2.0, STATE)
    display.event(1.0, "something")
    display.warn("look here")
    assert stream.getvalue() == "warning: look here\n"


def test_json_lines_can_each_be_read_by_a_program() -> None:
    stream = io.StringIO()
    display = JsonDisplay(stream)
    display.phase("probe", "20 links")
    display.progress(1.0, 180.0, STATE)
    display.event(2.0, "gone")
    display.warn("slow")
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["phase", "progress", "event", "warning"]
    assert lines[1]["accuracy"] == 0.713
    assert lines[1]["wire_bytes"] is None


def test_the_live_display_shows_state_and_keeps_events() -> None:
    stream = Terminal()
    display = LiveDisplay(Console(file=stream, force_terminal=True, width=160))
    display.phase("learn", "180 s")
    display.progress(90.0, 180.0, STATE)
    display.event(60.0, "dropout of [pi0] began")
    display.close()
    display.close()
    shown = stream.getvalue()
    assert "dropout of [pi0] began" in shown
    assert "7/10 devices up" in shown
    assert "90/180 s" in shown


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "CI": "false"}, True),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_is_redrawn_unless_ci_or_the_user_says_no(environ: dict[str, str], wanted: bool) -> None:
    assert can_redraw(Terminal(), environ) is wanted
    assert not can_redraw(io.StringIO(), environ)


def test_the_display_fits_what_was_asked() -> None:
    assert isinstance(display_for(as_json=True, quiet=True), JsonDisplay)
    assert isinstance(display_for(quiet=True), QuietDisplay)
    assert isinstance(display_for(plain=True), PlainDisplay)


def test_tables_on_paper_have_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("runs", ["run", "accuracy"], [["[red]fedavg", "71.3 %"]])
    shown = capsys.readouterr().out
    assert "[red]fedavg" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        ("test_accuracy", 0.7131, "71.3 %"),
        ("test_accuracy_device_min", 0.5, "50.0 %"),
        ("sent_payload_bytes", 1_234_567.0, "1.23 MB"),
        ("sent_payload_bytes.update", 999.0, "999 B"),
        ("energy_joules", 0.0, "0 J"),
        ("round_s_p95", 0.0123, "12.3 ms"),
        ("time_to_accuracy_50_s", 75.0, "75.0 s"),
        ("round", 12.0, "12"),
        ("staleness_mean", 1.234, "1.23"),
        ("sent_wire_bytes", None, "-"),
    ],
)
def test_figures_are_shown_with_the_unit_of_their_metric(metric: str, value: float | None, text: str) -> None:
    assert quantities.of_metric(metric, value) == text


def test_a_figure_just_below_a_prefix_takes_the_prefix() -> None:
    assert quantities.with_unit(999_999.0, "B") == "1.00 MB"
