"""What one sees of a run, and where it goes."""

import io
import json
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from orchestrator import quantities
from orchestrator.terminal import (
    Column,
    JsonDisplay,
    PlainDisplay,
    QuietDisplay,
    RunState,
    can_redraw,
    display_for,
    print_line,
    print_table,
)
from orchestrator.terminal.live import LiveDisplay

STATE = RunState(
    devices_up=7, devices=10, accuracy=0.713, payload_bytes=1_234_567, wire_bytes=None, joules=42.0, round=3
)


CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


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


def test_long_evidence_is_cut_on_paper_since_the_events_file_has_it_whole() -> None:
    stream = io.StringIO()
    PlainDisplay(stream).event(60.0, "dropout of pi-1 began: " + "pi-1: ended by signal 9; " * 50)
    assert len(stream.getvalue()) < 200
    assert stream.getvalue().endswith("…\n")


def test_the_next_run_of_a_comparison_is_a_phase_to_programs() -> None:
    stream = io.StringIO()
    JsonDisplay(stream).variant(2, 3, "algorithm=fedavg")
    assert json.loads(stream.getvalue()) == {"event": "phase", "name": "run 2 of 3", "detail": "algorithm=fedavg"}


def live(width: int) -> tuple[Terminal, LiveDisplay]:
    stream = Terminal()
    return stream, LiveDisplay(Console(file=stream, force_terminal=True, width=width, color_system=None))


def test_the_live_display_shows_state_and_keeps_events() -> None:
    stream, display = live(160)
    display.variant(1, 3, "algorithm=fedavg")
    display.phase("learn", "180 s")
    display.progress(90.0, 180.0, STATE)
    display.event(60.0, "dropout of [pi0] began")
    display.close()
    display.close()
    shown = stream.getvalue()
    assert "run 1 of 3" in shown
    assert "dropout of [pi0] began" in shown
    assert "7/10 devices up" in shown
    assert "90 of 180 s" in shown
    assert "for all runs" in shown


def test_a_finished_phase_stays_as_one_line_with_what_came_of_it() -> None:
    stream, display = live(160)
    display.phase("learn", "180 s")
    display.progress(180.0, 180.0, STATE)
    display.phase("stop", "each node evaluates its model a last time")
    display.close()
    assert "learn     round 3 · accuracy 71.3 % · payload 1.23 MB · energy 42.0 J" in stream.getvalue()


@pytest.mark.parametrize("width", [30, 60, 110])
def test_nothing_that_stays_is_wider_than_the_window(width: int) -> None:
    stream, display = live(width)
    display.phase("probe", "every link is measured before the run")
    display.phase("learn", "180 s")
    display.progress(90.0, 180.0, STATE)
    display.event(60.0, "dropout of pi-1 began: by crash: " + "pi-1: ended by signal 9; " * 9)
    display.close()
    plain = CONTROL.sub("\n", stream.getvalue())
    assert max(map(len, plain.splitlines())) <= width
    assert "…" in plain


def test_of_many_warnings_the_live_display_shows_a_few_and_counts_the_rest() -> None:
    stream, display = live(100)
    display.phase("probe")
    for number in range(40):
        display.warn(f"link {number} is slow")
    display.close()
    assert "link 4 is slow" in stream.getvalue()
    assert "link 5 is slow" not in stream.getvalue()
    assert "and 35 more warnings" in stream.getvalue()


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "CI": "false"}, True),
        ({"TERM": "xterm", "CI": "true"}, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_is_redrawn_unless_it_cannot_or_is_of_a_ci(environ: dict[str, str], wanted: bool) -> None:
    assert can_redraw(Terminal(), environ) is wanted
    assert not can_redraw(io.StringIO(), environ)


def test_the_display_fits_what_was_asked() -> None:
    assert isinstance(display_for(as_json=True, quiet=True), JsonDisplay)
    assert isinstance(display_for(quiet=True), QuietDisplay)
    assert isinstance(display_for(plain=True), PlainDisplay)


COLUMNS = (Column("run"), Column("accuracy", number=True), Column("where it was", soft=True))
ROWS = (("[red]fedavg", "71.3 %", "in a house"), ("fedasync", "5.0 %", "in a house"))


def test_tables_on_paper_have_no_control_characters_and_no_blanks_at_the_ends(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table("runs", COLUMNS, ROWS)
    print_line("a line that is longer than most windows " * 9, "red", indent=2)
    shown = capsys.readouterr().out
    assert "[red]fedavg" in shown
    assert "\x1b" not in shown
    assert shown.splitlines() == [line.rstrip() for line in shown.splitlines()[:-1]] + [shown.splitlines()[-1]]
    assert len(shown.splitlines()) == 6


@pytest.fixture
def window(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Terminal]:
    def open_window(width: int) -> Terminal:
        stream = Terminal()
        monkeypatch.setattr("sys.stdout", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", str(width))
        return stream

    return open_window


@pytest.mark.parametrize(("width", "has_soft", "is_grid"), [(80, True, True), (24, False, True), (16, True, False)])
def test_a_table_gives_up_its_soft_columns_then_its_rows_where_the_window_is_narrow(
    window: Callable[[int], Terminal], width: int, has_soft: bool, is_grid: bool
) -> None:
    stream = window(width)
    print_table("", COLUMNS, ROWS)
    shown = CONTROL.sub("", stream.getvalue())
    assert ("house" in shown) is has_soft
    assert any("fedasync" in line and "5.0 %" in line for line in shown.splitlines()) is is_grid


def test_a_wrapped_line_keeps_numbers_beside_their_units(window: Callable[[int], Terminal]) -> None:
    stream = window(20)
    print_line("fedasync found 99.3 % of it all", indent=2)
    assert stream.getvalue() == "fedasync found\n  99.3 % of it all\n"


def test_no_color_takes_the_colours_alone(window: Callable[[int], Terminal], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = window(80)
    print_line("all is well", "green")
    assert stream.getvalue() == "all is well\n"


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        ("test_accuracy", "accuracy"),
        ("test_accuracy_device_min", "accuracy, least of a device"),
        ("sent_payload_bytes.update", "payload sent: update"),
        ("round_s", "time of a round, median"),
        ("round_s_p95", "time of a round, 95th percentile"),
        ("time_to_accuracy_60_s", "time to 60 % accuracy"),
        ("energy_joules.radio_tx", "modelled energy: radio tx"),
        ("measured_energy_joules.host_rapl", "measured energy: host rapl"),
        ("something_new_s", "something new"),
    ],
)
def test_figures_are_named_in_words(metric: str, text: str) -> None:
    assert quantities.words(metric) == text


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
