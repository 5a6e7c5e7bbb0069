"""Small run directories, written as a run writes them: food for the tests of analysis and of the commands."""

import json
import math
from pathlib import Path
from typing import Any

from node_image.records import Record

STOP_AFTER_S = 180.0
PROVENANCE = {"source": "a data sheet", "quality": "medium", "error": 0.1}


def write_run(directory: Path, *, seed: int = 1, pace: float = 40.0, devices: int = 3) -> Path:
    """A star of devices that learns, with a dropout in the middle; `pace` is how many seconds learning takes."""
    directory.mkdir(parents=True)
    victims = [f"pi{index}" for index in range(max(1, devices // 3))]
    _write(directory / "plan.json", _plan(seed, devices, victims))
    _write(directory / "result.json", _result(pace, victims))
    _write(directory / "environment.json", {"kernel": "6.1.0", "substrate": "simulation", "shaper": "simulated"})
    _write(directory / "receipt.json", _receipt(devices))
    (directory / "scenario.yaml").write_text("name: dropout30\n")
    (directory / "events.jsonl").write_text('{"t": 0.0, "event": "run_began"}\n')
    coordinator, own = [], []
    for step in range(1, 61):
        t = step * STOP_AFTER_S / 60
        dip = 0.12 if 60 <= t < 120 else 0.0
        coordinator.append(Record(t, "test_accuracy", 0.94 - 0.84 * math.exp(-t / pace) - dip, {"split": "global"}))
        coordinator.append(Record(t, "sent_payload_bytes", 9000.0 * devices, {"kind": "model", "peer": "pi0"}))
        for index in range(devices):
            node = {"node": f"pi{index}"}
            own.append(Record(t, "sent_wire_bytes", 9800.0, node))
            for component, joules in (("base", 7.0), ("cpu", 3.2), ("radio_tx", 0.4)):
                own.append(Record(t, "energy_joules", joules, {**node, "component": component, "source": "model"}))
    _write_records(directory / "nodes" / "coordinator", coordinator)
    for index in range(devices):
        sent = [Record(3.0 * n, "sent_payload_bytes", 9000.0, {"kind": "update"}) for n in range(1, 61)]
        _write_records(directory / "nodes" / f"pi{index}", sent)
    (directory / "records.jsonl").write_text("".join(record.to_line() + "\n" for record in own))
    return directory


def write_comparison(directory: Path) -> Path:
    """Two algorithms, one seed, side by side."""
    listed = []
    for label, pace in (("algorithm=fedavg seed=1", 55.0), ("algorithm=fedasync seed=1", 30.0)):
        name = label.replace(" ", "-")
        write_run(directory / name, pace=pace)
        listed.append({"label": label, "directory": name, "exit_code": 0})
    _write(directory / "compare.json", {"schema_version": 1, "name": "dropout30", "planned": 2, "runs": listed})
    return directory


def write_study(directory: Path, *, arms: int = 2, settings: tuple[str, ...] = ("",), seeds: int = 3) -> Path:
    """Arms a0, a1... in some settings, each with several seeds; each claims to be as good as the first, or cheaper."""
    listed = []
    for arm in range(arms):
        for setting in settings:
            for seed in range(1, seeds + 1):
                label = " ".join(filter(None, (f"arm=a{arm}", setting and f"setting={setting}", f"seed={seed}")))
                name = label.replace(" ", "-")
                write_run(directory / name, seed=seed, pace=30.0 + 10 * arm + seed)
                listed.append({"label": label, "directory": name, "exit_code": 0})
    shared: dict[str, Any] = {"arm": f"a{arms - 1}", "against": "a0", "where": [], "at_least": None, "at_most": None}
    claims = [
        {**shared, "metric": "test_accuracy", "by": "difference", "at_least": -0.05},
        {**shared, "metric": "test_accuracy", "by": "difference", "at_least": 0.05},
        {**shared, "metric": "round_s", "by": "ratio", "at_most": 1.0},
    ]
    content = {"schema_version": 1, "name": "study", "planned": len(listed), "runs": listed, "claims": claims}
    _write(directory / "compare.json", content)
    return directory


def _plan(seed: int, devices: int, victims: list[str]) -> dict[str, Any]:
    profile = {"name": "raspberry_pi_4", "power": {"provenance": PROVENANCE}, "radio": {"provenance": PROVENANCE}}
    nodes: list[dict[str, Any]] = [
        {"name": f"pi{index}", "role": "device", "group": "pi", "profile": profile} for index in range(devices)
    ]
    nodes.insert(0, {"name": "coordinator", "role": "coordinator", "group": "", "profile": {"name": "server"}})
    fault = {"index": 0, "kind": "dropout", "at_s": 60.0, "heal_s": 120.0, "nodes": victims, "links": []}
    return {
        "name": "dropout30",
        "about": "30 % of the devices leave at 60 s & come back at 120 s.",
        "seed": seed,
        "stop_after_s": STOP_AFTER_S,
        "nodes": nodes,
        "links": [{"id": f"pi{index}>coordinator"} for index in range(devices)],
        "faults": [fault],
    }


def _result(pace: float, victims: list[str]) -> dict[str, Any]:
    fault = {"index": 0, "kind": "dropout", "nodes": victims, "links": [], "asked_at_s": 60.0, "injected_at_s": 60.004}
    fault |= {"asked_heal_s": 120.0, "healed_at_s": 120.01, "error": None}
    fault |= {"evidence": "killed by signal 9", "heal_evidence": "started again"}
    accuracy = 0.94 - 0.84 * math.exp(-STOP_AFTER_S / pace)
    return {
        "schema_version": 1,
        "status": "complete",
        "exit_code": 1,
        "notes": ["emulation cannot be had here: <not root>"],
        "faults": [fault],
        "summary": {"test_accuracy": accuracy, "sent_payload_bytes": 3.2e6, "energy_joules": 1908.0, "round_s": None},
        "expectations": [
            {"text": "test_accuracy at least 70 %", "metric": "test_accuracy", "found": accuracy, "verdict": "met"},
            {"text": "energy_joules at most 1 kJ", "metric": "energy_joules", "found": 1908.0, "verdict": "missed"},
        ],
    }


def _receipt(devices: int) -> dict[str, Any]:
    checks = [
        {"what": "rtt_s", "where": f"pi{index}>coordinator", "asked": 0.004, "found": 0.00431, "tolerance": 0.001}
        | {"ok": True, "why": ""}
        for index in range(devices)
    ]
    checks.append({"what": "rate_bps", "where": "pi0>coordinator", "asked": 2e7, "found": 1.5e7, "tolerance": 1e6})
    checks[-1] |= {"ok": False, "why": "too slow"}
    return {"ok": False, "checks": checks, "facts": {"lateness_p99_s": 0.0002}}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content))


def _write_records(folder: Path, records: list[Record]) -> None:
    folder.mkdir(parents=True)
    (folder / "records.jsonl").write_text("".join(record.to_line() + "\n" for record in records))
