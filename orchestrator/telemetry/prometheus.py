"""The live OpenMetrics endpoint: a view of the records on loopback, for as long as the run lasts.

One private registry a run. Names as Prometheus wants them: prefix `edgebed_`, base units, `_total` on counters. Labels
come from a fixed list, so the number of series is bounded; what would pass the bound is counted and left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from node_image.records import METRICS, Record
from orchestrator.plan import Plan

LOOPBACK = "127.0.0.1"
LARGEST_SERIES = 10_000
LABELS = ("node", "component", "kind", "link", "reason", "source", "split")
SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
COUNT_BUCKETS = (0, 1, 2, 4, 8, 16, 32, 64)


class Endpoint:
    """The records of one run as Prometheus metrics."""

    def __init__(self, plan: Plan, run_id: str) -> None:
        self.url = ""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own signature has no types
        self.registry = CollectorRegistry()
        self._series: set[tuple[str, tuple[str, ...]]] = set()
        self._metrics: dict[str, Counter | Gauge | Histogram] = {}
        self._overflow = Counter(
            "edgebed_records_not_exported", "records left out of this view: too many series", registry=self.registry
        )
        info = Gauge(
            "edgebed_run_info", "1; what the run is", ["run", "scenario", "algorithm", "seed"], registry=self.registry
        )
        info.labels(run_id, plan.name, plan.nodes[0].spec.algorithm.name, str(plan.seed)).set(1)
        for name, metric in METRICS.items():
            exported = f"edgebed_{name.removesuffix('_s') + '_seconds' if name.endswith('_s') else name}"
            exported += "_ratio" if metric.unit == "ratio" else ""
            text = f"{metric.help} [{metric.unit}]"
            if metric.kind == "counter":
                self._metrics[name] = Counter(exported, text, LABELS, registry=self.registry)
            elif metric.kind == "gauge":
                self._metrics[name] = Gauge(exported, text, LABELS, registry=self.registry)
            else:
                buckets = SECONDS_BUCKETS if metric.unit == "s" else COUNT_BUCKETS
                self._metrics[name] = Histogram(exported, text, LABELS, registry=self.registry, buckets=buckets)

    def add(self, node: str | None, record: Record) -> None:
        """One more record."""
        values = tuple(str(record.labels.get(label, "")) for label in LABELS)
        if node is not None:
            values = (node, *values[1:])
        key = (record.metric, values)
        if key not in self._series:
            if len(self._series) >= LARGEST_SERIES:
                self._overflow.inc()
                return
            self._series.add(key)
        metric = self._metrics[record.metric].labels(*values)
        if isinstance(metric, Counter):
            metric.inc(record.value)
        elif isinstance(metric, Gauge):
            metric.set(record.value)
        else:
            metric.observe(record.value)


@contextmanager
def serving(plan: Plan, run_id: str) -> Iterator[Endpoint]:
    """An endpoint at http://127.0.0.1:<free port>/metrics for as long as the block lasts."""
    endpoint = Endpoint(plan, run_id)
    server, thread = start_http_server(0, LOOPBACK, endpoint.registry)
    endpoint.url = f"http://{LOOPBACK}:{server.server_port}/metrics"
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
