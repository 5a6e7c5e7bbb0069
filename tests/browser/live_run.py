"""A recorded run with all that the live page shows: a star, links with counters, a dropout that is begun and healed."""

import json
from pathlib import Path
from typing import Any

from node_image.records import Record
from tests.unit.recorded_runs import STOP_AFTER_S, write_run

BEGAN_S, HEALED_S = 60.004, 120.01
SHAPE = {"rate_bps": 2e7, "delay_s": 0.002, "loss": 0.0, "trace": None}


def write_live_run(directory: Path, devices: int = 3, pace: float = 40.0) -> Path:
    """`write_run` with links, events of every node and of the fault, and what the links delivered each 1.8 s."""
    write_run(directory, devices=devices, pace=pace)
    names = [f"pi{index}" for index in range(devices)]
    pairs = [ends for name in names for ends in ((name, "coordinator"), ("coordinator", name))]
    plan = json.loads((directory / "plan.json").read_text())
    plan["switches"] = []
    plan["links"] = [{"id": f"{a}>{b}", "source": a, "target": b, "shape": SHAPE} for a, b in pairs]
    (directory / "plan.json").write_text(json.dumps(plan))
    victims = plan["faults"][0]["nodes"]
    (directory / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in _events(names, victims)))
    with (directory / "records.jsonl").open("a") as file:
        for step in range(1, 101):
            t = step * STOP_AFTER_S / 100
            for source, target in pairs:
                if not ({source, target} & set(victims) and BEGAN_S < t <= HEALED_S):
                    file.write(
                        Record(t, "link_delivered_bytes", 20_000.0 + step, {"link": f"{source}>{target}"}).to_line()
                        + "\n"
                    )
    return directory


def _events(names: list[str], victims: list[str]) -> list[dict[str, Any]]:
    everybody = ["coordinator", *names]
    dropout = {"fault": 0, "kind": "dropout", "nodes": victims, "links": []}
    events: list[dict[str, Any]] = [{"t": 0.0, "event": "node_ready", "node": name} for name in everybody]
    events += [{"t": 0.0, "event": "run_began"}]
    events += [{"t": 0.01, "event": "node_started", "node": name} for name in everybody]
    events += [
        {"t": BEGAN_S, "event": "node_exited", "node": name, "returncode": -9, "asked": True} for name in victims
    ]
    events += [{"t": BEGAN_S, "event": "fault_injected", **dropout, "evidence": "ended by signal 9"}]
    events += [{"t": HEALED_S, "event": "node_started", "node": name} for name in victims]
    events += [{"t": HEALED_S, "event": "fault_healed", **dropout, "evidence": "started again"}]
    events += [{"t": STOP_AFTER_S, "event": "run_ended"}]
    events += [
        {"t": STOP_AFTER_S, "event": "node_exited", "node": name, "returncode": 0, "asked": True} for name in everybody
    ]
    return events
