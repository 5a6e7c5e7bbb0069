"""A Docker engine for tests: the one that answers, or one of our own that leaves nothing behind.

Ours has a socket, a data root and control groups of its own. It makes no bridge and touches no packet filter: Debian's
engine sets FORWARD to DROP, which would cut off every bridge on the machine.
"""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.hosts.container import engine_address, missing_engine, missing_image
from orchestrator.hosts.image import DEBOOTSTRAP, archive_of, content, load_archive, make_image

UP_WITHIN_S = 60.0
DOWN_WITHIN_S = 20.0
MARK = "edgebed-engine"  # and the pid of the tests that it is for: of folders, and of control groups
GROUPS = f"{MARK}-{os.getpid()}"


def missing() -> list[str]:
    """Why there can be no engine with an image here; empty: there can."""
    if not missing_engine(engine_address()):
        return []
    if shutil.which("dockerd") is None:
        return ["no Docker engine answers and none is installed (apt-get install docker.io)"]
    if not archive_of().is_file() and shutil.which("mmdebstrap") is None:
        return ["there is no image to load, and none can be made (apt-get install mmdebstrap)"]
    return []


@contextmanager
def engine() -> Iterator[None]:
    """An engine that holds the image; DOCKER_HOST names it, also for what the tests start."""
    if not missing_engine(engine_address()):
        _provide_image()
        yield
        return
    _remove_what_the_dead_left()
    with tempfile.TemporaryDirectory(prefix=f"{MARK}-{os.getpid()}-") as name:
        folder = Path(name)
        before = os.environ.get("DOCKER_HOST")
        os.environ["DOCKER_HOST"] = f"unix://{folder}/docker.sock"
        process = _start(folder)
        try:
            _wait_for(process, folder)
            _provide_image()
            yield
        finally:
            _stop(process)
            if before is None:
                del os.environ["DOCKER_HOST"]
            else:
                os.environ["DOCKER_HOST"] = before


def _start(folder: Path) -> "subprocess.Popen[bytes]":
    argv = [
        *["setpriv", "--pdeathsig", "TERM", "dockerd"],  # it ends with the tests, however they end
        *[f"--host=unix://{folder}/docker.sock", f"--data-root={folder}/data", f"--exec-root={folder}/exec"],
        *[f"--pidfile={folder}/pid", f"--cgroup-parent={GROUPS}", "--exec-opt=native.cgroupdriver=cgroupfs"],
        *["--bridge=none", "--iptables=false", "--ip6tables=false"],
    ]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def _wait_for(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while missing := missing_engine(engine_address()):
        if process.poll() is not None or time.monotonic() > deadline:
            words = "\n".join((folder / "log").read_text(errors="replace").splitlines()[-12:])
            raise RuntimeError(f"dockerd did not come up: {missing[0]}\n{words}")
        time.sleep(0.1)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(DOWN_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for mount in _cgroup_mounts():
        if (group := mount / GROUPS).is_dir():
            group.rmdir()


def _remove_what_the_dead_left() -> None:
    """Tests that were killed end their engine with them (it asked for it), but its folder and empty groups stay."""
    for place in (Path(tempfile.gettempdir()), *_cgroup_mounts()):
        for left in place.glob(f"{MARK}-*"):
            if not Path("/proc", left.name.split("-")[2]).exists():
                if place in _cgroup_mounts():
                    left.rmdir()
                else:
                    shutil.rmtree(left)


def _cgroup_mounts() -> list[Path]:
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    return [Path(where) for where, kind in mounts if kind in ("cgroup", "cgroup2")]


def _provide_image() -> None:
    """The image of this node_image: as it is, from the archive of an earlier making, or made now (minutes)."""
    if not missing_image(engine_address(), content()):
        return
    if archive_of().is_file():
        load_archive(archive_of())
    else:
        make_image(DEBOOTSTRAP, lambda step: None)
