"""A run as OpenMetrics text: the run directory's totals, at the run's own times, in an order that Prometheus takes."""

import io
import json
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from click.testing import CliRunner

from node_image.spec import Chosen
from orchestrator.commands.export import export as command
from orchestrator.errors import UsageError
from orchestrator.outcome import RunOptions
from orchestrator.run import execute
from orchestrator.telemetry.discovery import run_name
from orchestrator.telemetry.openmetrics import began, export
from orchestrator.terminal import QuietDisplay
from tests.plans import fault, star

SAMPLE = re.compile(r"^(\w+)(\{.*\}) (\S+) (\d+\.\d{3})$")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short simulated run with a fault."""
    plan = star(2, algorithm=Chosen("fedavg", {"local_steps": 5}), stop_after_s=4.0,
                faults=(fault("dropout", 1.5, 3.0, nodes=("d-1",), parameters={"by": "crash"}),))  # fmt: skip
    folder = tmp_path_factory.mktemp("openmetrics") / "runs" / "cell" / "seed=1"
    folder.parent.mkdir(parents=True)
    return execute(plan, "", RunOptions(out=folder, substrate="simulation"), QuietDisplay()).directory


def samples(text: str) -> dict[str, list[tuple[float, float]]]:
    """Time and value of every series, in the order written."""
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in text.splitlines():
        if not line.startswith("#"):
            match = SAMPLE.match(line)
            assert match is not None, line
            found[match[1] + match[2]].append((float(match[4]), float(match[3])))
    return found


def exported(run: Path, step_s: float = 1.0) -> dict[str, list[tuple[float, float]]]:
    file = io.StringIO()
    export(run, file, step_s)
    return samples(file.getvalue())


@pytest.mark.parametrize("step_s", [0.1, 1.0, 60.0])
def test_the_last_values_sum_to_what_the_run_directory_says_whatever_the_step(run: Path, step_s: float) -> None:
    summary = json.loads((run / "result.json").read_text())["summary"]
    sums: dict[str, float] = defaultdict(float)
    for name, values in exported(run, step_s).items():
        metric, labels = name.split("{", 1)
        sums[metric] += values[-1][1]
        for label in re.findall(r'(?:direction|component|kind)="[^"]*"', labels):
            sums[f"{metric} {label}"] += values[-1][1]
    assert sums['edgebed_payload_bytes_total direction="sent"'] == summary["sent_payload_bytes"]
    assert sums["edgebed_link_deliver_bytes_total"] == summary["link_delivered_bytes"]
    assert sums["edgebed_energy_joules_total"] == pytest.approx(summary["energy_joules"])
    assert sums['edgebed_energy_joules_total component="base"'] == pytest.approx(summary["energy_joules.base"])
    assert sums["edgebed_aggregated_updates_total"] == summary["aggregated_updates"]


def test_every_series_has_the_run_s_label_and_times_that_only_grow_from_its_begin(run: Path) -> None:
    found = exported(run)
    assert all('run="cell/seed=1"' in name for name in found)
    for values in found.values():
        times = [t for t, _ in values]
        assert times == sorted(set(times))
        assert times[0] >= round(began(run), 3)


def test_a_counter_that_appears_late_is_zero_before(run: Path) -> None:
    found = exported(run, 0.1)
    late = [values for name, values in found.items() if "_total" in name and values[0][0] > began(run) + 0.05]
    assert late
    assert all(values[0][1] == 0.0 for values in late)


def test_faults_and_the_run_itself_begin_and_end_at_their_times(run: Path) -> None:
    found = exported(run, 0.5)
    start = began(run)
    (acts,) = (values for name, values in found.items() if name.startswith("edgebed_fault_active"))
    assert [round(t - start, 1) for t, value in acts if value == 1] == [1.5, 2.0, 2.5]
    (active,) = (values for name, values in found.items() if name.startswith("edgebed_run_active"))
    assert (active[0][1], active[1][1], active[-1][1]) == (1, 1, 0)


def test_the_text_says_what_each_family_is_once_and_ends_with_eof(run: Path) -> None:
    file = io.StringIO()
    export(run, file)
    lines = file.getvalue().splitlines()
    types = [line for line in lines if line.startswith("# TYPE")]
    assert "# TYPE edgebed_payload_bytes counter" in types
    assert "# UNIT edgebed_payload_bytes bytes" in lines
    assert len({line.split()[2] for line in types}) == len(types)
    assert lines[-1] == "# EOF"
    order = [line.split()[2] if line.startswith("# TYPE") else "" for line in lines]
    families = [name for name in order if name]
    assert families == list(dict.fromkeys(families))


def test_a_simulated_run_ends_when_it_was_made_and_not_in_the_future(run: Path) -> None:
    file = io.StringIO()
    made = export(run, file)
    assert made.ended_unix_s <= (run / "result.json").stat().st_mtime + 0.1


def test_a_run_that_was_killed_is_exported_as_far_as_it_came(run: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn"
    shutil.copytree(run, torn)
    for name in ("result.json", "receipt.json", "environment.json"):
        (torn / name).unlink()
    with (torn / "records.jsonl").open("a") as file:
        file.write('{"t": 3.0, "metr')
    with (torn / "events.jsonl").open("a") as file:
        file.write('{"t": 3')
    whole, part = exported(run), exported(torn)
    assert len(part) > len(whole) / 2


@pytest.mark.parametrize("content", [None, "", "{}", '{"name": 1}', "[]"])
def test_what_is_no_run_is_named(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    with pytest.raises(UsageError, match=str(tmp_path)):
        export(tmp_path, io.StringIO())


def test_the_command_writes_a_file_whole_or_stdout(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "run.om"
    done = CliRunner().invoke(command, ["prom", str(run), "-o", str(file), "--step", "0.5"], standalone_mode=False)
    assert done.exception is None
    said = CliRunner().invoke(command, ["prom", str(run), "--step", "0.5"], standalone_mode=False)
    assert file.read_text() == said.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["run.om"]


def test_a_comparison_is_refused_with_the_names_of_its_runs(run: Path) -> None:
    (run.parent / "compare.json").write_text("{}")
    try:
        done = CliRunner().invoke(command, ["prom", str(run.parent)], standalone_mode=False)
    finally:
        (run.parent / "compare.json").unlink()
    assert isinstance(done.exception, UsageError)
    assert "name one of its runs" in str(done.exception)
    assert "seed=1" in str(done.exception)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/x/runs/a", "a"),
        ("/x/runs/papers/a/b c", "papers/a/b c"),
        ("/x/y", "y"),
        ("/runs/x/runs/a", "a"),
        ("/x/runs", "runs"),
    ],
)
def test_a_run_is_called_by_its_place_below_the_folder_of_runs(path: str, name: str) -> None:
    assert run_name(Path(path)) == name
