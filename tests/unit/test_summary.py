"""The summary: figures from record files alone, and None where nothing was measured."""

from dataclasses import replace
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


def test_measured_joules_stand_beside_the_modelled_ones_and_are_never_added(tmp_path: Path) -> None:
    def measured(component: str, meter: str, metric: str, value: float, **node: str) -> Record:
        return Record(1.0, metric, value, {"component": component, "source": f"measured:{meter}", **node})

    modelled = Record(1.0, "energy_joules", 9.0, {"node": "d-1", "component": "cpu", "source": "model"})
    host = [measured("host", "rapl", "energy_joules", 300.0), measured("host", "rapl", "energy_missing_s", 2.0)]
    boards = {
        "d-1": [
            measured("board", "ina3221", "energy_joules", 5.0),
            measured("board", "smart_plug", "energy_joules", 7.0),
        ],
        "d-2": [measured("board", "ina3221", "energy_joules", 6.0)],
    }
    found = summary_of(tmp_path, boards, [modelled, *host])
    assert found["energy_joules"] == found["energy_joules.cpu"] == found["energy_joules_device_max"] == 9.0
    assert found["measured_energy_joules.host_rapl"] == 300.0
    assert found["measured_energy_joules.board_ina3221"] == 11.0
    assert found["measured_energy_joules.board_smart_plug"] == 7.0
    assert found["energy_missing_s.host_rapl"] == 2.0
    assert not {"energy_joules.host", "energy_joules.board", "energy_missing_s"} & found.keys()


def test_what_was_not_measured_is_none_and_not_zero(tmp_path: Path) -> None:
    found = summary_of(tmp_path, {}, [])
    assert found["test_accuracy"] is None
    assert found["wire_bytes"] is None
    assert "energy_joules" not in found


def test_a_torn_last_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(Record(1.0, "round", 1.0).to_line() + '\n{"t": 2.0, "met')
    assert [record.value for record in read_records(path)] == [1.0]


def test_what_devices_achieve_on_what_they_sense_themselves_is_told_apart(tmp_path: Path) -> None:
    def own(value: float) -> Record:
        return Record(9.0, "test_accuracy", value, {"split": "own"})

    found = summary_of(tmp_path, {"d-1": [accuracy(1, 0.5), own(0.9)], "d-2": [accuracy(1, 0.7), own(0.7)]}, [])
    assert found["test_accuracy"] == pytest.approx(0.6)
    assert found["test_accuracy_own_mean"] == pytest.approx(0.8)
    assert found["test_accuracy_own_min"] == 0.7


def test_a_gauge_is_the_mean_of_the_nodes_last_values(tmp_path: Path) -> None:
    nodes = {
        "d-1": [Record(1.0, "train_loss", 5.0, {}), Record(2.0, "train_loss", 1.0, {})],
        "d-2": [Record(1.0, "train_loss", 2.0, {})],
    }
    assert summary_of(tmp_path, nodes, [])["train_loss"] == 1.5


def test_the_spectral_gap_is_that_of_the_links_among_devices(tmp_path: Path) -> None:
    plan = star(2)
    between = replace(plan.links[0], id="d-1>d-2", source="d-1", target="d-2")
    linked = replace(plan, links=(*plan.links, between))
    found = summary_of(tmp_path, {"d-1": [Record(1.0, "cluster", 0.0, {})], "d-2": []}, [], linked)
    assert found["spectral_gap"] == pytest.approx(1.0), "two devices that average agree at once"
    assert "spectral_gap_in_clusters" not in found, "not all devices named a cluster"
    assert "spectral_gap" not in summary_of(tmp_path / "star", {}, [], plan)
