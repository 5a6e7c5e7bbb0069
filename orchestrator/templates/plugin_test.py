"""Holds MINE.py to what every plug-in of its kind must do: python -m pytest test_MINE.py"""

from pathlib import Path

from orchestrator.plugin_checks import check_plugin

HERE = Path(__file__).parent


def test_MINE_keeps_the_contract(tmp_path: Path) -> None:
    """The checks of `edgebed test-plugin MINE.py`; each that fails says what was found and what to do."""
    failed = [str(finding) for finding in check_plugin(HERE / "MINE.py", tmp_path) if finding.ok is False]
    assert failed == []
