"""The live endpoint: what a scraper reads is what was recorded, on loopback, and gone with the run."""

from collections.abc import Iterator
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from node_image.records import METRICS, Record
from orchestrator.telemetry import prometheus
from orchestrator.telemetry.prometheus import Endpoint, serving
from tests.plans import star


def scraped(url: str) -> dict[str, float]:
    """Every sample: name and labels as one text, empty labels left out."""
    request = Request(url, headers={"Accept": "application/openmetrics-text"})
    with urlopen(request, timeout=5) as answer:
        text = answer.read().decode()
    found = {}
    for family in text_string_to_metric_families(text):  # type: ignore[no-untyped-call]  # the library has no types
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()) if value)
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serving(star(2), "run-1") as found:
        yield found


def test_every_metric_can_be_recorded_and_read_back_as_openmetrics(endpoint: Endpoint) -> None:
    for name in METRICS:
        endpoint.add("d-1", Record(1.0, name, 1.0))
    found = scraped(endpoint.url)
    assert len([name for name in found if "node=d-1" in name and "_bucket" not in name]) >= len(METRICS)


def test_counters_add_up_gauges_replace_and_samples_are_counted(endpoint: Endpoint) -> None:
    for value in (100.0, 50.0):
        endpoint.add("d-1", Record(1.0, "sent_payload_bytes", value, {"kind": "update", "peer": "coordinator"}))
        endpoint.add("coordinator", Record(1.0, "test_accuracy", value / 100, {"split": "global"}))
        endpoint.add("d-1", Record(1.0, "local_step_s", value / 1000))
    found = scraped(endpoint.url)
    assert found["edgebed_sent_payload_bytes_total{kind=update,node=d-1}"] == 150
    assert found["edgebed_test_accuracy_ratio{node=coordinator,split=global}"] == 0.5
    assert found["edgebed_local_step_seconds_count{node=d-1}"] == 2
    assert found["edgebed_local_step_seconds_sum{node=d-1}"] == pytest.approx(0.15)


def test_it_listens_on_loopback_alone_and_stops_with_the_run() -> None:
    with serving(star(1), "run-2") as endpoint:
        assert endpoint.url.startswith("http://127.0.0.1:")
        url = endpoint.url
    with pytest.raises(URLError):
        scraped(url)


def test_what_would_pass_the_bound_of_series_is_counted_and_left_out(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus, "LARGEST_SERIES", 3)
    for number in range(5):
        endpoint.add(f"d-{number}", Record(1.0, "round", 1.0))
    found = scraped(endpoint.url)
    assert found["edgebed_records_not_exported_total{}"] == 2
    assert "edgebed_round{node=d-4}" not in found
