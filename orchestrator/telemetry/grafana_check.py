"""The contract with a Grafana: all that `edgebed grafana` needs of one, tried on scratch names and removed again."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from orchestrator.telemetry.dashboards import dashboards
from orchestrator.telemetry.grafana import Grafana, GrafanaError, Stretch

CONFLICT = 412


@dataclass(frozen=True)
class Tried:
    """One promise and what came of it; `problem` empty: it holds."""

    what: str
    problem: str = ""


def check(grafana: Grafana, prometheus_url: str) -> Iterator[Tried]:
    """Try everything, if it answers at all; what was made is removed, whatever happened."""
    mark = f"edgebed-check-{secrets.token_hex(4)}"
    made: list[tuple[str, str | int]] = []

    def folder() -> str:
        grafana.ensure_folder(mark, mark)
        made.append(("folder", mark))
        return ""

    def datasource() -> str:
        new = grafana.ensure_datasource(prometheus_url, mark)
        made.append(("data source", mark))
        return "" if new and not grafana.ensure_datasource(prometheus_url, mark) else "is not found again"

    def pushed(dashboard: dict[str, Any]) -> str:
        grafana.push(dashboard, mark)
        made.append(("dashboard", dashboard["uid"]))
        return _changed(dashboard, grafana.dashboard(dashboard["uid"]))

    def annotated() -> str:
        number = grafana.annotate(Stretch(1.0, 2.0, "a check", ("edgebed", mark)))
        made.append(("annotation", number))
        found = grafana.annotations(("edgebed", mark))
        return "" if [each["id"] for each in found] == [number] else f"found {len(found)} by its tags, and not this one"

    first = _try("answers, and is new enough", lambda: str(grafana.version() and ""))
    yield first
    if first.problem:
        return  # the rest would say the same once more each
    try:
        yield _try("a data source can be made and is found", datasource)
        yield _try("a folder can be made", folder)
        copies = [{**made_, "uid": f"{mark}-{n}", "tags": [mark]} for n, made_ in enumerate(dashboards().values())]
        for copy in copies:
            yield _try(f"dashboard {copy['title']!r} comes back as it went", partial(pushed, copy))
        yield _try("dashboards are found by their tag", lambda: _difference(copies, grafana.tagged(mark)))
        conflict = "a dashboard that has changed meanwhile is not overwritten unasked"
        yield _try(conflict, lambda: _conflict(grafana, copies[0], mark))
        yield _try("an annotation can be made and is found by its tags", annotated)
    finally:
        for what, name in reversed(made):
            with suppress(GrafanaError):
                grafana.remove(what, name)
    yield _try("what was made for this is gone", lambda: " ".join(sorted(grafana.tagged(mark))))


def _try(what: str, promise: Callable[[], str]) -> Tried:
    try:
        return Tried(what, promise())
    except GrafanaError as error:
        return Tried(what, str(error))


def _changed(sent: dict[str, Any], found: dict[str, Any]) -> str:
    """What Grafana changed of a dashboard: titles, queries and variables must be as they were sent."""
    for key in ("uid", "title", "description", "tags"):
        if found.get(key) != sent[key]:
            return f"{key} is {found.get(key)!r}, not {sent[key]!r}"
    asked, got = (
        [[target["expr"] for target in panel.get("targets", ())] for panel in dashboard.get("panels", ())]
        for dashboard in (sent, found)
    )
    return "" if asked == got else "its panels ask other questions than those that were sent"


def _difference(copies: list[dict[str, Any]], found: set[str]) -> str:
    missing = sorted({copy["uid"] for copy in copies} - found)
    return f"missing: {', '.join(missing)}" if missing else ""


def _conflict(grafana: Grafana, dashboard: dict[str, Any], folder: str) -> str:
    try:
        grafana.push({**dashboard, "version": 0}, folder, overwrite=False)
    except GrafanaError as error:
        return "" if error.status == CONFLICT else str(error)
    return "an older version of it was taken"
