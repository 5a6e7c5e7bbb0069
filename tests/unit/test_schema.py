"""The JSON Schema that editors use: as it is on disk, and of one mind with the reader."""

import json
from pathlib import Path

import jsonschema
import pytest

from orchestrator.presets import SHIPPED
from orchestrator.scenario import dump_resolved, load_scenario
from orchestrator.schema import PATH, schema_text
from orchestrator.yaml_loader import parse_yaml, read_yaml

VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema_text()))
SCENARIOS = sorted(SHIPPED.glob("*.yaml"))


def test_the_file_is_up_to_date() -> None:
    assert PATH.read_text(encoding="utf-8") == schema_text(), "run: python -m orchestrator.schema"


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_shipped_scenarios_are_valid_as_written_and_resolved(path: Path) -> None:
    VALIDATOR.validate(read_yaml(path).data)
    VALIDATOR.validate(parse_yaml(dump_resolved(load_scenario(path)).encode(), "resolved").data)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_shipped_scenarios_name_the_schema_for_editors(path: Path) -> None:
    assert path.read_text().startswith("# yaml-language-server: $schema=reference/scenario.schema.json\n")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("stop_after", 300),
        ("seed", -1),
        ("colour", "red"),
        ("topology", {"kind": "star", "gateways": 2}),
        ("topology", {"kind": "random_geometric", "area": "100"}),
        ("faults", [{"kind": "nap", "at": "1 s"}]),
        ("faults", [{"kind": "dropout", "at": "1 s", "by": "magic", "all": True}]),
        ("learning", {"task": "digits", "model": "mlp", "algorithm": {"name": "fedavg", "mixing": 1}}),
        ("learning", {"task": "digits", "model": "mlp", "algorithm": "fedavgg"}),
        ("learning", {"task": {"name": "digits", "partition": {"kind": "iid", "alpha": 1}}, "model": "mlp"}),
    ],
)
def test_what_the_reader_refuses_an_editor_marks(part: str, value: object) -> None:
    smoke = read_yaml(SHIPPED / "smoke.yaml").data
    assert VALIDATOR.is_valid(smoke)
    assert not VALIDATOR.is_valid({**smoke, part: value})


def test_editors_are_offered_the_names_of_presets() -> None:
    names = json.loads(schema_text())["$defs"]["DeviceGroup"]["properties"]["link"]["anyOf"][0]["examples"]
    assert "lte" in names
