"""`edgebed serve`: the live page of a run or of a comparison, while it lasts or afterwards."""

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from orchestrator.commands.find import RUNS, find_run
from orchestrator.commands.options import option
from orchestrator.errors import UsageError

TRACES = ("plan.json", "compare.json", "*/plan.json", "nodes", "events.jsonl", "records.jsonl")
port_option = option("--port", type=click.IntRange(0, 65535), help="Port of the page; 0: any free one. [default: 8420]")


@click.command()
@click.argument("run", default="newest")
@port_option
@click.option("--fd", type=int, hidden=True, help="An inherited socket to serve on, until stdin ends.")
def serve(run: str, port: int | None, fd: int | None) -> int:
    """Show a run as a page in the browser, on this machine alone.

    RUN is a path or a name in runs/; the newest run is the default. The page is the same while the run lasts and
    afterwards. Prints its address; Ctrl-C ends it.
    """
    from orchestrator.telemetry.live.beside import listen_here_or_anywhere, url_of
    from orchestrator.telemetry.live.server import serve as serve_page

    if fd is not None:
        with socket.socket(fileno=fd) as inherited:
            serve_page(Path(run), inherited, receipt_rows, beside=True)
        return 0
    folder = _newest() if run == "newest" else _find(run)
    sock, instead = listen_here_or_anywhere(port)
    with sock:
        if instead:
            click.echo(f"edgebed: {instead}", err=True)
        click.echo(f"{folder} at {url_of(sock)}  (Ctrl-C ends it)")
        serve_page(folder, sock, receipt_rows, beside=False)
    return 0


@contextmanager
def serving(folder: Path, port: int | None, warn: Callable[[str], None], tell: Callable[[str], None]) -> Iterator[None]:
    """The page of what is about to run in a folder, for as long as the block lasts; its address is told."""
    from orchestrator.telemetry.live.beside import listen_here_or_anywhere, page_beside, url_of

    sock, instead = listen_here_or_anywhere(port)
    if instead:
        warn(instead)
    tell(f"{url_of(sock)} until the run ends; afterwards: edgebed serve {folder}")
    with page_beside(folder, sock):
        yield


def receipt_rows(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A receipt's checks as rows for people, as the report has them: what was set, what was found."""
    from analysis import receipt

    return [
        {
            "ok": line.ok,
            "what": line.title,
            "where": line.where[0] if len(line.where) == 1 else f"{len(line.where)} of them",
            "set": receipt.asked(line),
            "found": receipt.found(line),
            "error": receipt.error(line),
            "worst": "" if len(line.where) == 1 or line.ok is None else str(line.worst["where"]),
        }
        for line in receipt.lines(checks)
    ]


def _find(name: str) -> Path:
    """A run as other commands find it, or any folder with traces of one: what is left of it can still be shown."""
    for path in (Path(name), RUNS / name):
        if _has_traces(path):
            return path
    return find_run(name)


def _newest() -> Path:
    """The run that began last, also one that lasts or was killed."""
    found = [path for path in RUNS.iterdir() if _has_traces(path)] if RUNS.is_dir() else []
    if not found:
        raise UsageError(f"no runs in {RUNS}/ yet; try: edgebed run smoke --serve")
    return max(found, key=_began)


def _has_traces(path: Path) -> bool:
    return path.is_dir() and any(True for trace in TRACES for _ in path.glob(trace))


def _began(path: Path) -> float:
    plans = [*path.glob("plan.json"), *path.glob("*/plan.json")]
    return max((plan.stat().st_mtime for plan in plans), default=0.0)
