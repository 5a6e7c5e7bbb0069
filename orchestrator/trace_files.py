"""References to traces: a path in a scenario becomes the file's hash and mean rate, once it has been found playable."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ScenarioError
from orchestrator.links.shape import TraceRef
from orchestrator.links.trace import load_trace

MAX_FILE_BYTES = 64 << 20


@dataclass(frozen=True)
class FoundTrace:
    """A trace as it is on disk now; `mean_bps` over its whole period, for the size of a queue."""

    ref: TraceRef
    mean_bps: float


def find_trace(written: str, folder: Path) -> FoundTrace:
    """Check a trace; a relative path starts at the folder of the file that names it. ValueError says what is wrong."""
    path = (folder / written).resolve()
    try:
        if not path.is_file():
            raise ValueError(f"trace {written}: there is no such file (looked for {path})")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError(f"trace {written}: larger than {MAX_FILE_BYTES >> 20} MiB")
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        ref = TraceRef(str(path), sha256, "csv" if ".csv" in path.suffixes else "mahimahi")
        return FoundTrace(ref, load_trace(ref).mean_bps)
    except ScenarioError as error:
        raise ValueError(f"trace {written}: {error}") from error
    except OSError as error:
        raise ValueError(f"trace {written}: cannot read it: {error.strerror or error}") from error
