"""kill -9 of orchestrators at random moments, with nodes in containers: none of them stays, nobody else's goes.

Five in the gate, all at once; EDGEBED_SOAK=100 for more. Beside them is a container that is labelled much like ours.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.hosts.container import IMAGE, client_of, engine_address
from tests.host import host_state
from tests.killed import kill_at_random, until

AT_ONCE = 5
BATCHES = max(1, min(int(os.environ.get("EDGEBED_SOAK", "5")), 100) // AT_ONCE)
ON_DOCKER = ("--substrate", "docker")
LONGEST_S = 15.0  # set-up, run and teardown of five at once on two cores

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.timeout(240 + 120 * BATCHES)]


@pytest.fixture
def foreign() -> Iterator[str]:
    """A container of somebody else's, with a name and a label much like ours."""
    with client_of(engine_address()) as client:
        made = client.create_container(IMAGE, name="edgebed-not-ours-either", labels={"edgebed": "run"})
        yield made["Id"]
        client.remove_container(made["Id"])


def test_killed_with_containers_they_leave_none_and_touch_no_other(foreign: str, tmp_path: Path) -> None:
    drawn, killed = random.Random(3), 0
    before = host_state(tmp_path)
    for batch in range(BATCHES):
        killed += kill_at_random(drawn, tmp_path / str(batch), ON_DOCKER, AT_ONCE, LONGEST_S, last_has_nodes=True)
        until(lambda: host_state(tmp_path) == before, lambda: host_state(tmp_path))
        with client_of(engine_address()) as client:
            assert client.inspect_container(foreign)["State"]["Status"] == "created"
    assert killed > BATCHES * AT_ONCE / 2, "most were killed in the middle of their lives"
