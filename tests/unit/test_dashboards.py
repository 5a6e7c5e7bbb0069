"""Dashboards: what is checked in is what the code makes, and Grafana's own models know every key of it."""

import json
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins

from orchestrator.telemetry.dashboards import dashboards, text
from orchestrator.telemetry.families import families
from orchestrator.telemetry.observe import CONFIGURATION

with warnings.catch_warnings():
    # The model of the second schema is recommended; files by the first are provisioned by every Grafana from 10 on.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.models.dashboard import Dashboard

register_default_plugins()  # the models of each kind of panel and of Prometheus' queries
MADE = dashboards()
PANELS = [(uid, panel) for uid, made in MADE.items() for panel in made["panels"]]
# Keys of an annotation that are the Prometheus data source's own, and so not in the model of all dashboards.
PROMETHEUS_OWN = ("titleFormat", "textFormat", "tagKeys")
SUFFIXES = ("", "_total", "_info", "_bucket", "_sum", "_count")

on_every_dashboard = pytest.mark.parametrize("uid", sorted(MADE))
on_every_panel = pytest.mark.parametrize(
    ("uid", "panel"), PANELS, ids=[f"{uid}-{panel['id']}" for uid, panel in PANELS]
)


def expressions(made: dict[str, Any]) -> Iterator[str]:
    yield from (target["expr"] for panel in made["panels"] for target in panel["targets"])
    yield from (annotation["target"]["expr"] for annotation in made["annotations"]["list"])


def lost(given: Any, kept: Any, path: str = "") -> Iterator[str]:
    """What a round trip through Grafana's models dropped or changed."""
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key not in kept:
                if value is not None:
                    yield f"{path}/{key} dropped"
            else:
                yield from lost(value, kept[key], f"{path}/{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (value, other) in enumerate(zip(given, kept, strict=True)):
            yield from lost(value, other, f"{path}/{number}")
    elif given != kept:
        yield f"{path}: {given!r} became {kept!r}"


def round_trip(made: dict[str, Any]) -> Any:
    return json.loads(JSONEncoder().encode(Dashboard.from_json(made)))


@on_every_dashboard
def test_the_file_that_is_provisioned_is_what_the_code_makes(uid: str) -> None:
    file = CONFIGURATION / "grafana" / "dashboards" / f"{uid}.json"
    assert file.read_text() == text(MADE[uid]), "write them anew: python -m orchestrator.telemetry.dashboards"


def test_no_other_file_is_provisioned() -> None:
    assert {path.stem for path in (CONFIGURATION / "grafana" / "dashboards").iterdir()} == set(MADE)


@on_every_dashboard
def test_grafana_s_own_model_keeps_every_key_and_value(uid: str) -> None:
    made = json.loads(text(MADE[uid]))
    for annotation in made["annotations"]["list"]:
        for key in PROMETHEUS_OWN:
            annotation.pop(key)
    assert list(lost(made, round_trip(made))) == []


def test_the_round_trip_notices_a_key_that_grafana_does_not_know() -> None:
    made = json.loads(text(MADE["edgebed-overview"]))
    made["panels"][0]["titles"] = "x"
    made["panels"][1]["options"]["colourMode"] = "value"
    made["panels"][2]["targets"][0]["instantly"] = True
    assert list(lost(made, round_trip(made))) == [
        "/panels/0/titles dropped",
        "/panels/1/options/colourMode dropped",
        "/panels/2/targets/0/instantly dropped",
    ]


@on_every_panel
def test_a_panel_has_a_title_a_unit_and_a_description_and_names_the_datasource_variable(
    uid: str, panel: dict[str, Any]
) -> None:
    assert panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
    assert panel["description"].endswith(".")
    assert {each["datasource"]["uid"] for each in (panel, *panel["targets"])} == {"${datasource}"}


@on_every_dashboard
def test_a_dashboard_can_be_provisioned_as_it_is(uid: str) -> None:
    made = MADE[uid]
    assert made["uid"] == uid and made["id"] is None and made["editable"] is False
    assert "__inputs" not in made and "${DS_" not in text(made)
    assert [variable["name"] for variable in made["templating"]["list"]] == ["datasource", "run"]


@on_every_dashboard
def test_rates_are_taken_over_the_interval_that_grafana_chooses(uid: str) -> None:
    for expression in expressions(MADE[uid]):
        for function, window in re.findall(r"(\w+)\([^()]*\[([^\]]+)\]", expression):
            assert window == ("$__rate_interval" if function in ("rate", "increase") else "$__range"), expression


@on_every_dashboard
def test_only_metrics_that_are_exported_are_asked_for(uid: str) -> None:
    known = {family.name + suffix for family in families().values() for suffix in SUFFIXES}
    asked = {name for expression in expressions(MADE[uid]) for name in re.findall(r"edgebed_\w+", expression)}
    assert asked <= known


@on_every_dashboard
def test_panels_lie_beside_and_below_each_other(uid: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in MADE[uid]["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken and place["x"] + place["w"] <= 24
        taken |= cells
