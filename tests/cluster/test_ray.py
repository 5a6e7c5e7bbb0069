"""A sweep on a real Ray cluster of this machine, one of whose two workers is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from orchestrator.cluster import News, _FromThere, on_ray, pack, unpack
from orchestrator.errors import UsageError
from orchestrator.terminal.displays import RunState

ROOT = Path(__file__).parents[2]
SCENARIO = """\
name: swept
stop_after: 2 s
devices: [{group: pi, count: 2, profile: raspberry_pi_4, link: wifi_2g4}]
learning: {task: digits, model: wide, algorithm: {name: fedavg, local_steps: 20}, rule: {name: backprop}}
compare: {algorithm: [fedavg, local_only], seeds: 2}
"""
LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}  # as /proc/net has it
TASK = b"ray::carry_out_there"


def descendants(pid: int) -> set[int]:
    """Processes below one, as far as they live."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = {int(child) for child in task.read_text().split()}
        except (FileNotFoundError, ProcessLookupError):
            continue
        found |= children.union(*map(descendants, children))
    return found


def title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def listening(pids: set[int]) -> set[str]:
    """Addresses (hexadecimal) on which these processes take connections."""
    sockets = set()
    for pid in pids:
        for handle in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                sockets.add(str(handle.readlink()))
            except OSError:
                continue  # it has just been closed
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {row[1].partition(":")[0] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets}


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short: Ray's sockets lie in it."""
    with TemporaryDirectory(prefix="eb-") as folder:
        yield Path(folder)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'edgebed[cluster]'")
def test_every_run_ends_up_here_once_although_a_worker_is_killed(tmp_path: Path, short: Path) -> None:
    (tmp_path / "swept.yaml").write_text(SCENARIO)
    plugin = tmp_path / "wide.py"
    plugin.write_text((ROOT / "orchestrator" / "templates" / "model.py").read_text())
    argv = [sys.executable, "-m", "orchestrator", "sweep", str(tmp_path / "swept.yaml"), "--plugin", str(plugin)]
    argv += ["--on", "ray", "--jobs", "2", "--out", str(tmp_path / "out"), "--json"]
    env = {**os.environ, "TMPDIR": str(short), "HOME": str(tmp_path)}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as sweep:
        seen: set[int] = set()
        victim = None
        while victim is None and sweep.poll() is None:
            time.sleep(0.02)
            victim = next((pid for pid in descendants(sweep.pid) if title(pid).startswith(TASK)), None)
        if victim is not None:
            seen = descendants(sweep.pid)
            addresses = listening(seen)
            os.kill(victim, signal.SIGKILL)
        out, err = sweep.communicate()
    assert victim is not None, err
    assert sweep.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    labels = [f"algorithm={name} seed={seed}" for name in ("fedavg", "local_only") for seed in (1, 2)]
    assert [run["label"] for run in result["runs"]] == labels
    assert [run["exit_code"] for run in result["runs"]] == [0] * 4
    assert sum(len(run["lost"]) for run in result["runs"]) == 1
    folders = [path for path in (tmp_path / "out").iterdir() if path.is_dir()]
    assert len(folders) == 4
    assert all((path / "result.json").is_file() and (path / "plugins" / "wide.py").is_file() for path in folders)
    assert addresses
    assert addresses <= LOOPBACK
    assert not [pid for pid in seen if title(pid)]
    assert not list(short.iterdir())
    assert not (tmp_path / ".ray").exists()


def test_a_run_that_is_away_tells_how_far_it_is_now_and_then_and_every_warning() -> None:
    news = News()

    class Actor:
        class tell:  # as Ray's handle has it
            remote = staticmethod(news.tell)

    display = _FromThere("seed=1", Actor)
    state = RunState(3, 3, 0.5, 10.0, 12.0, None, 1)
    display.phase("learn", "72 s")
    for second in range(100):
        display.progress(float(second), 100.0, state)
    display.warn("one")
    display.warn("two")
    told = news.take()
    assert [event["event"] for _, event in told] == ["phase", "progress", "warning", "warning"]
    assert {label for label, _ in told} == {"seed=1"}
    assert news.take() == []


def test_a_run_directory_comes_home_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "there" / "nodes" / "pi-1").mkdir(parents=True)
    (tmp_path / "there" / "nodes" / "pi-1" / "records.jsonl").write_text("{}\n")
    unpack(pack(tmp_path / "there"), tmp_path / "here")
    assert (tmp_path / "here" / "nodes" / "pi-1" / "records.jsonl").read_text() == "{}\n"
    unpack(pack(tmp_path / "nothing"), tmp_path / "none")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_a_run_directory_that_reaches_outside_is_refused(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "result.json").symlink_to("/etc/passwd")
    with pytest.raises(Exception, match="absolute"):
        unpack(pack(there), tmp_path / "here")
    assert not (tmp_path / "here").exists()


def test_an_address_that_is_none_of_ray_is_refused() -> None:
    with pytest.raises(UsageError, match="write ray://HOST:10001, or ray"):
        on_ray("http://somewhere", None)
