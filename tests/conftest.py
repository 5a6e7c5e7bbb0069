"""Fixtures for all tests: skips with their reason, and the check that nothing is left behind."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.substrates import SUBSTRATES
from tests.host import host_state, mark_session

mark_session()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `root` are skipped, with the reason, where real nodes cannot run."""
    missing = SUBSTRATES["mininet"].missing()
    if missing:
        skip = pytest.mark.skip(reason=missing[0])
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test marked `root` the machine has no interface, namespace, control group or process more than before."""
    if request.node.get_closest_marker("root") is None:
        yield
        return
    runs: Path = request.getfixturevalue("tmp_path")
    before = host_state(runs)
    yield
    deadline = time.monotonic() + 10
    while (after := host_state(runs)) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert after == before
