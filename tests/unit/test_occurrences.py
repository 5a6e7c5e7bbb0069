"""When faults act: again and again, by chance and by trace; the same seed gives the same, and means are right."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ScenarioError
from orchestrator.forms.when import Bernoulli, Diurnal, OnOff, Outage, Repeat
from orchestrator.occurrences import Occurrence, TooManyError, again, by_chance, by_trace
from orchestrator.plan import Plan, make_plan
from orchestrator.scenario import load_scenario
from orchestrator.spells import read_spells

NAMES = tuple(f"d-{number}" for number in range(1, 9))
GROUPS = {name: "odd" if int(name[2:]) % 2 else "even" for name in NAMES}
SCENARIO = """name: chance
stop_after: 100 s
devices:
  - {group: pi, count: 4, profile: raspberry_pi_4, link: wifi_2g4}
learning: {task: digits, model: mlp, algorithm: fedavg}
faults:
"""


def drawn(process: object, for_s: float | None = None, end_s: float = 1000.0, seed: int = 1) -> list[Occurrence]:
    return by_chance(process, 0.0, for_s, NAMES, GROUPS, end_s, seed)  # type: ignore[arg-type]  # one of the four


def planned(folder: Path, *faults: str) -> Plan:
    file = folder / "it.yaml"
    file.write_text(SCENARIO + "".join(f"  - {fault}\n" for fault in faults))
    return make_plan(load_scenario(file))


def test_repeating_ends_with_the_run_or_after_so_many_times() -> None:
    forever = again(10.0, 2.0, Repeat.model_construct(every_s=30.0, times=None), ("a",), 100.0)
    assert [(each.at_s, each.heal_s) for each in forever] == [(10.0, 12.0), (40.0, 42.0), (70.0, 72.0)]
    assert len(again(10.0, 2.0, Repeat.model_construct(every_s=30.0, times=2), ("a",), 100.0)) == 2


@pytest.mark.parametrize("shape", [0.7, 1.0, 3.0])
def test_on_off_spells_have_the_means_that_were_asked(shape: float) -> None:
    process = OnOff.model_construct(process="on_off", up_s=3.0, down_s=1.0, shape=shape)
    found = drawn(process, end_s=5000.0)
    down = [(each.heal_s or 0.0) - each.at_s for each in found]
    assert np.mean(down) == pytest.approx(1.0, rel=0.08)
    assert len(found) / (len(NAMES) * 5000.0) == pytest.approx(1 / 4.0, rel=0.08)  # one cycle takes 4 s


def test_bernoulli_hits_the_share_that_was_asked_and_nobody_twice_at_once() -> None:
    found = drawn(Bernoulli.model_construct(process="bernoulli", every_s=1.0, probability=0.1), for_s=0.5)
    assert len(found) / (1000 * len(NAMES)) == pytest.approx(0.1, rel=0.15)
    long = drawn(Bernoulli.model_construct(process="bernoulli", every_s=1.0, probability=0.9), for_s=10.0, end_s=50.0)
    for name in NAMES:
        own = [each for each in long if each.victims == (name,)]
        assert all((a.heal_s or 0.0) <= b.at_s for a, b in pairwise(own))


def test_an_outage_of_a_region_hits_one_group_whole() -> None:
    found = drawn(Outage.model_construct(process="outage", every_s=50.0, share=1.0, region="group"), for_s=5.0)
    assert {frozenset(GROUPS[name] for name in each.victims) for each in found} == {
        frozenset({"odd"}),
        frozenset({"even"}),
    }
    assert all(len(each.victims) == 4 for each in found)


def test_diurnal_swings_between_least_and_most() -> None:
    process = Diurnal.model_construct(process="diurnal", period_s=100.0, every_s=1.0, least=0.2, most=1.0)
    found = drawn(process, end_s=1000.0)

    def down(t: float) -> int:
        return sum(each.at_s <= t < (each.heal_s or 1000.0) for each in found)

    noon = np.mean([down(100.0 * day) for day in range(10)])
    midnight = np.mean([down(100.0 * day + 50.0) for day in range(10)])
    assert noon == 0
    assert midnight / len(NAMES) == pytest.approx(0.8, abs=0.12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["on_off", "bernoulli", "outage", "diurnal"]))
def test_the_same_seed_gives_the_same_and_all_is_within_the_run(seed: int, kind: str) -> None:
    process = {
        "on_off": OnOff.model_construct(process="on_off", up_s=20.0, down_s=5.0, shape=1.0),
        "bernoulli": Bernoulli.model_construct(process="bernoulli", every_s=10.0, probability=0.2),
        "outage": Outage.model_construct(process="outage", every_s=20.0, share=0.5, region="any"),
        "diurnal": Diurnal.model_construct(process="diurnal", period_s=50.0, every_s=5.0, least=0.3, most=0.9),
    }[kind]
    first, second = (drawn(process, 4.0, 100.0, seed) for _ in range(2))
    assert first == second
    assert all(0 <= each.at_s < 100.0 and (each.heal_s is None or each.heal_s > each.at_s) for each in first)


def test_too_many_faults_are_refused_before_a_run() -> None:
    with pytest.raises(TooManyError, match="more than 20000"):
        drawn(Bernoulli.model_construct(process="bernoulli", every_s=0.001, probability=1.0), for_s=0.001)


def test_a_trace_names_devices_or_is_given_to_them_in_turn() -> None:
    spells = read_spells("device,from_s,to_s\n# two\nd-2,5,9\nphone-a,1,2\nphone-a,3,\n")
    assert spells == {"d-2": ((5.0, 9.0),), "phone-a": ((1.0, 2.0), (3.0, None))}
    found = by_trace({"d-1": spells["phone-a"], "d-2": spells["d-2"]}, 10.0, 100.0)
    assert {(each.victims[0], each.at_s, each.heal_s) for each in found} == {
        ("d-1", 11.0, 12.0),
        ("d-1", 13.0, None),
        ("d-2", 15.0, 19.0),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line"),
        ("a,1\n", "line 1: must be device"),
        ("a,x,2\n", "line 1: times must be seconds"),
        ("a,5,9\na,7,12\n", "line 2: the spells of a must follow one another"),
        ("a,5,4\n", "line 1: the spells"),
        ("a,nan,4\n", "line 1: the spells"),
    ],
)
def test_a_broken_trace_is_told_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_spells(text)


def test_a_plan_lists_every_occurrence_with_an_index_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "away.csv").write_text("pi-2,20,30\nother,40,\n")
    plan = planned(
        tmp_path,
        "{kind: pause, at: 10 s, for: 2 s, nodes: [pi-1], repeat: {every: 30 s, times: 3}}",
        "{kind: dropout, all: true, trace: away.csv}",
        "{kind: crash, nodes: [pi-4], for: 5 s, when: {after: 0, plus: 1 s}}",
        "{kind: straggler, speed: 50 %, nodes: [pi-3], when: {metric: test_accuracy, at_least: 0.5}}",
    )
    told = [(fault.index, fault.kind, fault.at_s, fault.nodes) for fault in plan.faults]
    assert told == [
        (0, "pause", 10.0, ("pi-1",)),
        (3, "dropout", 20.0, ("pi-2",)),
        (1, "pause", 40.0, ("pi-1",)),
        (4, "dropout", 40.0, ("pi-1",)),
        (2, "pause", 70.0, ("pi-1",)),
        (5, "crash", None, ("pi-4",)),
        (6, "straggler", None, ("pi-3",)),
    ]
    assert plan.faults[5].when is not None and plan.faults[5].when.after == 0
    assert plan.faults[5].lasts_s == 5.0


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("{kind: pause, all: true}", "is required (or when, random or trace)"),
        ("{kind: pause, at: 1 s, all: true, when: {round: 2}}", "at and when exclude each other"),
        ("{kind: pause, at: 1 s, all: true, repeat: {every: 5 s}}", "how long does it act each time"),
        ("{kind: pause, at: 1 s, for: 6 s, all: true, repeat: {every: 5 s}}", "not shorter than repeat"),
        ("{kind: pause, for: 1 s, all: true, random: {process: on_off, up: 9 s, down: 1 s}}", "for is left out"),
        ("{kind: pause, all: true, random: {process: tidal}}", "unknown process"),
        ("{kind: pause, all: true, when: {round: 2, updates: 3}}", "say one of round"),
        ("{kind: pause, all: true, when: {metric: acuracy, at_least: 1}}", "did you mean"),
        ("{kind: pause, all: true, when: {after: 0}}", "a fault above this one"),
        ("{kind: pause, all: true, random: {process: on_off, up: 1 ms, down: 1 ms}}", "20000"),
    ],
)
def test_what_is_wrong_with_when_is_told_at_its_place(tmp_path: Path, fault: str, said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        planned(tmp_path, fault)
    assert said in str(caught.value)
    assert "it.yaml:7:" in str(caught.value)
