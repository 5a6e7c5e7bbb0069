"""What a dashboard of Grafana is made of, as plain JSON values (the classic model, which Grafana 10 to 13 read).

Every panel has a unit and a description, and names its data source by the variable `datasource`. Panels flow from
left to right over 24 columns, and on to the next line where the present one is full.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = 24
SCHEMA_VERSION = 39
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
ONE_RUN = 'run="$run"'
RUNS = 'run=~"$run"'
GREEN, RED, ORANGE, PURPLE, BLUE = "green", "red", "orange", "purple", "blue"
# What the state of a device or link means, by number.
UP_OR_DOWN = {0: ("down", RED), 1: ("up", GREEN)}
ACTS_OR_NOT = {0: ("", "transparent"), 1: ("acts", ORANGE)}

Json = dict[str, Any]


@dataclass(frozen=True)
class Ask:
    """A query of a panel. `legend` names each series by its labels; `now`: its value at the end of the range alone."""

    expr: str
    legend: str = ""
    now: bool = False
    table: bool = False
    buckets: bool = False  # of a histogram, for a heat map

    def to_json(self, number: int) -> Json:
        """The query as the n-th of its panel."""
        target: Json = {
            "refId": chr(ord("A") + number),
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "instant": self.now,
            "range": not self.now,
            "format": "heatmap" if self.buckets else "table" if self.table else "time_series",
        }
        if self.legend:
            target["legendFormat"] = self.legend
        return target


@dataclass(frozen=True)
class Panel:
    """A panel without its place; `options` and `defaults` are Grafana's `options` and `fieldConfig.defaults`."""

    kind: str
    title: str
    about: str
    unit: str
    asks: tuple[Ask, ...]
    width: int
    height: int
    options: Mapping[str, Any]
    defaults: Mapping[str, Any]
    overrides: tuple[Json, ...] = ()
    transformations: tuple[Json, ...] = ()


def curves(
    title: str,
    about: str,
    unit: str,
    *asks: Ask,
    width: int = 12,
    stacked: bool = False,
    steps: bool = False,
    **axis: float,
) -> Panel:
    """Values over time; `axis`: `min` and `max` of the axis."""
    custom: Json = {
        "drawStyle": "line",
        "fillOpacity": 40 if stacked else 5,
        "lineInterpolation": "stepAfter" if steps else "linear",
        "lineWidth": 1 if stacked else 2,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"group": "A", "mode": "normal" if stacked else "none"},
    }
    options = {
        "legend": {"calcs": ["lastNotNull", "max"], "displayMode": "table", "placement": "right", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    return Panel("timeseries", title, about, unit, asks, width, 8, options, {"custom": custom, **axis})


def figure(title: str, about: str, unit: str, ask: Ask, *, width: int = 4, bad_above: float | None = None) -> Panel:
    """One number; red above `bad_above`."""
    steps: list[Json] = [{"color": GREEN if bad_above is not None else BLUE, "value": None}]
    if bad_above is not None:
        steps.append({"color": RED, "value": bad_above})
    options = {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "textMode": "value",
    }
    defaults = {"thresholds": {"mode": "absolute", "steps": steps}, "noValue": "none"}
    return Panel("stat", title, about, unit, (ask,), width, 4, options, defaults)


def bars(title: str, about: str, unit: str, ask: Ask, *, width: int = 12) -> Panel:
    """One bar a series."""
    options = {
        "displayMode": "basic",
        "minVizHeight": 14,
        "minVizWidth": 8,
        "namePlacement": "auto",
        "orientation": "horizontal",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        "showUnfilled": False,
        "sizing": "auto",
        "valueMode": "color",
    }
    defaults = {"min": 0, "color": {"mode": "palette-classic"}}
    return Panel("bargauge", title, about, unit, (ask,), width, 8, options, defaults)


def states(
    title: str, about: str, ask: Ask, meanings: Mapping[int, tuple[str, str]], *, width: int = 24, height: int = 8
) -> Panel:
    """A state time line: one row a series, coloured by what its number means."""
    mapping = {
        "type": "value",
        "options": {str(value): {"color": color, "index": place, "text": text}
                    for place, (value, (text, color)) in enumerate(meanings.items())},
    }  # fmt: skip
    options = {
        "alignValue": "left",
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "mergeValues": True,
        "rowHeight": 0.8,
        "showValue": "auto",
        "tooltip": {"mode": "single", "sort": "none"},
    }
    defaults = {
        "color": {"mode": "thresholds"},
        "custom": {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False},
        "mappings": [mapping],
        "thresholds": {"mode": "absolute", "steps": [{"color": "transparent", "value": None}]},
    }
    return Panel("state-timeline", title, about, "none", (ask,), width, height, options, defaults)


def heat(title: str, about: str, unit: str, ask: Ask, *, width: int = 12) -> Panel:
    """How values of a histogram are spread, over time."""
    options = {
        "calculate": False,
        "cellGap": 1,
        "color": {"exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": False, "scale": "exponential",
                  "scheme": "Oranges", "steps": 64},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False, "unit": unit},
    }  # fmt: skip
    return Panel("heatmap", title, about, unit, (ask,), width, 8, options, {})


def table(title: str, about: str, columns: Mapping[str, tuple[Ask, str]], *, hide: Sequence[str] = (), width: int = 24,
          height: int = 8) -> Panel:  # fmt: skip
    """Rows by the labels that the queries share; `columns`: name -> (query, unit)."""
    asks = tuple(ask for ask, _ in columns.values())
    names = [f"Value #{chr(ord('A') + number)}" for number in range(len(asks))] if len(asks) > 1 else ["Value"]
    renamed = dict(zip(names, columns, strict=True))
    overrides = tuple(
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, (_, unit) in columns.items()
    )
    organize = {
        "id": "organize",
        "options": {
            "excludeByName": dict.fromkeys(("Time", "__name__", "instance", "job", *hide), True),
            "indexByName": {},
            "renameByName": renamed,
        },
    }
    merge: Json = {"id": "merge", "options": {}}
    options = {
        "cellHeight": "sm",
        "showHeader": True,
        "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
    }
    defaults = {"custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False}}
    return Panel("table", title, about, "none", asks, width, height, options, defaults, overrides, (merge, organize))


def dashboard(uid: str, title: str, about: str, panels: Sequence[Panel], *, several_runs: bool = False) -> Json:
    """A dashboard: fixed uid, variables `datasource` and `run`, faults as annotations."""
    return {
        "id": None,
        "uid": uid,
        "title": f"Edgebed: {title}",
        "description": about,
        "tags": ["edgebed"],
        "editable": False,
        "graphTooltip": 1,
        "links": [_links()],
        "refresh": "5s",
        "schemaVersion": SCHEMA_VERSION,
        "time": {"from": "now-15m", "to": "now"},
        "timepicker": {},
        "timezone": "browser",
        "templating": {"list": [_datasource(), _run(several_runs)]},
        "annotations": {"list": [_faults()]},
        "panels": _placed(panels),
    }


def _placed(panels: Sequence[Panel]) -> list[Json]:
    placed = []
    x = y = highest = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > COLUMNS:
            x, y, highest = 0, y + highest, 0
        position = {"h": panel.height, "w": panel.width, "x": x, "y": y}
        x, highest = x + panel.width, max(highest, panel.height)
        placed.append(_panel(panel, number, position))
    return placed


def _panel(panel: Panel, number: int, position: Json) -> Json:
    found = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "gridPos": position,
        "fieldConfig": {"defaults": {"unit": panel.unit, **panel.defaults}, "overrides": list(panel.overrides)},
        "options": dict(panel.options),
        "targets": [ask.to_json(place) for place, ask in enumerate(panel.asks)],
    }
    if panel.transformations:
        found["transformations"] = list(panel.transformations)
    return found


def _links() -> Json:
    return {
        "asDropdown": False,
        "icon": "external link",
        "includeVars": True,
        "keepTime": True,
        "tags": ["edgebed"],
        "targetBlank": False,
        "title": "Edgebed",
        "tooltip": "",
        "type": "dashboards",
        "url": "",
    }


def _datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "refresh": 1,
        "regex": "",
        "skipUrlSync": False,
    }


def _run(several: bool) -> Json:
    query = "label_values(edgebed_run_info, run)"
    return {
        "name": "run",
        "label": "Runs" if several else "Run",
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "run"},
        "hide": 0,
        "includeAll": several,
        "multi": several,
        "refresh": 2,
        "regex": "",
        "skipUrlSync": False,
        "sort": 2,
    }


def _faults() -> Json:
    """Faults as shaded stretches. The three formats are the Prometheus data source's own keys."""
    return {
        "name": "Faults",
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": ORANGE,
        "target": {"expr": f"edgebed_fault_active{{{RUNS}}} == 1", "interval": "1s", "refId": "Faults"},
        "titleFormat": "{{kind}}",
        "textFormat": "{{target}}",
        "tagKeys": "kind,target",
    }
