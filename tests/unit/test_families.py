"""The names of metrics: Prometheus' conventions, one family for each record, and the page that lists them."""

import re

import pytest

from node_image.records import METRICS
from orchestrator.telemetry.families import families, shown
from orchestrator.telemetry.reference import PAGE, with_table

FAMILIES = families()


def test_every_record_has_a_family_of_its_kind() -> None:
    kinds = {"counter": "counter", "gauge": "gauge", "sample": "histogram"}
    for name, metric in METRICS.items():
        assert FAMILIES[shown(name).family].kind == kinds[metric.kind], name


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_a_name_ends_with_its_unit_and_says_no_kind(name: str) -> None:
    family = FAMILIES[name]
    assert re.fullmatch(r"edgebed_[a-z_]+", name)
    assert name.endswith(f"_{family.unit}") if family.unit else True
    assert not re.search(r"_(total|info|counter|gauge|bits|ms|milliseconds|s)$", name)
    assert family.help and family.source
    assert (family.kind == "histogram") == bool(family.buckets)


def test_no_label_grows_without_bound() -> None:
    assert not {label for family in FAMILIES.values() for label in family.labels} & {"peer", "round", "epoch", "t"}


def test_the_page_lists_them_as_they_are() -> None:
    page = PAGE.read_text()
    assert with_table(page) == page, "write it anew: python -m orchestrator.telemetry.reference"
