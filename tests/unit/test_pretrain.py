"""`edgebed pretrain`: a file of weights that a scenario starts from, and what it says of wrong wishes."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from node_image.learner import build
from orchestrator.cli import main
from orchestrator.commands.plan import plan_all

WEIGHT = "0.1.weight"  # of the hidden layer
SCENARIO = """\
name: tune
seed: 1
stop_after: 10 s
devices:
  - {group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}
learning:
  task: {name: digits, classes: [8, 9, 5, 6, 7]}
  model: {name: mlp}
  algorithm: fedavg
  rule: {name: backprop, learning_rate: 0.3}
  initial: weights.safetensors
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with a scenario that names a file which is not there yet."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tune.yaml").write_text(SCENARIO)
    return tmp_path


def pretrained(*more: str) -> dict[str, np.ndarray]:
    assert main(["pretrain", "tune.yaml", "--out", "weights.safetensors", "--epochs", "2", *more]) == 0
    found: dict[str, np.ndarray] = load_file("weights.safetensors")
    return found


def test_it_learns_the_classes_that_the_scenario_leaves_out_and_says_how_well(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretrained("--epochs", "20", "--json")
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert result["classes"] == [0, 1, 2, 3, 4]
    assert result["test_accuracy"] > 0.9
    assert said.err.count("test accuracy") == 20
    assert "epoch 20 of 20: loss" in said.err


def test_the_scenario_starts_from_the_file_with_a_head_of_its_own(place: Path) -> None:
    stored = pretrained()
    assert sorted(stored) == ["0.1.bias", WEIGHT], "the head of other classes is of no use"
    spec = plan_all(place / "tune.yaml", ())[0].plan.nodes[1].spec
    learner = build(spec)
    for part in learner.parts[:2]:
        np.testing.assert_array_equal(learner.initial[part.start : part.end], stored[part.name].reshape(-1))
    assert learner.initial[learner.head_start :].any()


def test_the_head_is_kept_where_the_classes_are_the_scenarios_own(place: Path) -> None:
    assert len(pretrained("--classes", "8-9,5-7")) == 4
    assert len(pretrained("--classes", "5-9")) == 2, "another order gives the head's rows another meaning"


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(place: Path) -> None:
    first, again, other = pretrained(), pretrained(), pretrained("--seed", "2")
    np.testing.assert_array_equal(first[WEIGHT], again[WEIGHT])
    assert not np.array_equal(first[WEIGHT], other[WEIGHT])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--classes", "0-x"), "write class numbers and ranges"),
        (("--classes", "3"), "two or more different classes"),
        (("--classes", "0-4,2"), "two or more different classes"),
        (("--classes", "7-12"), "the task has classes 0 to 9"),
        (("--set", "learning.task.classes=[]"), "leaves out no two classes"),
        (("--out", "nowhere/weights.safetensors"), "there is no folder nowhere"),
        (("--set", "learning.task.name=nonsense"), "nonsense"),
    ],
)
def test_a_wrong_wish_is_told_before_anything_is_learned(
    place: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, ...], told: str
) -> None:
    assert main(["pretrain", "tune.yaml", "--out", "weights.safetensors", *given]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert "epoch" not in said
    assert not (place / "weights.safetensors").exists()


def test_learning_that_diverges_breaks_the_command_and_leaves_the_former_file(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    former = pretrained()
    changed = ["--set", "learning.rule.learning_rate=1e30"]
    assert main(["pretrain", "tune.yaml", "--out", "weights.safetensors", *changed]) == 4
    assert "try a smaller learning_rate" in capsys.readouterr().err
    np.testing.assert_array_equal(load_file("weights.safetensors")[WEIGHT], former[WEIGHT])
    assert [path.name for path in place.iterdir() if path.name.startswith(".")] == []
