"""A scenario whose task, model, rule, selection and algorithm do not fit together is refused before anything runs."""

from pathlib import Path

import pytest

from orchestrator.cli import main

SCENARIO = """
name: misfit
about: It cannot run.
seed: 1
stop_after: 5 s
devices:
  - {group: board, count: 2, profile: raspberry_pi_4, link: wifi_2g4}
topology: {kind: star}
learning:
  task: {name: TASK}
  model: {name: MODEL}
  algorithm: {name: ALGORITHM}
  rule: {name: RULE}
  selection: {name: SELECTION}
"""
FITTING = {"TASK": "digits", "MODEL": "mlp", "ALGORITHM": "fedavg", "RULE": "backprop", "SELECTION": "everything"}
MISFITS: dict[str, tuple[dict[str, str], str]] = {
    "eclm with a model of one piece": ({"ALGORITHM": "eclm"}, "choose the model `modular`"),
    "eclm without public samples": ({"ALGORITHM": "eclm", "MODEL": "modular"}, "set public of the task"),
    "eclm that nobody trains": (
        {"ALGORITHM": "eclm, offline_steps: 0, online: false", "MODEL": "modular"},
        "nobody would learn",
    ),
    "elabip that speaks of no samples": ({"ALGORITHM": "elabip, kd: logits"}, "set public of the task"),
    "a rule for spikes": ({"RULE": "spiking"}, "try the model spiking_conv"),
    "a rule for frames": ({"RULE": "stdp"}, "try the model softhebb_stream"),
    "a rule for slopes on spikes": ({"RULE": "lls", "MODEL": "spiking_conv"}, "try the rule spiking"),
    "a Hebbian rule on grouped filters": ({"RULE": "softhebb", "MODEL": "mcunet_small"}, "convolutions in one group"),
    "a model of clips for pictures": ({"MODEL": "softhebb_stream"}, "softhebb_stream learns from clips"),
    "a layer that is not there": ({"SELECTION": "sparse_update, layers: nine"}, "no layer nine; known: "),
    "more public samples than there are": ({"TASK": "digits, public: 5000"}, "none would be left"),
    "a class that is not there": ({"TASK": "digits, classes: [3, 12]"}, "classes 0 to 9"),
}
WORLDS = [
    *((misfit, "simulation") for misfit in MISFITS),
    pytest.param("eclm with a model of one piece", "mininet", marks=pytest.mark.root),
]


@pytest.mark.parametrize(("misfit", "world"), WORLDS)
def test_a_misfit_is_told_in_one_line_before_the_run(
    misfit: str, world: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    changes, expected = MISFITS[misfit]
    text = SCENARIO
    for place, word in {**FITTING, **changes}.items():
        text = text.replace(place, word)
    file, out = tmp_path / "misfit.yaml", tmp_path / "run"
    file.write_text(text)
    assert main(["run", str(file), "--substrate", world, "--out", str(out)]) == 2
    said = capfd.readouterr()
    complaints = [line for line in said.err.splitlines() if expected in line]
    assert len(complaints) == 1
    assert "Traceback" not in said.err + said.out
    assert not out.exists(), "nothing has run"
