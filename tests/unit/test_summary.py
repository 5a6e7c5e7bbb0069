"""The summary: figures from record files alone, and None where nothing was measured."""

from pathlib import Path

import pytest

from node_image.records import Record
from orchestrator.plan import Plan
from orchestrator.summary import Summary, read_records, summarise
from tests.plans import star

PLAN = star(2)


def summary_of(folder: Path, nodes: dict[str, list[Record]], own: list[Record], plan: Plan = PLAN) -> Summary:
    for node in plan.nodes:
        path = folder / "nodes" / node.name
        path.mkdir(parents=True)
        lines = [record.to_line() for record in nodes.get(node.name, [])]
        (path / "records.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "records.jsonl").write_text("".join(f"{record.to_line()}\n" for record in own))
    return summarise(plan, folder)


def accuracy(t: float, value: float) -> Record:
    return Record(t, "test_accuracy", value, {"split": "global"})


def test_the_coordinator_s_last_accuracy_is_the_run_s(tmp_path: Path) -> None:
    nodes = {"coordinator": [accuracy(1, 0.4), accuracy(2, 0.6)], "d-1": [accuracy(3, 0.9)]}
    found = summary_of(tmp_path, nodes, [])
    assert found["test_accuracy"] == 0.6
    assert found["test_accuracy_device_mean"] == 0.9


def test_without_a_coordinator_s_model_it_is_the_mean_of_the_devices(tmp_path: Path) -> None:
    found = summary_of(tmp_path, {"d-1": [accuracy(1, 0.5)], "d-2": [accuracy(2, 0.7)]}, [])
    assert found["test_accuracy"] == pytest.approx(0.6)
    assert (found["test_accuracy_device_min"], found["test_accuracy_device_max"]) == (0.5, 0.7)


def test_time_to_accuracy_is_the_first_time_it_was_reached_and_none_if_never(tmp_path: Path) -> None:
    curve = [accuracy(1, 0.3), accuracy(2, 0.55), accuracy(3, 0.45), accuracy(4, 0.6)]
    found = summary_of(tmp_path, {"coordinator": curve}, [])
    assert found["time_to_accuracy_50_s"] == 2
    assert found["time_to_accuracy_60_s"] == 4
    assert found["time_to_accuracy_70_s"] is None


def test_devices_reach_an_accuracy_together_when_their_mean_does(tmp_path: Path) -> None:
    nodes = {"d-1": [accuracy(1, 0.8)], "d-2": [accuracy(2, 0.1), accuracy(5, 0.4)]}
    found = summary_of(tmp_path, nodes, [])
    assert found["time_to_accuracy_45_s"] == 2
    assert found["time_to_accuracy_60_s"] == 5


def test_counters_add_up_over_nodes_and_by_kind(tmp_path: Path) -> None:
    def sent(kind: str, size_bytes: float) -> Record:
        return Record(1.0, "sent_payload_bytes", size_bytes, {"kind": kind, "peer": "x"})

    found = summary_of(tmp_path, {"d-1": [sent("update", 10), sent("join", 1)], "d-2": [sent("update", 20)]}, [])
    assert found["sent_payload_bytes"] == 31
    assert found["sent_payload_bytes.update"] == 30


def test_samples_give_median_and_95th_percentile(tmp_path: Path) -> None:
    found = summary_of(tmp_path, {"coordinator": [Record(n, "round_s", n) for n in range(1, 101)]}, [])
    assert found["round_s"] == 50.5
    assert found["round_s_p95"] == pytest.approx(95.05)


def test_energy_of_the_thirstiest_device_is_told(tmp_path: Path) -> None:
    def joules(node: str, value: float) -> Record:
        return Record(1.0, "energy_joules", value, {"node": node, "component": "base", "source": "model"})

    found = summary_of(tmp_path, {}, [joules("d-1", 3.0), joules("d-2", 5.0), joules("d-2", 1.0)])
    assert found["energy_joules"] == 9.0
    assert found["energy_joules_device_max"] == 6.0


def test_what_was_not_measured_is_none_and_not_zero(tmp_path: Path) -> None:
    found = summary_of(tmp_path, {}, [])
    assert found["test_accuracy"] is None
    assert found["wire_bytes"] is None
    assert "energy_joules" not in found


def test_a_torn_last_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(Record(1.0, "round", 1.0).to_line() + '\n{"t": 2.0, "met')
    assert [record.value for record in read_records(path)] == [1.0]
