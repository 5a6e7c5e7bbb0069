"""Old runs put into our Prometheus: `promtool` makes blocks of their OpenMetrics text, which it reads like its own."""

import json
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.command import run as run_command
from orchestrator.errors import EdgebedError, RunBrokeError, UsageError
from orchestrator.telemetry.discovery import run_name, watching_port
from orchestrator.telemetry.observe import need, prepare
from orchestrator.telemetry.openmetrics import export
from orchestrator.telemetry.outlet import LOOPBACK

BLOCKS_WITHIN_S = 90.0  # a running Prometheus looks for new blocks once a minute
PROMTOOL_WITHIN_S = 600.0
ANSWER_WITHIN_S = 30.0


def replay(directories: Sequence[Path], folder: Path, began_unix_s: float | None = None) -> list[str]:
    """Put finished runs into the Prometheus of `folder`; returns their labels. Seen at once where it is not running.

    UsageError: it has one of them already (twice would be two truths in one series). With `began_unix_s` all of them
    begin then.
    """
    promtool = need("promtool")
    prepare(folder)
    for directory in directories:
        if _has(promtool, folder, run_name(directory)):
            raise UsageError(f"Prometheus has {run_name(directory)} already, as scraped or from an earlier replay")
    runs = []
    for directory in directories:
        with tempfile.TemporaryDirectory(dir=folder, prefix="replay-") as scratch:
            text, blocks = Path(scratch, "run.om"), Path(scratch, "blocks")
            with text.open("w", encoding="utf-8") as file:
                runs.append(export(directory, file, began_unix_s=began_unix_s).run)
            argv = (promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(blocks))
            ran = run_command(argv, PROMTOOL_WITHIN_S)
            if ran.returncode != 0:
                raise RunBrokeError(f"promtool could not take {directory} in: {ran.output[-500:]}")
            for block in blocks.iterdir():
                block.rename(folder / "data" / block.name)
    return runs


def wait_for(runs: Sequence[str], port: int, within_s: float = BLOCKS_WITHIN_S) -> bool:
    """Wait until a running Prometheus shows replayed runs; whether it does."""
    deadline = time.monotonic() + within_s
    missing = list(runs)
    while missing and time.monotonic() < deadline:
        missing = [run for run in missing if not _series(port, run)]
        time.sleep(0.5 if missing else 0.0)
    return not missing


def _has(promtool: str, folder: Path, run: str) -> bool:
    port = watching_port(folder)
    if port is not None:
        return _series(port, run)
    if not any((folder / "data").iterdir()):
        return False
    match = f'--match={{__name__="edgebed_run_info",run={json.dumps(run)}}}'
    ran = run_command((promtool, "tsdb", "dump", match, str(folder / "data")), PROMTOOL_WITHIN_S)
    return ran.returncode == 0 and "edgebed_run_info" in ran.output


def _series(port: int, run: str) -> bool:
    """Whether a run has a series at any time."""
    match = {"match[]": f"edgebed_run_info{{run={json.dumps(run)}}}", "start": "0"}
    return bool(ask(port, "series", match))


def ask(port: int, what: str, about: Mapping[str, str]) -> Any:
    """The data of an answer of Prometheus' HTTP API: `query`, `query_range`, `series` ... on our own port."""
    url = f"http://{LOOPBACK}:{port}/api/v1/{what}?{urllib.parse.urlencode(about)}"
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN_S) as answer:
            return json.load(answer)["data"]
    except OSError as error:
        raise EdgebedError(f"the Prometheus at {LOOPBACK}:{port} did not answer {url}: {error}") from error
