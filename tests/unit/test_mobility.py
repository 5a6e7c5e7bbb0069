"""Movement of devices: where they go, and when links between them exist."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.mobility import STEP_S, away, spells, walk
from orchestrator.plan import Plan, make_plan
from orchestrator.scenario import load_scenario
from tests.contract.worlds import run_in

SCENARIO = """\
name: field
stop_after: {stop_after}
coordinator: none
devices: [{{group: pi, count: {count}, profile: raspberry_pi_4}}]
topology: {{kind: random_geometric, area: 100 m, radio_range: {radio_range}, speed: {speed}, link: wifi_2g4}}
learning: {{task: digits, model: linear, algorithm: {{name: local_only, local_steps: 5}}}}
"""


def planned(folder: Path, count: int = 6, radio_range: str = "40 m", speed: str = "5 m/s", stop: str = "60 s") -> Plan:
    path = folder / "field.yaml"
    path.write_text(SCENARIO.format(count=count, radio_range=radio_range, speed=speed, stop_after=stop))
    return make_plan(load_scenario(path))


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(0.1, 250.0), st.floats(0.0, 1.0))
def test_devices_stay_inside_and_keep_their_speed(seed: int, speed: float, turn: float) -> None:
    rng = np.random.default_rng(seed)
    places = walk(rng.uniform(0, 50, (5, 2)), (50.0, 80.0), speed, turn, 30.0, rng)
    assert places.shape == (31, 5, 2)
    assert (places >= 0).all()
    assert (places <= [50.0, 80.0]).all()
    moved = np.hypot(*np.moveaxis(np.diff(places, axis=0), 2, 0))
    assert (moved <= speed * STEP_S + 1e-9).all(), "less only where a border turned them round"
    inside = (places[1:] > speed * STEP_S).all(axis=2) & (places[1:] < np.array([50, 80]) - speed * STEP_S).all(axis=2)
    assert np.allclose(moved[inside], speed * STEP_S)


def test_without_turns_a_device_goes_straight_until_the_border_and_back() -> None:
    rng = np.random.default_rng(3)
    places = walk(np.array([[5.0, 5.0]]), (10.0, 10.0), 1.0, 0.0, 60.0, rng)[:, 0]
    steps = np.abs(np.diff(places, axis=0))
    assert len(np.unique(np.round(steps.max(axis=0), 9))) <= 2
    assert places.min() >= 0
    assert places.max() <= 10


def test_spells_are_the_times_at_which_it_is_so() -> None:
    assert spells([False, True, True, False, True]) == ((1.0, 3.0), (4.0, None))
    assert spells([False, False]) == ()
    assert spells([True, False]) == ((0.0, 1.0),)


def test_devices_that_never_meet_have_no_link() -> None:
    places = np.array([[[0.0, 0.0], [100.0, 0.0]], [[1.0, 0.0], [99.0, 0.0]]])
    assert away(places, 0, 1, 10.0) is None
    assert away(places, 0, 1, 98.5) == ((0.0, 1.0),)


def test_a_plan_says_where_devices_are_and_when_links_are_away(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    spec = plan.nodes[0].spec
    assert len(spec.track) == 61
    assert spec.position_m(0.5) == pytest.approx(np.mean([spec.track[0][1:], spec.track[1][1:]], axis=0))
    assert any(link.away for link in plan.links)
    ends = {node.name: node.spec for node in plan.nodes}
    for link in plan.links:
        for t in range(60):
            a, b = (ends[name].position_m(float(t)) for name in (link.source, link.target))
            assert a is not None
            assert b is not None
            down = any(start <= t and (end is None or t < end) for start, end in link.away)
            assert down == (np.hypot(a[0] - b[0], a[1] - b[1]) > 40.0)


def test_devices_that_stand_still_have_a_place_and_links_that_stay(tmp_path: Path) -> None:
    plan = planned(tmp_path, radio_range="90 m", speed="0 m/s")
    assert all(len(node.spec.track) == 1 for node in plan.nodes)
    assert plan.nodes[0].spec.position_m(1e6) == plan.nodes[0].spec.track[0][1:]
    assert not any(link.away for link in plan.links)


def test_in_a_run_links_go_down_and_come_up_as_planned(tmp_path: Path) -> None:
    plan = planned(tmp_path, count=4, stop="20 s", speed="10 m/s")
    assert any(end is not None for link in plan.links for _, end in link.away)
    ran = run_in("simulation", plan, tmp_path / "run")
    found: set[tuple[str, float, bool]] = set()
    for name, up in (("links_out_of_range", False), ("links_in_range", True)):
        for event in ran.events(name):
            found |= {(link, event["t"], up) for link in event["links"]}
    asked: set[tuple[str, float, bool]] = set()
    for link in plan.links:
        asked |= {(link.id, start, False) for start, _ in link.away if start < 20}
        asked |= {(link.id, end, True) for _, end in link.away if end is not None and end < 20}
    assert asked
    assert asked <= found
