"""The command line: names, exit codes, what goes to stdout, and how the loop over variants ends."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.agreement import agreements
from orchestrator.cli import main
from orchestrator.commands.find import find_run, find_scenario, run_directories
from orchestrator.compare import PlannedVariant, folder_name, run_all
from orchestrator.errors import MachineCannotError, RunBrokeError, UsageError
from orchestrator.outcome import Finding, Outcome, RunOptions, worst
from orchestrator.plan import Plan
from orchestrator.terminal import Display, PlainDisplay, QuietDisplay
from tests.plans import star
from tests.unit.recorded_runs import write_comparison, write_run

ROOT = Path(__file__).parents[2]
Execute = Callable[[Plan, str, RunOptions, Display], Outcome]
FINDING = Finding("test_accuracy at least 70 %", "test_accuracy", 0.75, "met")


def outcome(options: RunOptions, exit_code: int = 0) -> Outcome:
    summary = {"test_accuracy": 0.75, "sent_payload_bytes": 1e6, "energy_joules": None}
    return Outcome("complete", exit_code, options.out, summary, (FINDING,), ("the link is emulated",))


def execute(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
    display.phase("learn", plan.name)
    return outcome(options)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to stand in, with two scenarios whose planning and running are stand-ins."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    for name in ("dropout30", "smoke"):
        (tmp_path / "scenarios" / f"{name}.yaml").write_text(f"name: {name}\n")
    monkeypatch.setattr("orchestrator.commands.run.plan_all", lambda path, changes: (PlannedVariant("only", star()),))
    monkeypatch.setattr("orchestrator.run.execute", execute)
    return tmp_path


def test_help_imports_nothing_heavy() -> None:
    """The time of `--help` is the time of its imports: those that take long must not be among them."""
    script = (
        "import sys\nfrom orchestrator.cli import main\nassert main(['--help']) == 0\n"
        "print(*sorted({'torch', 'pydantic', 'numpy', 'rich', 'yaml', 'matplotlib', 'asyncio'} & set(sys.modules)),"
        " file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == ""
    assert "Exit codes" in done.stdout


def test_python_m_orchestrator_is_the_same_command() -> None:
    done = subprocess.run([sys.executable, "-m", "orchestrator", "nonsense"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "No such command 'nonsense'" in done.stderr
    assert done.stdout == ""


def test_a_scenario_is_found_by_name_or_path(place: Path) -> None:
    assert find_scenario("smoke") == Path("scenarios/smoke.yaml")
    assert find_scenario("scenarios/smoke.yaml") == Path("scenarios/smoke.yaml")


def test_an_unknown_scenario_lists_the_known_ones_and_the_nearest(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "drop30"]) == 2
    said = capsys.readouterr()
    assert "did you mean 'dropout30'?" in said.err
    assert "known: dropout30, smoke" in said.err
    assert said.out == ""


def test_a_mistyped_option_is_a_usage_error_with_a_hint(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "smoke", "--sed", "3"]) == 2
    assert "--seed" in capsys.readouterr().err


def test_results_go_to_stdout_and_all_else_to_stderr(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "smoke"]) == 0
    said = capsys.readouterr()
    assert "75.0 %" in said.out
    assert "✓ accuracy at least 70 %: met (75.0 %)" in said.out
    assert "run directory: runs/" in said.out
    assert "learn: test" in said.err
    assert "learn" not in said.out


def test_json_is_one_object_a_line_with_the_result_last(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "smoke", "--json"]) == 0
    said = capsys.readouterr()
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert [line["event"] for line in lines] == ["phase", "result"]
    assert lines[-1]["schema_version"] == 1
    assert lines[-1]["summary"]["test_accuracy"] == 0.75
    assert said.err == ""


def test_insecure_must_be_typed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def see(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        assert options.insecure is False
        return outcome(options)

    monkeypatch.setattr("orchestrator.run.execute", see)
    monkeypatch.setenv("EDGEBED_INSECURE", "1")
    assert main(["run", "smoke"]) == 0


def test_options_reach_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[RunOptions, str]] = []

    def remember(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        seen.append((options, text))
        return outcome(options)

    monkeypatch.setattr("orchestrator.run.execute", remember)
    monkeypatch.setenv("EDGEBED_SHAPER", "netem")
    arguments = ["--substrate", "simulation", "--out", "here", "--keep", "always", "--allow-degraded", "--no-probe"]
    assert main(["run", "smoke", *arguments, "--data", "sets", "--set", "a.b=two words", "--insecure"]) == 0
    options, text = seen[0]
    assert options == RunOptions(Path("here"), "simulation", "netem", "always", True, "sets", False, insecure=True)
    assert text.startswith("name: smoke\n")
    assert "# run with: --set 'a.b=two words' --set substrate=simulation" in text


def test_seed_and_substrate_change_the_scenario_before_it_is_planned(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, ...]] = []

    def plan_all(path: Path, changes: tuple[str, ...]) -> tuple[PlannedVariant, ...]:
        seen.append(changes)
        return (PlannedVariant("only", star()),)

    monkeypatch.setattr("orchestrator.commands.run.plan_all", plan_all)
    monkeypatch.setenv("EDGEBED_SEED", "7")
    assert main(["run", "smoke", "--set", "seed=3"]) == 0
    assert seen == [("seed=3", "seed=7")]


@pytest.mark.parametrize(
    ("error", "code"), [(RunBrokeError("node d-1 died"), 4), (MachineCannotError("no /dev/net/tun"), 3)]
)
def test_an_error_of_the_run_is_a_message_and_an_exit_code_but_no_traceback(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    code: int,
) -> None:
    def fail(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        raise error

    monkeypatch.setattr("orchestrator.run.execute", fail)
    assert main(["run", "smoke"]) == code
    said = capsys.readouterr().err
    assert f"edgebed: {error}" in said
    assert "Traceback" not in said


def test_ctrl_c_ends_with_130(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        raise KeyboardInterrupt

    monkeypatch.setattr("orchestrator.run.execute", stop)
    assert main(["run", "smoke"]) == 130


def variants(*labels: str) -> tuple[PlannedVariant, ...]:
    return tuple(PlannedVariant(label, star()) for label in labels)


def test_a_comparison_runs_all_variants_and_ends_like_the_worst(tmp_path: Path) -> None:
    def one_misses(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        return outcome(options, exit_code=1 if "fedavg" in options.out.name else 0)

    options = RunOptions(tmp_path / "out")
    done = run_all(variants("algorithm=fedavg", "algorithm=fedasync"), "", options, QuietDisplay(), one_misses)
    assert done.exit_code == 1
    written = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [run["directory"] for run in written["runs"]] == ["algorithm=fedavg", "algorithm=fedasync"]
    assert written["runs"][1]["summary"]["test_accuracy"] == 0.75


COMPARED = """
name: two
stop_after: 1 s
devices: [{group: pi, count: 1, profile: raspberry_pi_4, link: wifi_2g4}]
learning: {task: digits, model: linear, algorithm: fedavg}
compare: {algorithm: [fedavg, local_only]}
"""


def test_only_names_the_runs_of_a_comparison_by_words_of_their_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = tmp_path / "two.yaml"
    scenario.write_text(COMPARED)
    assert main(["run", str(scenario), "--only", "algorithm=fedavg", "--dry-run", "--json"]) == 0
    (variant,) = json.loads(capsys.readouterr().out)["variants"]
    assert variant["label"] == "algorithm=fedavg"
    assert main(["run", str(scenario), "--only", "algorithm=none"]) == 2
    assert "no run has these words" in capsys.readouterr().err


def test_a_variant_that_breaks_is_kept_in_the_table_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def one_breaks(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        if options.out.name == "a":
            raise RunBrokeError("node d-1 died")
        return outcome(options)

    done = run_all(variants("a", "b"), "", RunOptions(tmp_path), PlainDisplay(), one_breaks)
    assert [result.exit_code for result in done.results] == [4, 0]
    assert done.results[0].error == "node d-1 died"
    assert done.exit_code == 4
    assert "node d-1 died" in capsys.readouterr().err


def test_ctrl_c_stops_the_loop_and_what_was_done_stays(tmp_path: Path) -> None:
    def stopped_in_b(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        if options.out.name == "b":
            raise KeyboardInterrupt
        return outcome(options)

    done = run_all(variants("a", "b", "c"), "", RunOptions(tmp_path), QuietDisplay(), stopped_in_b)
    assert done.exit_code == 130
    written = json.loads((tmp_path / "compare.json").read_text())
    assert [run["label"] for run in written["runs"]] == ["a", "b"]
    assert written["planned"] == 3


def test_what_this_machine_cannot_do_stops_a_comparison_at_once(tmp_path: Path) -> None:
    def cannot(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        raise MachineCannotError("no root")

    with pytest.raises(MachineCannotError):
        run_all(variants("a", "b"), "", RunOptions(tmp_path), QuietDisplay(), cannot)


def test_a_run_that_cannot_be_trusted_is_worse_than_one_that_missed() -> None:
    assert worst([0, 1, 6]) == 6
    assert worst([6, 4, 5]) == 4
    assert worst([4, 130]) == 130
    assert worst([]) == 0


def test_labels_become_folders_without_surprises() -> None:
    assert folder_name("algorithm=fedavg seed=2") == "algorithm=fedavg-seed=2"
    assert folder_name("../../etc") == "etc"
    assert folder_name("///") == "run"


def test_the_newest_run_is_found_as_latest(place: Path) -> None:
    write_run(place / "runs" / "20260101-000000-a")
    write_comparison(place / "runs" / "20260102-000000-b")
    assert [path.name for path in run_directories()] == ["20260101-000000-a", "20260102-000000-b"]
    assert find_run("latest").name == "20260102-000000-b"
    with pytest.raises(UsageError, match="did you mean"):
        find_run("20260101-000000-c")


def test_a_report_is_written_beside_the_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(place / "runs" / "20260101-000000-a")
    assert main(["report"]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path == Path("runs/20260101-000000-a/report.html")
    assert path.read_text().startswith("<!doctype html>")


def test_the_figure_alone_is_written_where_it_is_wanted(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_comparison(place / "runs" / "20260101-000000-a")
    assert main(["report", "--figure", "a.svg"]) == 0
    assert capsys.readouterr().out == "a.svg\n"
    assert "edgebed report 20260101-000000-a --figure a.svg" in (place / "a.svg").read_text()
    assert not (place / "runs" / "20260101-000000-a" / "report.html").exists()
    assert main(["report", "--figure", "a.docx"]) == 2
    assert main(["report", "--figure", "no/such/folder.svg"]) == 2
    assert "folder.svg cannot be written" in capsys.readouterr().err


def test_a_degraded_run_says_what_was_not_as_asked_and_what_helps(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = "pi0>coordinator: rate_bps is 1.5e+07, asked 2e+07 +- 1e+06; too slow"

    def degraded(plan: Plan, text: str, options: RunOptions, display: Display) -> Outcome:
        write_run(options.out)
        return replace(outcome(options, exit_code=6), status="degraded", notes=(note, "something else"))

    monkeypatch.setattr("orchestrator.run.execute", degraded)
    assert main(["run", "smoke", "--out", "here"]) == 6
    said = capsys.readouterr().out
    assert "! rate (pi0>coordinator): 15.0 Mbit/s, asked 20.0 ± 1.00 Mbit/s" in said
    assert "What helps: a quieter machine" in said
    assert "note: something else" in said
    assert "rate_bps" not in said
    assert "--allow-degraded. Exit code 6." in said


def test_a_comparison_is_one_column_for_each_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_comparison(place / "runs" / "20260101-000000-a")
    assert main(["runs", "show"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[1].split() == ["fedavg", "fedasync"]
    assert "✗ modelled energy at most 1 kJ: missed (fedavg 1.91 kJ, fedasync 1.91 kJ)" in said
    assert main(["runs", "show", "--all"]) == 0
    assert "sent_payload_bytes" in capsys.readouterr().out


def test_the_plan_shows_when_each_failure_acts_and_on_whom(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(ROOT / "scenarios" / "flaky_links.yaml"), "--substrate", "simulation"]) == 0
    said = capsys.readouterr().out
    flap = next(line for line in said.splitlines() if line.startswith("8 s to 28 s"))
    assert "───████████─────" in flap
    assert "phone-1, phone-4, phone-5" in flap
    assert "every 4 s, down 1 s" in flap
    assert "modelled: computing time" in said


def test_every_mistake_is_a_line_that_an_editor_can_jump_to(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("name: bad\nseed: -1\ncolour: blue\n")
    assert main(["validate", str(path)]) == 2
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert all(line.startswith(f"{path}:") for line in lines)
    assert f"{len(lines)} mistakes" in said.err


def test_runs_are_listed_with_how_they_ended(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(place / "runs" / "20260101-000000-a")
    unfinished = write_run(place / "runs" / "20260102-000000-b")
    (unfinished / "result.json").unlink()
    assert main(["runs", "list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["runs"]
    assert [run["ended"] for run in found] == ["missed", "no result: lives, or was killed"]
    assert all(run["size_bytes"] > 1000 for run in found)


def test_pruning_keeps_the_newest_and_whatever_has_no_result(place: Path) -> None:
    for day in range(1, 5):
        write_run(place / "runs" / f"2026010{day}-000000-a")
    (place / "runs" / "20260102-000000-a" / "result.json").unlink()
    assert main(["runs", "prune", "--keep", "1", "--dry-run"]) == 0
    assert len(run_directories()) == 4
    assert main(["runs", "prune", "--keep", "1"]) == 0
    assert [path.name for path in run_directories()] == ["20260102-000000-a", "20260104-000000-a"]


def test_runs_are_put_side_by_side(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_run(place / "runs" / "fast", pace=20.0)
    write_run(place / "runs" / "slow", pace=80.0)
    assert main(["runs", "compare", "fast", "slow", "--json"]) == 0
    summaries = json.loads(capsys.readouterr().out)["runs"]
    assert summaries["fast"]["test_accuracy"] > summaries["slow"]["test_accuracy"]
    assert main(["runs", "compare", "fast", "slow"]) == 0
    assert main(["runs", "show", "fast"]) == 0


def test_a_broken_result_is_named(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (write_run(place / "runs" / "a") / "result.json").write_text("{")
    assert main(["runs", "show", "a"]) == 2
    assert "runs/a/result.json is broken" in capsys.readouterr().err


def test_clean_says_what_it_would_remove(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "runs" / "a").mkdir(parents=True)
    made = '{"make": "cgroup", "path": "/nowhere/edgebed-x"}\n'
    (place / "runs" / "a" / "resources.jsonl").write_text(made)
    assert main(["clean", "--dry-run"]) == 0
    assert capsys.readouterr().out == "would remove cgroup /nowhere/edgebed-x\n"
    assert (place / "runs" / "a" / "resources.jsonl").read_text() == made


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_EDGEBED_COMPLETE" in capsys.readouterr().out


def test_agreement_judges_each_figure_by_its_own_tolerance() -> None:
    simulated = {"sent_payload_bytes": 1000.0, "sent_wire_bytes": 1020.0, "round_s": 1.2, "energy_joules": None}
    emulated = {"sent_payload_bytes": 1000.0, "sent_wire_bytes": 1000.0, "round_s": 1.0, "energy_joules": 5.0}
    found = {each.metric: each for each in agreements(simulated, emulated)}
    assert found["sent_payload_bytes"].ok is True
    assert found["sent_wire_bytes"].ok is True
    assert found["sent_wire_bytes"].gap == pytest.approx(0.02)
    assert found["round_s"].ok is False
    assert found["energy_joules"].ok is None


def test_one_byte_of_payload_is_no_agreement() -> None:
    (cut,) = [
        each
        for each in agreements({"sent_payload_bytes": 9.0}, {"sent_payload_bytes": 8.0}, cut_short=True)
        if each.gap
    ]
    assert cut.ok is None, "as many rounds as fit into the time: nothing promised"
    found = agreements({"sent_payload_bytes": 1001.0}, {"sent_payload_bytes": 1000.0})
    assert found[0].ok is False


def test_what_is_left_of_a_run_is_named_with_where_it_can_be_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    (run / "plan.json").unlink()
    assert main(["report", str(run)]) == 2
    assert f"no plan.json, which says what ran; to see the rest: edgebed serve {run}" in capsys.readouterr().err


def test_a_result_of_another_version_is_named_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, "schema_version": 9}))
    assert main(["runs", "show", str(run)]) == 0
    said = capsys.readouterr()
    assert "is of version 9, and this Edgebed reads version 1" in said.err
    assert "accuracy" in said.out


def test_a_broken_result_is_named_with_what_can_still_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_run(tmp_path / "run")
    (run / "result.json").write_text('{"status": "comp')
    assert main(["runs", "show", str(run)]) == 2
    assert f"what can still be read is in: edgebed report {run}" in capsys.readouterr().err
