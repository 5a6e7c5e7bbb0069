"""The janitor: outlives an orchestrator that was killed, and removes what its journal lists.

`python -m orchestrator.janitor RUN_DIRECTORY`, started by the run with a pipe on stdin. End of file there means that
the orchestrator is gone (it ended, or was killed -9: the kernel closes its pipes); the janitor then cleans what is
still in the journal, most often nothing, and ends. It takes no signals from the terminal (own session) and imports
the standard library only, unless containers are left, so it costs a few milliseconds and megabytes.
"""

import os
import sys
import time
from pathlib import Path

from orchestrator import journal
from orchestrator.errors import EdgebedError


def main() -> None:
    """Wait for the end of the orchestrator, then clean this run."""
    directory = Path(sys.argv[1])
    while os.read(0, 4096):
        pass
    journal.wait_for_end(directory)  # a dying process closes its files one by one: the pipe may go before the lock
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            left = journal.clean(directory)
        except (EdgebedError, OSError):
            left = [journal.Leftover(directory, "cgroup", "")]
        if not left:
            return
        time.sleep(0.05)


if __name__ == "__main__":
    main()
