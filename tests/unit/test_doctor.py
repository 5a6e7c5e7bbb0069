"""The doctor finds what is missing and says how to get it."""

import json
from pathlib import Path

import pytest

from orchestrator import doctor
from orchestrator.cli import main

V1_AND_V2 = """\
30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
31 29 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
32 29 0:28 / /nowhere/unified rw - cgroup2 cgroup2 rw,nsdelegate
"""


def everything_works(argv: tuple[str, ...]) -> tuple[bool, str]:
    return True, ""


def no_netem(argv: tuple[str, ...]) -> tuple[bool, str]:
    return "netem" not in argv, "Error: Specified qdisc kind is unknown."


def test_a_kernel_without_netem_is_found_by_trying(tmp_path: Path) -> None:
    found = doctor.diagnose(no_netem, tmp_path)
    netem = next(check for check in found.checks if check.name == "tc netem")
    assert netem.status == "fail"
    assert "sch_netem" in netem.remedy
    shapers = {shaper.name: shaper for shaper in found.shapers}
    assert not shapers["netem"].works
    assert "tc netem" in shapers["netem"].lacks


def test_traffic_control_is_tried_in_a_namespace_of_its_own() -> None:
    tried = []

    def attempt(argv: tuple[str, ...]) -> tuple[bool, str]:
        tried.append(argv)
        return True, ""

    assert doctor.traffic_control(attempt).status == "ok"
    assert [argv[:2] for argv in tried] == [("unshare", "--net")]


def test_the_netem_shaper_is_said_to_need_netem_and_no_other_traffic_control(tmp_path: Path) -> None:
    netem = next(each for each in doctor.diagnose(no_netem, tmp_path).shapers if each.name == "netem")
    assert [need for need in netem.lacks if need.startswith("tc ")] == ["tc netem"]


def test_whatever_fails_has_a_remedy(tmp_path: Path) -> None:
    found = doctor.diagnose(lambda argv: (False, "Operation not permitted"), tmp_path)
    without = [check.name for check in found.checks if check.status != "ok" and not check.remedy]
    assert not without


def test_both_versions_of_control_groups_are_seen() -> None:
    check = doctor.control_groups(V1_AND_V2)
    assert check.status == "ok"
    assert "v1: cpu memory" in check.found
    assert "/nowhere/unified" in check.found


def test_control_groups_without_a_memory_controller_do_not_serve() -> None:
    check = doctor.control_groups("30 29 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n")
    assert check.status == "fail"
    assert "memory" in check.found


def test_little_memory_is_a_warning(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  8000000 kB\nMemAvailable:  500000 kB\n")
    assert doctor.memory(meminfo).status == "warn"
    meminfo.write_text("MemTotal:  8000000 kB\nMemAvailable:  7000000 kB\n")
    assert doctor.memory(meminfo).status == "ok"


def test_a_missing_tun_device_is_named(tmp_path: Path) -> None:
    check = doctor.tun(tmp_path / "tun")
    assert check.status == "fail"
    assert "modprobe tun" in check.remedy


def test_what_a_killed_run_left_is_counted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "resources.jsonl").write_text('{"make": "cgroup", "path": "/nowhere/edgebed-x"}\n')
    check = doctor.left_behind(tmp_path)
    assert check.status == "warn"
    assert check.remedy == "edgebed clean"


def test_the_command_speaks_json_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.command.attempt", everything_works)
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert {"name", "works", "lacks"} <= set(found["substrates"][0])
    assert not list(tmp_path.iterdir())


def test_the_answer_comes_before_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.command.attempt", no_netem)
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Substrates: where nodes live"
    simulation = next(index for index, line in enumerate(lines) if line.startswith("✓ simulation"))
    failed = next(index for index, line in enumerate(lines) if line.startswith("✗ tc netem"))
    assert simulation < lines.index("This machine") < failed
    assert "modprobe sch_netem" in lines[failed + 1]
