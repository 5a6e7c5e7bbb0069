"""Runs MINE.yaml in simulation and holds it to what it expects: python -m pytest test_MINE.py"""

from pathlib import Path

from orchestrator.cli import main

HERE = Path(__file__).parent


def test_MINE_meets_its_expectations_in_simulation(tmp_path: Path) -> None:
    """Exit code 0: the run came to its end, and every expectation was met."""
    out = tmp_path / "run"
    assert main(["run", str(HERE / "MINE.yaml"), "--substrate", "simulation", "--quiet", "--out", str(out)]) == 0
