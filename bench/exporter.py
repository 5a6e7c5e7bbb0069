"""The metrics of a large run: a scrape, and recording ten thousand records a second. `python -m bench.exporter`.

Beside the scrape: the Prometheus project's own Python library writing the same samples out. Recording is everything
that happens to a line of a node: parsed, checked, written to its file, shown in the view.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from bench.figures import Figure, show
from node_image.records import METRICS, Record
from orchestrator.rundir import RunDirectory
from orchestrator.substrates.base import NodeLine
from orchestrator.telemetry.collector import Collector
from orchestrator.telemetry.prometheus import Endpoint, serving
from tests.plans import star

DEVICES = 100
RECORDS = 100_000
ACCEPT = {"Accept": "application/openmetrics-text;version=1.0.0"}
KINDS = ("model", "update", "hello", "join")
COMPONENTS = ("base", "cpu", "radio_idle", "radio_active", "radio_tx", "radio_rx", "radio_promotion", "radio_tail")


class Collected:
    """What a registry of the library holds."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """The families."""
        return self._families


def fill(endpoint: Endpoint) -> None:
    """Every metric of every device, with the labels that they have in a star."""
    for number in range(1, DEVICES + 1):
        name = f"d-{number}"
        for metric in METRICS:
            for labels in _labels(metric, name):
                endpoint.add(name, Record(1.0, metric, 0.125 * number, labels))


def _labels(metric: str, name: str) -> list[Mapping[str, str]]:
    if metric in ("sent_payload_bytes", "received_payload_bytes"):
        return [{"kind": kind, "peer": "coordinator"} for kind in KINDS]
    if metric == "energy_joules":
        return [{"component": component, "source": "model"} for component in COMPONENTS]
    if metric.startswith("link_"):
        reason = {"reason": "queue"} if "dropped" in metric else {}
        return [{"link": link, **reason} for link in (f"{name}>coordinator", f"coordinator>{name}")]
    return [{}]


def scrape(endpoint: Endpoint) -> str:
    """One scrape over HTTP, as Prometheus makes it."""
    with urlopen(Request(endpoint.url, headers=ACCEPT), timeout=10) as answer:
        text: str = answer.read().decode()
    return text


def figures() -> Iterator[Figure]:
    """Three figures."""
    plan = star(DEVICES)
    with tempfile.TemporaryDirectory() as folder:
        with serving(plan, "1f", Path(folder), {}) as endpoint:
            assert endpoint is not None
            fill(endpoint)
            text = scrape(endpoint)
            samples = sum(not line.startswith("#") for line in text.splitlines())
            parsed = Collected(list(text_string_to_metric_families(text)))  # type: ignore[no-untyped-call]  # no types
            theirs, ours = [], []
            for _ in range(9):  # in turns, so that a busy moment hits both
                theirs.append(_cpu_s(lambda: generate_latest(parsed)))  # type: ignore[no-untyped-call]  # no types
                ours.append(_wall_s(lambda: scrape(endpoint)))
        yield Figure(
            f"scrape of {DEVICES} devices ({samples:,} samples), over HTTP",
            1e3 * median(ours),
            "ms",
            20.0,
            beside=f"the library's writer alone: {1e3 * median(theirs):.0f} ms of CPU",
        )
        per_record_s = _recording_s(Path(folder) / "run")
        yield Figure("recording 10,000 records a second", 100 * 10_000 * per_record_s, "% of core", 10.0)


def _recording_s(folder: Path) -> float:
    """CPU seconds for each record of a node, the best of three (others use this machine too)."""
    plan = star(DEVICES)
    directory = RunDirectory(folder)
    directory.create(plan, "")
    items = [
        NodeLine(f"d-{number % DEVICES + 1}", Record(number * 1e-4, metric, 0.125 * number, labels).to_line())
        for number, (metric, labels) in enumerate(_stream())
    ]
    with serving(plan, "2f", folder, {}) as endpoint:
        assert endpoint is not None
        took = []
        for _ in range(3):
            collector = Collector(plan, directory, [endpoint], lambda *_: None)
            took.append(_cpu_s(partial(_take_all, collector, items)))
    directory.close()
    return min(took) / len(items)


def _take_all(collector: Collector, items: list[NodeLine]) -> None:
    for item in items:
        collector.take(item, 0.0)


def _stream() -> Iterator[tuple[str, Mapping[str, str]]]:
    kinds: list[tuple[str, Mapping[str, str]]] = [
        ("sent_payload_bytes", {"kind": "update", "peer": "coordinator"}),
        ("received_payload_bytes", {"kind": "model", "peer": "coordinator"}),
        ("local_step_s", {}),
        ("rtt_s", {"peer": "coordinator"}),
        ("train_loss", {}),
        ("samples_seen", {}),
    ]
    return (kinds[number % len(kinds)] for number in range(RECORDS))


def _cpu_s(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def _wall_s(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    for each in figures():
        show(each)
