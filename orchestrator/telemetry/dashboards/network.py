"""The network of one run: what each link carried, dropped and was asked to be, and what was found."""

from orchestrator.telemetry.dashboards import queries as q
from orchestrator.telemetry.dashboards.parts import (
    ONE_RUN,
    UP_OR_DOWN,
    Ask,
    Json,
    bars,
    curves,
    dashboard,
    heat,
    states,
    table,
)


def network() -> Json:
    """The dashboard."""
    return dashboard(
        "edgebed-network",
        "network",
        "Links of one run: bytes, drops, latencies, state, and the shapes that were set and found.",
        [
            curves("Offered to links", "IP bytes a second offered to each directed link.", "Bps",
                   Ask(q.per_second("edgebed_link_transmit_bytes_total", ONE_RUN, "link"), "{{link}}")),
            curves("Use of links", "Offered bytes as a share of the rate set: above 100 % the queue fills.",
                   "percentunit",
                   Ask(f"sum by (link) (rate(edgebed_link_transmit_bytes_total{{{ONE_RUN}}}[$__rate_interval]))"
                       f" / sum by (link) (edgebed_link_rate_limit_bytes_per_second{{{ONE_RUN}}})", "{{link}}")),
            curves("Sent, up and down", "IP bytes a second by direction seen from the coordinator.", "Bps",
                   Ask(q.per_second("edgebed_link_transmit_bytes_total", ONE_RUN, "direction"), "{{direction}}"),
                   stacked=True),
            curves("Drops, by reason", "Packets a second dropped on links.", "pps",
                   Ask(q.per_second("edgebed_link_drops_total", ONE_RUN, "reason"), "{{reason}}"), stacked=True),
            curves("Round trip of messages", "Round-trip time seen by the transport, by group of devices: median and"
                   " 95th percentile.", "s", *q.percentiles("edgebed_message_latency_seconds", ONE_RUN, "group")),
            heat("Round trip of messages, spread", "How many round trips took how long.", "s",
                 Ask(f"sum by (le) (increase(edgebed_message_latency_seconds_bucket{{{ONE_RUN}}}[$__rate_interval]))",
                     "{{le}}", buckets=True)),
            bars("Payload sent, by node", "Bytes of encoded messages in the range shown.", "decbytes",
                 Ask(q.total("edgebed_payload_bytes_total", f'{ONE_RUN}, direction="sent"', "device"), "{{device}}",
                     now=True)),
            bars("Payload sent, by kind", "Bytes of encoded messages in the range shown.", "decbytes",
                 Ask(q.total("edgebed_payload_bytes_total", f'{ONE_RUN}, direction="sent"', "kind"), "{{kind}}",
                     now=True)),
            states("Links", "Up, or held down by a fault or by range.",
                   Ask(f"edgebed_link_up{{{ONE_RUN}}}", "{{link}}"), UP_OR_DOWN),
            curves("Delay set", "One-way delay set on each directed link: faults change it.", "s",
                   Ask(f"edgebed_link_delay_seconds{{{ONE_RUN}}}", "{{link}}"), steps=True, width=8),
            curves("Rate set", "Rate set on each directed link: faults change it.", "Bps",
                   Ask(f"edgebed_link_rate_limit_bytes_per_second{{{ONE_RUN}}}", "{{link}}"), steps=True, width=8),
            curves("Loss set", "Share of packets that each directed link is set to lose.", "percentunit",
                   Ask(f"edgebed_link_loss_ratio{{{ONE_RUN}}}", "{{link}}"), steps=True, width=8),
            table("Asked and found", "Probed with real packets before the run, path by path.",
                  {f"{what} {side}": (Ask(f"max by (path) (last_over_time("
                                          f"edgebed_path_{what}_{side}_{words}{{{ONE_RUN}}}[$__range]))",
                                          now=True, table=True), unit)
                   for what, words, unit in (("rtt", "seconds", "s"), ("rate", "bytes_per_second", "Bps"),
                                             ("loss", "ratio", "percentunit"))
                   for side in ("asked", "found")}),
        ],
    )  # fmt: skip
