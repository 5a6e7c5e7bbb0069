"""Queries that several dashboards ask. `runs` is a matcher: one run, or those that are chosen."""

from orchestrator.telemetry.dashboards.parts import Ask


def total(metric: str, matchers: str, by: str = "run") -> str:
    """A counter's total in the range shown: counters begin at zero with their run."""
    return f"sum by ({by}) (max_over_time({metric}{{{matchers}}}[$__range]))"


def per_second(metric: str, matchers: str, by: str) -> str:
    """How quickly a counter grows now."""
    return f"sum by ({by}) (rate({metric}{{{matchers}}}[$__rate_interval]))"


def accuracy(runs: str) -> str:
    """A run's accuracy now: the coordinator's model's, or where there is none the mean of the devices' own."""
    found = f'edgebed_accuracy_ratio{{{runs}, split!="own"'
    return f'max by (run) ({found}, device="global"}}) or avg by (run) ({found}}})'


def last_accuracy(runs: str) -> str:
    """The same, the last in the range shown."""
    found = f'edgebed_accuracy_ratio{{{runs}, split!="own"'
    return (
        f'max by (run) (last_over_time({found}, device="global"}}[$__range]))'
        f" or avg by (run) (last_over_time({found}}}[$__range]))"
    )


def share_below(share: float, metric: str, runs: str, legend: str, by: str = "") -> Ask:
    """A percentile of a histogram, by a label (empty: of all)."""
    labels = f"le, {by}" if by else "le"
    expr = f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{runs}}}[$__rate_interval])))"
    return Ask(expr, legend)


def percentiles(metric: str, runs: str, by: str) -> tuple[Ask, Ask]:
    """Median and 95th percentile by a label."""
    return (
        share_below(0.5, metric, runs, f"{{{{{by}}}}} median", by),
        share_below(0.95, metric, runs, f"{{{{{by}}}}} 95 %", by),
    )


def device_states(runs: str) -> str:
    """0 down, 1 up, 2 down and a fault acts on it, 3 up and a fault acts on it."""
    up = f"edgebed_device_up{{{runs}}}"
    acts = f'max by (run, device) (label_replace(edgebed_fault_active{{{runs}}}, "device", "$1", "target", "(.+)"))'
    return f"sum by (run, device) ({up} + on (run, device) 2 * {acts}) or sum by (run, device) ({up})"
