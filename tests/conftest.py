"""Fixtures for all tests: skips with their reason, and the check that nothing is left behind."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.links import netem
from orchestrator.substrates import SUBSTRATES
from tests import engine as docker
from tests.host import host_state, mark_session

mark_session()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in the background of a script: what the tests start would ignore Ctrl-C too, and some are about that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked `root` or `netem` are skipped, with the reason, where real nodes cannot run or netem is missing."""
    missing = SUBSTRATES["mininet"].missing()
    if missing:
        skip = pytest.mark.skip(reason=missing[0])
        for item in items:
            if item.get_closest_marker("root"):
                item.add_marker(skip)
    _prepare_for_docker([item for item in items if item.get_closest_marker("docker")])
    needing = [item for item in items if item.get_closest_marker("netem")]
    if needing and not netem.available()[0]:
        skip = pytest.mark.skip(reason="no netem in this kernel; tests/root/test_vm.py runs it where there is")
        for item in needing:
            item.add_marker(skip)


def _prepare_for_docker(items: list[pytest.Item]) -> None:
    """Tests marked `docker` are skipped where there can be no engine; the first of them may have to make the image."""
    missing = docker.missing() if items else []
    for number, item in enumerate(items):
        if missing:
            item.add_marker(pytest.mark.skip(reason=missing[0]))
        elif number == 0:
            item.add_marker(pytest.mark.timeout(1500), append=False)  # before its own, which counts else


@pytest.fixture(scope="session")
def _engine() -> Iterator[None]:
    """A Docker engine that holds the image of a node, for as long as the tests run."""
    with docker.engine():
        yield


@pytest.fixture(autouse=True, scope="session")
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Runs of tests are no targets of the Prometheus that whoever runs the tests may have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEBED_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After a test marked `root` the machine has no interface, namespace, control group or process more than before."""
    if request.node.get_closest_marker("root") is None:
        yield
        return
    if request.node.get_closest_marker("docker") is not None:
        request.getfixturevalue("_engine")
    runs: Path = request.getfixturevalue("tmp_path")
    before = host_state(runs)
    yield
    deadline = time.monotonic() + 10
    while (after := host_state(runs)) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert after == before
