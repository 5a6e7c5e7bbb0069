"""`compare: factors:`: every combination of any number of things, each a path or a name of one's own."""

from pathlib import Path

import pytest

from analysis.claims import judge
from orchestrator.cli import main
from orchestrator.errors import ScenarioError
from orchestrator.scenario import Scenario, dump_resolved, expand, load_scenario

BASE = """\
name: matrix
stop_after: 20 s
devices: [{group: pi, count: 4, profile: raspberry_pi_4, link: wifi_2g4}]
learning: {task: digits, model: linear, rule: {name: backprop}, algorithm: {name: fedavg, local_steps: 7}}
"""
FACTORS = """\
compare:
  factors:
    learning.algorithm.local_steps: [1, 2]
    learning.algorithm: [fedavg, fedasync]
    network:
      - {name: wifi, devices.0.link: wifi_2g4}
      - {name: lte, devices.0.link: lte}
    failures:
      - {name: calm}
      - {name: dropout, faults: [{kind: dropout, by: crash, at: 5 s, for: 5 s, share: 50 %}]}
  seeds: 2
"""


def load(folder: Path, more: str) -> Scenario:
    file = folder / "matrix.yaml"
    file.write_text(BASE + more)
    return load_scenario(file)


def test_every_value_of_each_factor_meets_every_value_of_the_others(tmp_path: Path) -> None:
    runs = expand(load(tmp_path, FACTORS))
    assert len(runs) == len({run.label for run in runs}) == 2 * 2 * 2 * 2 * 2
    last = runs[-1]
    assert last.label == (
        "learning.algorithm.local_steps=2 learning.algorithm=fedasync network=lte failures=dropout seed=2"
    )
    assert dict(last.factors)["network"] == "lte"
    assert last.factors[-1] == ("seed", "2")
    assert last.scenario.faults[0].kind == "dropout"
    assert not runs[0].scenario.faults
    assert runs[0].scenario.devices[0].link != last.scenario.devices[0].link


def test_a_parameter_of_the_algorithm_changes_the_one_compared_wherever_it_stands(tmp_path: Path) -> None:
    chosen = [run.scenario.learning.algorithm for run in expand(load(tmp_path, FACTORS)) if run.seed == 1][::4]
    assert [(each.name, each.parameters["local_steps"]) for each in chosen] == [
        ("fedavg", 1),
        ("fedasync", 1),
        ("fedavg", 2),
        ("fedasync", 2),
    ]


def test_factors_are_written_as_they_were_read(tmp_path: Path) -> None:
    scenario = load(tmp_path, FACTORS)
    (tmp_path / "again.yaml").write_text(dump_resolved(scenario))
    again = load_scenario(tmp_path / "again.yaml")
    assert [run.label for run in expand(again)] == [run.label for run in expand(scenario)]


@pytest.mark.parametrize(
    ("factors", "line", "wrong"),
    [
        ("[a]", 6, "compare.factors: must be a mapping: a path or a name of your own"),
        ("{learning.rule.learning_rat: [0.1]}", 6, "unknown key"),
        ("{netwrk: [wifi, lte]}", 6, "netwrk: unknown key"),
        ("{network: [{name: wifi, devices.0.lnk: lte}]}", 6, "with network=wifi: devices.0.lnk: unknown key"),
        ("{network: [{name: a b, stop_after: 1 s}]}", 6, "compare.factors.network.0.name: must be one word"),
        ("{network: [{name: a}, {name: a}]}", 6, "compare.factors.network.1.name: stands here twice"),
        ("{network: [{name: a}, 5]}", 6, "compare.factors.network.1: must be a mapping: name, and the values"),
        ("{arms: [{name: a}]}", 6, "arms has a meaning of its own in compare"),
        ("{seed: [1, 2]}", 6, "seed cannot be compared"),
        ("{stop_after: 5 s}", 6, "must be a list of the values to compare"),
        ("{algorithm: [fedavg], learning.algorithm: [fedasync]}", 6, "algorithm stands in compare already"),
        ("{stop_after: [1 s, 2]}", 6, "with stop_after=2: stop_after: a number without a unit"),
    ],
)
def test_a_wrong_factor_is_told_at_its_place(tmp_path: Path, factors: str, line: int, wrong: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        load(tmp_path, f"compare:\n  factors: {factors}\n")
    told = str(refused.value)
    assert wrong in told
    assert f"matrix.yaml:{line}:" in told


def test_a_claim_is_about_a_value_of_any_factor(tmp_path: Path) -> None:
    claim = "  claims: [{metric: test_accuracy, arm: wifi, against: lte, at_least: 5 %}]\n"
    compare = load(tmp_path, FACTORS + claim).compare
    assert compare is not None
    labels = [("network=wifi failures=calm seed=1", 0.9), ("network=lte failures=calm seed=1", 0.7)]
    (finding,) = judge(
        [dict(each) for each in compare.claims], [(label, {"test_accuracy": value}) for label, value in labels]
    )
    assert finding.verdict == "holds on average"


def test_the_plan_shows_the_matrix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(tmp_path, FACTORS)
    assert main(["plan", str(tmp_path / "matrix.yaml")]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "32 runs: local steps (2) × algorithm (2) × network (2) × failures (2) × seed (2)" in shown
    assert "failures calm, dropout" in shown
