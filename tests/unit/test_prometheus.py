"""The live endpoint: what a scraper reads is what was recorded, on loopback, and gone with the run."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as older

from node_image.records import METRICS, Record
from orchestrator.receipt import Check
from orchestrator.telemetry import present
from orchestrator.telemetry.discovery import WATCHER
from orchestrator.telemetry.prometheus import Endpoint, serving
from tests.plans import fault, star

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5"
FACTS = {"substrate": "mininet", "git_rev": "abc"}
PLAN = star(
    2,
    faults=(fault("dropout", 1.0, 2.0, nodes=("d-1",)), fault("flap", 3.0, None, links=("d-2>coordinator",), index=1)),
)


def read(url: str, accept: str) -> str:
    with urlopen(Request(url, headers={"Accept": accept}), timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def scraped(endpoint: Endpoint) -> dict[str, float]:
    """Every sample by name and labels, as the strict parser of the Prometheus project reads it."""
    found = {}
    for family in openmetrics(read(endpoint.url, OPENMETRICS)):  # type: ignore[no-untyped-call]  # it has no types
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEBED_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Endpoint]:
    with serving(PLAN, "1f", tmp_path / "runs" / "first", FACTS) as found:
        assert found is not None
        yield found


def test_every_metric_can_be_recorded_and_read_back_in_both_formats(endpoint: Endpoint) -> None:
    before = len(scraped(endpoint))
    for name in METRICS:
        endpoint.add("d-1", Record(1.0, name, 1.0, {"peer": "d-2", "link": "d-1>coordinator"}))
    assert len(scraped(endpoint)) > before + 30
    for family in older(read(endpoint.url, "text/plain")):
        assert family.documentation and family.type != "unknown"


def test_counters_add_up_gauges_replace_and_samples_are_counted(endpoint: Endpoint) -> None:
    for value in (100.0, 50.0):
        endpoint.add("d-1", Record(1.0, "sent_payload_bytes", value, {"kind": "update", "peer": "coordinator"}))
        endpoint.add("coordinator", Record(1.0, "test_accuracy", value / 100, {"split": "global"}))
        endpoint.add("d-1", Record(1.0, "local_step_s", value / 1000))
    found = scraped(endpoint)
    assert found["edgebed_payload_bytes_total{device=d-1,direction=sent,kind=update}"] == 150
    assert found["edgebed_accuracy_ratio{device=global,split=global}"] == 0.5
    assert found["edgebed_local_step_seconds_count{group=devices}"] == 2
    assert found["edgebed_local_step_seconds_bucket{group=devices,le=0.05}"] == 1
    assert found["edgebed_local_step_seconds_bucket{group=devices,le=+Inf}"] == 2
    assert found["edgebed_local_step_seconds_sum{group=devices}"] == pytest.approx(0.15)


def test_the_final_test_is_the_newest_accuracy_and_no_series_beside_it(endpoint: Endpoint) -> None:
    for split, value in (("global", 0.9), ("own", 0.7), ("final", 0.8)):
        endpoint.add("coordinator", Record(1.0, "test_accuracy", value, {"split": split}))
    found = {name: value for name, value in scraped(endpoint).items() if name.startswith("edgebed_accuracy_ratio")}
    assert found == {
        "edgebed_accuracy_ratio{device=global,split=global}": 0.8,
        "edgebed_accuracy_ratio{device=global,split=own}": 0.7,
    }


def test_a_message_to_many_peers_is_one_series_of_its_device(endpoint: Endpoint) -> None:
    for number in range(50):
        endpoint.add("d-1", Record(1.0, "sent_payload_bytes", 1.0, {"kind": "update", "peer": f"d-{number}"}))
    found = scraped(endpoint)
    assert [value for name, value in found.items() if "kind=update" in name] == [50]


def test_links_have_a_direction_and_the_shape_that_is_set_now(endpoint: Endpoint) -> None:
    endpoint.add(None, Record(1.0, "link_offered_bytes", 10.0, {"link": "d-1>coordinator"}))
    endpoint.add(None, Record(1.0, "link_dropped_packets", 3.0, {"link": "coordinator>d-1", "reason": "loss"}))
    found = scraped(endpoint)
    assert found["edgebed_link_transmit_bytes_total{direction=up,link=d-1>coordinator}"] == 10
    assert found["edgebed_link_drops_total{direction=down,link=coordinator>d-1,reason=loss}"] == 3
    assert found["edgebed_link_rate_limit_bytes_per_second{link=d-1>coordinator}"] == 20e6 / 8
    assert found["edgebed_link_up{link=d-1>coordinator}"] == 1
    worse = {"up": False, "rate_bps": 8000.0, "delay_s": 0.5, "loss": 0.25}
    endpoint.event("links_shaped", {"links": {"d-1>coordinator": worse}})
    found = scraped(endpoint)
    assert found["edgebed_link_up{link=d-1>coordinator}"] == 0
    assert found["edgebed_link_rate_limit_bytes_per_second{link=d-1>coordinator}"] == 1000
    assert found["edgebed_link_delay_seconds{link=d-1>coordinator}"] == 0.5
    assert found["edgebed_link_loss_ratio{link=d-1>coordinator}"] == 0.25
    assert found["edgebed_link_up{link=coordinator>d-1}"] == 1


def test_faults_are_seen_before_while_and_after_they_act(endpoint: Endpoint) -> None:
    series = "edgebed_fault_active{fault=0,kind=dropout,target=d-1}"
    assert scraped(endpoint)[series] == 0
    began = time.time()
    endpoint.event("fault_injected", {"fault": 0, "kind": "dropout"})
    found = scraped(endpoint)
    assert (found[series], found["edgebed_failures_injected_total{kind=dropout}"]) == (1, 1)
    assert found["edgebed_failures_injected_total{kind=flap}"] == 0
    assert began <= found["edgebed_event_timestamp_seconds{event=fault_injected,fault=0,kind=dropout}"] <= time.time()
    endpoint.event("fault_healed", {"fault": 0, "kind": "dropout"})
    assert scraped(endpoint)[series] == 0


def test_the_receipt_is_shown_as_asked_and_found(endpoint: Endpoint) -> None:
    endpoint.checks(
        [
            Check("rate_bps", "d-1>coordinator", 8e6, 7e6, 1e5, False),
            Check("rtt_s", "d-1>coordinator", 0.01, 0.011, 0.002, True),
            Check("rate_bps", "d-2>coordinator", None, None, None, None, "not compared: no rate is set"),
        ]
    )
    found = scraped(endpoint)
    assert found["edgebed_path_rate_asked_bytes_per_second{path=d-1>coordinator}"] == 1e6
    assert found["edgebed_path_rate_found_bytes_per_second{path=d-1>coordinator}"] == 875_000
    assert found["edgebed_path_rtt_found_seconds{path=d-1>coordinator}"] == 0.011
    results = {"failed": 1.0, "not_compared": 1.0, "ok": 1.0}
    assert {name: found[f"edgebed_receipt_checks{{result={name}}}"] for name in results} == results


def test_a_run_says_what_it_is_and_whether_it_goes_on(endpoint: Endpoint) -> None:
    (info,) = [name for name in scraped(endpoint) if name.startswith("edgebed_run_info")]
    for label in ("algorithm=fedavg", "git_rev=abc", "run_id=1f", "scenario=test", "seed=1", "substrate=mininet"):
        assert label in info
    states = []
    for event in ("nothing", "run_began", "run_ended"):
        endpoint.event(event, {})
        states.append(scraped(endpoint)["edgebed_run_active{}"])
    assert states == [0, 1, 0]


def test_it_listens_on_loopback_alone_serves_metrics_alone_and_stops_with_the_run(tmp_path: Path) -> None:
    with serving(star(1), "2f", tmp_path, FACTS) as endpoint:
        assert endpoint is not None
        assert endpoint.url.startswith("http://127.0.0.1:")
        url = endpoint.url
        with pytest.raises(HTTPError, match="404") as refused:
            read(url.replace("/metrics", "/"), "")
        refused.value.close()
    with pytest.raises(URLError):
        read(url, "")


def test_prometheus_finds_the_run_by_its_file_for_as_long_as_it_lasts(state: Path, tmp_path: Path) -> None:
    with serving(star(1), "2f", tmp_path / "runs" / "cell" / "seed=1", FACTS) as endpoint:
        assert endpoint is not None
        (file,) = (state / "targets").iterdir()
        (target,) = json.loads(file.read_text())
        assert target["targets"] == [endpoint.url.removeprefix("http://").removesuffix("/metrics")]
        assert target["labels"] == {"run": "cell/seed=1", "instance": "cell/seed=1"}
    assert list((state / "targets").iterdir()) == []


def test_what_a_killed_run_left_is_swept_by_the_next(state: Path, tmp_path: Path) -> None:
    (state / "targets").mkdir(parents=True)
    (state / "targets" / "0a.4194305.json").write_text("[]")  # above the largest process number
    (state / "targets" / "mine.json").write_text("[]")
    with serving(star(1), "2f", tmp_path, FACTS):
        assert sorted(path.name.split(".")[0] for path in (state / "targets").iterdir()) == ["2f", "mine"]


def test_a_state_folder_that_cannot_be_written_is_one_line_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEBED_STATE", str(tmp_path / "file"))
    said: list[str] = []
    with serving(star(1), "2f", tmp_path, FACTS, said.append) as endpoint:
        assert endpoint is not None
        assert scraped(endpoint)
    assert len(said) == 1
    assert "Prometheus is not told of this run" in said[0]


def test_no_port_left_is_one_line_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestrator.telemetry.prometheus.LOOPBACK", "192.0.2.1")  # an address that is not ours
    said: list[str] = []
    with serving(star(1), "2f", tmp_path, FACTS, said.append) as endpoint:
        assert endpoint is None
    assert said[0].startswith("no live metrics: cannot listen on 192.0.2.1")


def test_nobody_reading_nothing_waits(endpoint: Endpoint) -> None:
    assert asyncio.run(endpoint.wait_for_first_read(within_s=60.0)) is False
    assert endpoint.wait_for_last_read() is False


def test_a_run_that_is_watched_begins_when_it_was_read_and_ends_when_its_end_was_read(
    endpoint: Endpoint, state: Path
) -> None:
    (state / WATCHER).write_text("1\n9090\n")  # a process that is always there
    stop = threading.Event()

    def scraper() -> None:
        while not stop.wait(0.05):
            scraped(endpoint)

    reading = threading.Thread(target=scraper)
    reading.start()
    try:
        assert asyncio.run(endpoint.wait_for_first_read(within_s=30.0)) is True
        deadline = time.monotonic() + 30.0
        while not endpoint.wait_for_last_read() and time.monotonic() < deadline:
            pass  # a busy machine may leave the scraper out of step once
        assert time.monotonic() < deadline
    finally:
        stop.set()
        reading.join()


def test_what_would_pass_the_bound_of_series_is_counted_and_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(present, "LARGEST_SERIES", 60)
    with serving(star(2), "1f", tmp_path, FACTS) as endpoint:
        assert endpoint is not None
        for number in range(100):
            endpoint.add("d-1", Record(1.0, "dropped_messages", 1.0, {"reason": f"{number}"}))
        found = scraped(endpoint)
    shown = [name for name in found if name.startswith("edgebed_dropped_messages")]
    assert len(found) <= 60
    assert found["edgebed_records_not_exported_total{}"] == 100 - len(shown)


def test_labels_of_a_hostile_node_break_nothing(endpoint: Endpoint) -> None:
    bad = {"kind": 'x"} 1\n# EOF\n\\', "peer": ["a", {"b": 1}]}
    endpoint.add("d-1", Record(1.0, "sent_payload_bytes", 7.0, bad))  # type: ignore[arg-type]  # as JSON can hold it
    endpoint.add("d-1", Record(1.0, "sent_payload_bytes", 7.0, {"kind": 3}))  # type: ignore[dict-item]  # the same
    found = scraped(endpoint)
    assert found[f"edgebed_payload_bytes_total{{device=d-1,direction=sent,kind={bad['kind']}}}"] == 7
    assert found["edgebed_payload_bytes_total{device=d-1,direction=sent,kind=3}"] == 7
