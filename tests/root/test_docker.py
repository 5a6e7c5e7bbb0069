"""Nodes in containers: what they may do, what they share a run with, and that nothing of them outlives it."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_image.plugins import loaded
from node_image.spec import Chosen
from orchestrator import journal
from orchestrator.hosts.container import IMAGE, RUN_LABEL, USER, client_of, engine_address
from orchestrator.journal import Journal
from orchestrator.keys import RunKeys
from orchestrator.links.shape import LinkShape
from orchestrator.outcome import RunOptions
from orchestrator.plan import DirectedLink, HostKind, Plan
from orchestrator.run import execute
from orchestrator.substrates.calibration import Calibration
from orchestrator.substrates.mininet import MininetSubstrate
from orchestrator.substrates.mininet_links import MininetLinks
from orchestrator.terminal import QuietDisplay
from tests import own_plugin
from tests.contract.worlds import Ran, run_in
from tests.host import host_state
from tests.plans import star
from tests.root.test_no_leaks import SCENARIO, said, wait_for

pytestmark = [pytest.mark.root, pytest.mark.docker, pytest.mark.timeout(120)]


@pytest.fixture
def foreign() -> Iterator[str]:
    """A container of somebody else's, with a name and a label much like ours."""
    with client_of(engine_address()) as client:
        made = client.create_container(IMAGE, name="edgebed-not-ours", labels={"edgebed": "run"})
        yield made["Id"]
        client.remove_container(made["Id"])


KEYS = RunKeys("test")


def substrate_of(plan: Plan, directory: Path, shaper: str = "delay_line") -> MininetSubstrate:
    return MininetSubstrate(plan, directory, KEYS, shaper, Calibration(), "container")


def status_of(pid: int) -> dict[str, str]:
    """The kernel's own words about a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def test_a_container_may_do_nothing_but_compute_and_speak_on_its_link(tmp_path: Path) -> None:
    async def look() -> tuple[dict[str, Any], list[dict[str, str]], str]:
        substrate = substrate_of(star(1), tmp_path)
        async with substrate:
            placed = substrate._placed["d-1"]
            with client_of(engine_address()) as client:
                (found,) = client.containers(filters={"label": [f"{RUN_LABEL}=test", "edgebed.node=d-1"]})
                said = client.inspect_container(found["Id"])
            mounts = Path(f"/proc/{placed.netns_pid}/mounts").read_text()
            return said, [status_of(pid) for pid in placed.group.pids()], mounts

    said, processes, mounts = asyncio.run(look())
    assert len(processes) == 2, "init and the node"
    for status in processes:
        assert {status[f"Cap{kind}"] for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        assert set(status["Uid"].split()) == {str(USER)}
    host = said["HostConfig"]
    assert not host["Privileged"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert host["Memory"] == 1 << 30
    assert host["CpuQuota"] > 0
    assert host["PidsLimit"] > 0
    assert host["RestartPolicy"]["Name"] in ("", "no")
    assert host["Init"]
    (root,) = [line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/"]
    assert "ro" in root.split(",")
    assert "docker.sock" not in mounts
    writable = [each["Destination"] for each in said["Mounts"] if each["RW"]]
    assert writable == ["/run/edgebed/state"]
    key = str(KEYS.new_life(star(1).nodes[1].spec)["listening"])
    assert key not in json.dumps(said), "the node's key is on no command line and in no environment"


def test_a_run_may_mix_processes_and_containers(tmp_path: Path) -> None:
    plan = star(3, stop_after_s=4.0)
    hosts: dict[str, HostKind] = {"coordinator": "process", "d-1": "container", "d-2": "process", "d-3": "container"}
    nodes = tuple(replace(node, host=hosts[node.name]) for node in plan.nodes)
    ran = run_in("mininet", replace(plan, nodes=nodes), tmp_path / "run", probe=True)
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    assert json.loads((ran.directory / "environment.json").read_text())["containers"]["image"].startswith("sha256:")
    receipt = json.loads((ran.directory / "receipt.json").read_text())
    assert any(check["what"] == "rtt_s" for check in receipt["checks"]), receipt["checks"]
    for device in ("d-1", "d-2", "d-3"):
        assert ran.records(device, "sent_payload_bytes"), device


def test_a_plug_in_is_brought_into_containers_and_its_mistake_comes_back_with_its_line(tmp_path: Path) -> None:
    path = own_plugin.write(tmp_path)
    plan = star(2, stop_after_s=8.0, algorithm=Chosen("own", {"local_steps": 10}))
    with loaded([path]) as plugins:
        options = RunOptions(out=tmp_path / "run", substrate="docker", probe=False, keep="always", plugins=plugins)
        ran = Ran(execute(plan, "name: test\n", options, QuietDisplay()))
    own_plugin.check(ran, path)


def unshaped(*_: object, **__: object) -> tuple[tuple[str, ...], ...]:
    return ()


def as_asked(*_: object, **__: object) -> list[str]:
    return []


def test_a_container_that_comes_back_is_on_its_kernel_links_again(tmp_path: Path) -> None:
    """With Mininet's own links its devices move from the old namespace to the new; shapes need netem, left out here."""
    plan = star(2)
    pairs = [("d-1", "coordinator"), ("d-2", "coordinator")]
    links = tuple(
        DirectedLink(f"{a}>{b}", a, b, LinkShape(), 0) for one, two in pairs for a, b in ((one, two), (two, one))
    )
    plan = replace(plan, links=links)

    async def pings() -> list[int]:
        substrate = substrate_of(plan, tmp_path, "netem")
        substrate._network = MininetLinks(1.0, unshaped, as_asked)
        async with substrate:
            await asyncio.gather(*(substrate.start(node) for node in plan.nodes))
            await substrate.kill(plan.nodes[1])
            await substrate.start(plan.nodes[1])
            answered = []
            for source, target in ((1, 2), (2, 1), (0, 1)):
                listen = {"do": "probe", "role": "listen", "seconds": 1.0}
                listening = asyncio.ensure_future(substrate.ask(plan.nodes[target], listen))
                await asyncio.sleep(0.2)
                ping = {"do": "probe", "role": "ping", "to": plan.nodes[target].address, "count": 2}
                answered.append(len((await substrate.ask(plan.nodes[source], ping))["rtt_s"]))
                await listening
            return answered

    assert asyncio.run(pings()) == [2, 2, 2]


@pytest.mark.parametrize("moment", ["run", "run_began"])
def test_kill_minus_9_of_the_orchestrator_leaves_no_container_and_touches_no_other(
    moment: str, foreign: str, tmp_path: Path
) -> None:
    before = host_state(tmp_path)
    scenario = tmp_path / "short.yaml"
    scenario.write_text(SCENARIO)
    argv = [sys.executable, "-m", "orchestrator", "run", str(scenario), "--out", str(tmp_path / "run")]
    with subprocess.Popen(
        [*argv, "--substrate", "docker"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as run:
        if moment == "run":
            made = tmp_path / "run" / "resources.jsonl"
            wait_for(lambda: made.exists() and "containers" in made.read_text())
        else:
            wait_for(lambda: said(tmp_path, moment), within_s=90.0)
        run.kill()
        run.wait()
    wait_for(lambda: host_state(tmp_path) == before, within_s=30.0)
    with client_of(engine_address()) as client:
        assert client.inspect_container(foreign)["State"]["Status"] == "created"


def test_clean_removes_what_a_dead_run_left_by_its_label_alone(foreign: str, tmp_path: Path) -> None:
    with client_of(engine_address()) as client:
        with Journal(tmp_path) as written:
            written.make("containers", f"{engine_address()} dead-run")
        for run_id in ("dead-run", "living-run"):
            client.create_container(IMAGE, name=f"edgebed-{run_id}-d-1", labels={RUN_LABEL: run_id})
        try:
            (left,) = journal.clean(tmp_path)
            names = {name for each in client.containers(all=True) for name in each["Names"]}
        finally:
            client.remove_container("edgebed-living-run-d-1")
    assert left.kind == "containers"
    assert "/edgebed-dead-run-d-1" not in names
    assert {"/edgebed-living-run-d-1", "/edgebed-not-ours"} <= names
    assert journal.clean(tmp_path) == []
