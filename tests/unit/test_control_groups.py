"""Control groups on a kernel with v2 alone, whose topmost group hands on no controllers: a faked tree of mounts."""

import os
from pathlib import Path

import pytest

from orchestrator import doctor
from orchestrator.errors import MachineCannotError
from orchestrator.journal import Journal
from orchestrator.substrates.control_groups import ControlGroup, Mounts, find_mounts, lacking


def tree(folder: Path, controllers: str = "cpuset cpu io memory pids", handed_on: str = "") -> Mounts:
    """What a kernel shows at /sys/fs/cgroup, and the line of /proc/mounts."""
    root = folder / "cgroup"
    root.mkdir()
    (root / "cgroup.controllers").write_text(f"{controllers}\n")
    (root / "cgroup.subtree_control").write_text(f"{handed_on}\n")
    (root / "cgroup.procs").write_text("1\n")
    (folder / "mounts").write_text(f"none {root} cgroup2 rw,relatime 0 0\n")
    return find_mounts(folder / "mounts")


def make(mounts: Mounts, folder: Path) -> None:
    with Journal(folder) as journal:
        ControlGroup(mounts, "run", "node", journal).make()


def test_controllers_that_the_topmost_group_does_not_hand_on_are_enabled(tmp_path: Path) -> None:
    mounts = tree(tmp_path, handed_on="cpuset io memory")
    assert lacking(mounts) == []
    make(mounts, tmp_path)
    assert (mounts.v2 / "cgroup.subtree_control").read_text() == "+cpu +pids", "those that it lacks, no others"
    assert (mounts.v2 / "edgebed-run" / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (mounts.v2 / "edgebed-run" / "node").is_dir()


def test_what_is_enabled_already_is_left_alone(tmp_path: Path) -> None:
    mounts = tree(tmp_path, handed_on="cpu memory pids")
    make(mounts, tmp_path)
    assert (mounts.v2 / "cgroup.subtree_control").read_text() == "cpu memory pids\n"


def test_only_what_v1_has_not_taken_is_asked_of_v2(tmp_path: Path) -> None:
    v2 = tree(tmp_path, controllers="memory").v2
    v1 = tmp_path / "cpu"
    v1.mkdir()
    mounts = Mounts(v2, v1, None, None, v1)
    assert lacking(mounts) == []
    make(mounts, tmp_path)
    assert (v2 / "cgroup.subtree_control").read_text() == "+memory"


def test_a_controller_that_the_kernel_does_not_offer_is_told_before_anything_is_made(tmp_path: Path) -> None:
    mounts = tree(tmp_path, controllers="cpuset cpu io")
    (problem,) = lacking(mounts)
    assert "have no memory controller (cgroup.controllers: cpuset cpu io)" in problem
    assert "cgroup_disable=memory" in problem
    with pytest.raises(MachineCannotError, match="Delegate=yes"):
        make(mounts, tmp_path)
    assert not (mounts.v2 / "edgebed-run").exists()


def test_a_group_below_the_topmost_with_processes_in_it_cannot_hand_on(tmp_path: Path) -> None:
    mounts = tree(tmp_path)
    (mounts.v2 / "cgroup.type").write_text("domain\n")  # the kernel's topmost group has no such file
    (problem,) = lacking(mounts)
    assert "has processes in it" in problem
    assert f"mkdir {mounts.v2}/init" in problem


def test_a_file_that_may_not_be_written_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tree(tmp_path)
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere but on a read-only mount
    (problem,) = lacking(mounts)
    assert f"echo '+cpu +memory +pids' > {mounts.v2}/cgroup.subtree_control" in problem


def test_a_kernel_that_refuses_after_all_is_an_error_with_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = tree(tmp_path)

    def refuse(path: Path, text: str) -> int:
        raise OSError(16, "Device or resource busy")

    monkeypatch.setattr(Path, "write_text", refuse)
    with pytest.raises(
        MachineCannotError, match=r"does not take '\+cpu \+memory \+pids': Device or resource busy; .*echo"
    ):
        make(mounts, tmp_path)


def test_the_doctor_tells_it_too(tmp_path: Path) -> None:
    root = tree(tmp_path).v2
    mountinfo = f"31 29 0:27 / {root} rw - cgroup2 none rw\n"
    assert doctor.control_groups(mountinfo).status == "ok", "a run enables them"
    (root / "cgroup.type").write_text("domain\n")
    check = doctor.control_groups(mountinfo)
    assert check.status == "fail"
    assert "has processes in it" in check.found
    assert "mkdir" in check.remedy
