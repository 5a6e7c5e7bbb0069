"""The live display of a sweep, drawn as a terminal would."""

import io

from rich.console import Console

from orchestrator.terminal.live_sweep import LiveSweep

PROGRESS = {"event": "progress", "t_s": 36.0, "stop_after_s": 72.0, "devices_up": 7, "devices": 10, "accuracy": 0.71}


def drawn(display: LiveSweep, console: Console) -> list[str]:
    """What stands on the screen below everything that stays."""
    with console.capture() as capture:
        console.print(display.picture())
    return capture.get().splitlines()


def sweep(rows: int, height: int) -> tuple[LiveSweep, Console, io.StringIO]:
    file = io.StringIO()
    console = Console(file=file, width=90, height=height, force_terminal=False)
    display = LiveSweep(console)
    runs = [
        (f"rate={rate} seed={seed}", (("learning.rule.learning_rate", str(rate)), ("seed", str(seed))))
        for rate in range(rows)
        for seed in (1, 2, 3)
    ]
    display.begin(runs, {label for label, _ in runs[1:]})
    display.kept(runs[0][0], 0)
    return display, console, file


def test_it_draws_a_row_for_each_combination_and_a_line_for_each_run_that_runs() -> None:
    display, console, file = sweep(2, 20)
    display.started("rate=0 seed=2")
    display.ended("rate=0 seed=2", 4, "pi-1 died", 1.0)
    display.started("rate=0 seed=3")
    display.said("rate=0 seed=3", PROGRESS)
    lines = drawn(display, console)
    display.close()
    assert "6 runs: learning rate (2) × seed (3)" in file.getvalue()
    assert "learning rate 0 seed 2: pi-1 died" in file.getvalue()
    assert "2 of 6 runs · 1 met ✓ · 1 failed ✗" in lines[0]
    assert lines[1].split() == ["learning", "rate", "seeds"]
    assert lines[2].split() == ["0", "✓", "✗", "▸"]
    assert lines[3].split() == ["1", "·", "·", "·"]
    assert lines[4].split("   ")[1:] == ["36 of 72.0 s · 7/10 devices up · accuracy 71.0 %"]


def test_a_matrix_higher_than_the_window_shows_what_has_yet_to_end() -> None:
    display, console, _ = sweep(40, 12)
    for seed in (2, 3):
        display.ended(f"rate=0 seed={seed}", 0, None, 1.0)
    display.started("rate=30 seed=1")
    lines = drawn(display, console)
    display.close()
    assert len(lines) <= 12
    assert lines[2].split()[0] == "30"  # what runs comes first
    assert not any(line.split()[:1] == ["0"] for line in lines)
    assert "and 34 more combinations" in lines[-2]
