"""Plug-ins in use: from `edgebed new` to a run, in every world, and what is said where they are wrong."""

import json
from pathlib import Path

import pytest

from orchestrator import plugin_checks
from orchestrator.cli import main
from orchestrator.plugin_checks import check_plugin
from tests.contract.worlds import WORLDS

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "my_fedprox.py"
SCENARIO = """
name: mine
about: A plug-in at work.
seed: 3
stop_after: SECONDS s
devices:
  - {group: board, count: 3, profile: raspberry_pi_4, link: wifi_2g4}
topology: {kind: star}
learning:
  task: {name: digits}
  model: {name: mlp}
  algorithm: ALGORITHM
  rule: {name: backprop, learning_rate: 0.1}
"""
FAILING = """from dataclasses import dataclass

@dataclass(frozen=True)
class Parameters:
    pass

async def device(node, params):
    await node.sleep(100)

async def coordinator(node, params):
    await node.sleep(1.0)
    helper({})

def helper(body):
    return body["n"]
"""
STUCK = FAILING.replace("await node.sleep(100)", "while True:\n        node.now()")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(world: str, algorithm: str, out: str, plugin: Path | None = None, seconds: int = 4) -> int:
    Path("it.yaml").write_text(SCENARIO.replace("ALGORITHM", algorithm).replace("SECONDS", str(seconds)))
    words = ["run", "it.yaml", "--substrate", world, "--out", out, "--quiet", "--no-probe", "--allow-degraded"]
    return main([*words, *(["--plugin", str(plugin)] if plugin else [])])


def accuracies(out: str) -> list[float]:
    lines = Path(out, "nodes", "coordinator", "records.jsonl").read_text().splitlines()
    return [each["value"] for each in map(json.loads, lines) if each["metric"] == "test_accuracy"]


def test_fedprox_in_one_file_is_the_built_in_one_to_the_last_digit() -> None:
    parameters = "local_steps: 10, mu: 0.1"
    assert run("simulation", f"{{name: fedprox, {parameters}}}", "built_in") == 0
    assert run("simulation", f"{{name: my_fedprox, {parameters}}}", "mine", EXAMPLE) == 0
    assert accuracies("mine") == accuracies("built_in")
    assert accuracies("mine")[-1] > 0.3
    assert run("simulation", "{name: my_fedprox, local_steps: 10, mu: 5.0}", "other", EXAMPLE) == 0
    assert accuracies("other") != accuracies("mine"), "mu is what makes it FedProx"


@pytest.mark.root
def test_it_learns_in_node_processes_too() -> None:
    assert run("mininet", "{name: my_fedprox, local_steps: 10}", "mine", EXAMPLE, seconds=6) == 0
    assert accuracies("mine")[-1] > 0.3


@pytest.mark.parametrize("world", WORLDS)
def test_a_mistake_at_work_is_told_with_its_line_its_node_and_the_time(
    world: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("failing.py").write_text(FAILING)
    assert run(world, "failing", "mine", Path("failing.py")) == 4
    said = capfd.readouterr()
    assert "coordinator ended by itself" in said.out
    assert "failing.py:15: in helper, 1." in said.out
    assert "KeyError: 'n'" in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize("world", WORLDS)
def test_a_mistake_in_a_later_round_is_told_with_that_round(world: str, capfd: pytest.CaptureFixture[str]) -> None:
    text = EXAMPLE.read_text()
    before = "        number, model = asked\n"
    Path("later.py").write_text(text.replace(before, before + "        assert number < 2 or node.index, 'as told'\n"))
    line = 2 + text.splitlines().index(before.rstrip())
    run(world, "{name: later, local_steps: 3}", "mine", Path("later.py"))
    lines = Path("mine", "events.jsonl").read_text().splitlines()
    words = json.loads(next(each for each in lines if "last_words" in each))
    assert f"later.py:{line}: in device, " in words["last_words"]
    assert "s into the run, round 2, after 1 local phase: AssertionError: as told" in words["last_words"]
    assert words["node"] in capfd.readouterr().out


@pytest.mark.parametrize("world", WORLDS)
def test_a_model_that_cannot_be_built_is_told_with_its_line_and_nothing_runs(
    world: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", "model", "mine"]) == 0
    text = Path("mine.py").read_text()
    Path("mine.py").write_text(text.replace("    first = nn", "    first = [][1]\n    first = nn"))
    line = 1 + text.splitlines().index(next(each for each in text.splitlines() if "    first = nn" in each))
    Path("it.yaml").write_text(
        SCENARIO.replace("ALGORITHM", "fedavg").replace("SECONDS", "3").replace("name: mlp", "name: mine")
    )
    assert main(["run", "it.yaml", "--substrate", world, "--out", "run", "--quiet", "--plugin", "mine.py"]) == 2
    said = capfd.readouterr()
    assert f"mine.py:{line}: in build: IndexError" in said.err
    assert "Traceback" not in said.out + said.err
    assert not Path("run").exists()


def test_what_is_no_plug_in_ends_a_command_with_2_and_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text("import nonsense_module\n")
    assert main(["plan", str(ROOT / "scenarios" / "smoke.yaml"), "--plugin", "mine.py"]) == 2
    assert "mine.py:1: in the file: ModuleNotFoundError" in capsys.readouterr().err


def test_a_plan_is_the_same_bytes_with_a_plug_in_that_it_does_not_use(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", str(ROOT / "scenarios" / "smoke.yaml"), "--json"]
    assert main(words) == 0
    without = capsys.readouterr().out
    assert main([*words, "--plugin", str(EXAMPLE)]) == 0
    assert capsys.readouterr().out == without


def test_validate_and_schema_know_a_plug_in_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("it.yaml").write_text(SCENARIO.replace("ALGORITHM", "{name: my_fedprox, mu: 0.2}").replace("SECONDS", "3"))
    assert main(["validate", "it.yaml"]) == 2
    assert main(["validate", "it.yaml", "--plugin", str(EXAMPLE)]) == 0
    capsys.readouterr()
    assert main(["schema", "--plugin", str(EXAMPLE)]) == 0
    assert "my_fedprox" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["algorithm", "rule", "model", "selection", "task"])
def test_what_new_writes_keeps_the_contract_and_is_never_overwritten(kind: str, tmp_path: Path) -> None:
    assert main(["new", kind, "mine"]) == 0
    before = Path("mine.py").read_bytes()
    assert main(["new", kind, "mine"]) == 2
    assert Path("mine.py").read_bytes() == before
    findings = check_plugin(Path("mine.py"), tmp_path, ["stop_after=40 s"])
    assert [str(each) for each in findings if each.ok is not True] == []
    compile(Path("test_mine.py").read_text(), "test_mine.py", "exec")


def test_a_new_scenario_runs_and_meets_its_expectations() -> None:
    assert main(["new", "scenario", "mine"]) == 0
    compile(Path("test_mine.py").read_text(), "test_mine.py", "exec")
    assert main(["run", "mine.yaml", "--substrate", "simulation", "--quiet", "--out", "run"]) == 0
    assert main(["new", "scenario", "mine"]) == 2


def test_a_built_in_name_is_refused_by_new(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "algorithm", "fedavg"]) == 2
    assert "built-in algorithm" in capsys.readouterr().err


def test_the_checks_fail_with_a_remedy_where_a_plug_in_dies_or_never_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("failing.py").write_text(FAILING)
    assert main(["test-plugin", "failing.py"]) == 1
    said = capsys.readouterr().out
    assert "failing.py:15: in helper" in said
    assert "what to do" in said
    monkeypatch.setattr(plugin_checks, "MOST_CPU_S", 1.0)
    monkeypatch.setattr("atexit.register", lambda leave: None)
    Path("stuck.py").write_text(STUCK)
    assert main(["test-plugin", "stuck.py"]) == 1
    said = capsys.readouterr().out
    assert "did not end" in said
    assert "at stuck.py:" in said
    assert "in device" in said


@pytest.mark.parametrize(
    ("mistake", "check", "found"),
    [
        ("return self.chosen", "runs to the end, and ends when told", "it must give bool of shape (2410,)"),
        (
            "return self.budget.neurons.mask(self.choose())",
            "its mask holds",
            "mask() gave something else the second time",
        ),
    ],
)
def test_a_selection_whose_mask_does_not_fit_or_does_not_hold_fails(
    mistake: str, check: str, found: str, tmp_path: Path
) -> None:
    assert main(["new", "selection", "choosy"]) == 0
    right = "return None if self.chosen.all() else self.budget.neurons.mask(self.chosen)"
    text = Path("choosy.py").read_text()
    assert right in text
    Path("choosy.py").write_text(text.replace(right, mistake))
    failed = [each for each in check_plugin(Path("choosy.py"), tmp_path, ["stop_after=10 s"]) if each.ok is False]
    assert found in {each.check: each.found for each in failed}[check]


def test_an_algorithm_that_believes_whatever_it_hears_fails_among_garbage(tmp_path: Path) -> None:
    assert main(["new", "algorithm", "naive"]) == 0
    text = Path("naive.py").read_text()
    checked = 'update = vector(message.body, "model", node.learner.parameters)'
    assert checked in text
    Path("naive.py").write_text(text.replace(checked, 'update = message.body["model"]'))
    (failed,) = [each for each in check_plugin(Path("naive.py"), tmp_path, ["stop_after=40 s"]) if each.ok is False]
    assert failed.check == "survives garbage"
    assert "naive.py:" in failed.found
