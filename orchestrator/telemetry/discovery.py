"""Where Prometheus finds runs: each live run has a small file in a folder that Prometheus watches (`file_sd`).

The folder belongs to a user and not to a checkout: `$EDGEBED_STATE`, or `edgebed` in XDG's state folder. A file is
named after its run and process, so that one left by a run that was killed is known by its process being gone.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

WATCHER = "observe.pid"  # process and port of the Prometheus that watches


def state_folder() -> Path:
    """`$EDGEBED_STATE`, else `$XDG_STATE_HOME/edgebed`, else `~/.local/state/edgebed`. OSError: there is no home."""
    if own := os.environ.get("EDGEBED_STATE"):
        return Path(own).resolve()
    if state := os.environ.get("XDG_STATE_HOME"):
        return Path(state) / "edgebed"
    try:
        return Path.home() / ".local" / "state" / "edgebed"
    except RuntimeError as error:
        raise OSError(f"no home folder: {error}; set EDGEBED_STATE") from error


def run_name(directory: Path) -> str:
    """The label `run`: the path below the last folder called `runs`, else the folder's own name."""
    parts = directory.resolve().parts
    if "runs" in parts[:-1]:
        last = len(parts) - 1 - parts[::-1].index("runs", 1)
        return "/".join(parts[last + 1 :])
    return parts[-1]


@contextmanager
def announced(run: str, run_id: str, address: str, folder: Path | None = None) -> Iterator[Path]:
    """The file of one run, for as long as the block lasts; `address` is host:port of its endpoint.

    `instance` is the run's name too, so that a run replayed later has the same series as when it was scraped.
    """
    targets = (folder or state_folder()) / "targets"
    targets.mkdir(mode=0o700, parents=True, exist_ok=True)
    sweep(targets)
    path = targets / f"{run_id}.{os.getpid()}.json"
    _write(path, [{"targets": [address], "labels": {"run": run, "instance": run}}])
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def sweep(targets: Path) -> list[Path]:
    """Remove the files of runs whose process is gone; returns them."""
    gone = []
    for path in targets.glob("*.*.json"):
        pid = path.name.split(".")[-2]
        if pid.isdigit() and not alive(int(pid)):
            path.unlink(missing_ok=True)
            gone.append(path)
    return gone


def watching_port(folder: Path | None = None) -> int | None:
    """The port of the Prometheus of ours (`edgebed observe`) that watches the targets now; None where none does."""
    try:
        pid, port = (folder or state_folder()).joinpath(WATCHER).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return None
    return int(port) if alive(int(pid)) else None


def alive(pid: int) -> bool:
    """Whether a process of that number is there."""
    return Path(f"/proc/{pid}").exists()


def _write(path: Path, content: list[dict[str, object]]) -> None:
    scratch = path.with_suffix(".new")
    scratch.write_text(json.dumps(content), encoding="utf-8")
    scratch.replace(path)
