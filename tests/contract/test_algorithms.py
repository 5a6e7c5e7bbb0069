"""Every algorithm, in every world: it learns, it says what it sent, its bytes add up, and it ends when told."""

from pathlib import Path

import pytest

from node_image import registry
from node_image.spec import Chosen
from tests.contract.worlds import WORLDS, run_in
from tests.plans import star

SHORT = {"fedavg": {"local_steps": 10}, "fedasync": {"local_steps": 10}}


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", registry.known("algorithm"))
def test_an_algorithm_learns_digits(name: str, world: str, tmp_path: Path) -> None:
    plan = star(3, algorithm=Chosen(name, SHORT.get(name, {})), stop_after_s=4.0)
    ran = run_in(world, plan, tmp_path / "run")
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes  # a busy machine degrades, no more
    accuracy = ran.outcome.summary["test_accuracy"]
    assert accuracy is not None
    assert accuracy > 0.3, "three times what guessing gives"


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("name", registry.known("algorithm"))
def test_what_is_received_was_sent_and_what_was_sent_crossed_a_link(name: str, world: str, tmp_path: Path) -> None:
    plan = star(3, algorithm=Chosen(name, SHORT.get(name, {})), stop_after_s=3.0)
    ran = run_in(world, plan, tmp_path / "run")
    sent = ran.outcome.summary.get("sent_payload_bytes") or 0.0
    received = ran.outcome.summary.get("received_payload_bytes") or 0.0
    wire = ran.outcome.summary.get("wire_bytes") or 0.0
    assert received <= sent
    assert wire >= received, "IP and TCP headers come on top"


@pytest.mark.parametrize("world", WORLDS)
def test_a_run_whose_coordinator_has_done_its_rounds_ends_before_its_time(world: str, tmp_path: Path) -> None:
    algorithm = Chosen("fedavg", {"local_steps": 5, "rounds": 3})
    ran = run_in(world, star(2, algorithm=algorithm, stop_after_s=60.0), tmp_path / "run")
    assert ran.outcome.summary["round"] == 3
    lasted_s = ran.outcome.summary["lasted_s"]
    assert lasted_s is not None
    assert lasted_s < 30
