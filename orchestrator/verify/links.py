"""I1: every link gives account of every packet and byte, and nodes agree with the links that they hang on."""

from collections import Counter
from collections.abc import Mapping

from orchestrator.substrates.base import LinkCount
from orchestrator.verify.checked import Checked, judged, unknown
from orchestrator.verify.history import History
from orchestrator.verify.spells import uncounted

ID = "I1"
Links = Mapping[str, LinkCount]


def check(history: History) -> Checked:
    """Offered = delivered + dropped by reason + in flight. Duplicates are apart."""
    links = history.links
    if links is None:
        return unknown(ID, "the counters of the links at the end were not written")
    broken = [f"{name}: {problem}" for name, count in links.items() for problem in problems(count)]
    broken += _recorded_otherwise(history, links)
    if history.is_virtual:
        broken += _nodes_disagree(history, links)
    unsure = [
        f"{name}: this shaper cannot tell the bytes of what it dropped"
        for name, count in links.items()
        if count.dropped_bytes is None and count.dropped
    ]
    unsure += [
        f"what went over links after {spell.from_s:g} s, until the run was killed at {spell.until_s:g} s, nobody knows"
        for spell in uncounted(history)
    ]
    offered = sum(count.offered_bytes for count in links.values())
    return judged(ID, f"{len(links)} links, {offered} bytes offered", broken, unsure)


def problems(count: LinkCount) -> list[str]:
    """What does not add up in one link's counters."""
    found = []
    packets = count.delivered_packets + sum(count.dropped.values()) + count.in_flight_packets
    if count.offered_packets != packets:
        found.append(f"{count.offered_packets} packets offered, {packets} delivered, dropped or in flight")
    if count.dropped_bytes is not None:
        size_bytes = count.delivered_bytes + sum(count.dropped_bytes.values()) + count.in_flight_bytes
        if count.offered_bytes != size_bytes:
            found.append(f"{count.offered_bytes} bytes offered, {size_bytes} delivered, dropped or in flight")
    if min(count.delivered_packets, count.delivered_bytes, count.in_flight_packets, *count.dropped.values()) < 0:
        found.append("a counter is below 0")
    return found


def _recorded_otherwise(history: History, links: Links) -> list[str]:
    """The records of a link are what its counters grew by: their sums are the counters."""
    offered, dropped = Counter[str](), Counter[str]()
    for record in history.own:
        if record.metric == "link_offered_bytes":
            offered[record.labels["link"]] += round(record.value)
        elif record.metric == "link_dropped_packets":
            dropped[record.labels["link"]] += round(record.value)
    found = []
    for name, count in links.items():
        if offered[name] != count.offered_bytes:
            found.append(f"{name}: {count.offered_bytes} bytes offered, {offered[name]} in its records")
        if dropped[name] != sum(count.dropped.values()):
            found.append(f"{name}: {sum(count.dropped.values())} packets dropped, {dropped[name]} in its records")
    return found


def _nodes_disagree(history: History, links: Links) -> list[str]:
    """A node has sent what the links that begin at it were offered, and got what those that end at it delivered.

    Only where no packets of others pass through it: it has one neighbour, or all speak to their neighbours alone.
    """
    sent, received = Counter[str](), Counter[str]()
    for record in history.own:
        if record.metric in ("sent_wire_bytes", "sent_background_bytes"):
            sent[record.labels["node"]] += round(record.value)
        elif record.metric in ("received_wire_bytes", "received_background_bytes"):
            received[record.labels["node"]] += round(record.value)
    nodes, planned = history.plan.nodes, history.plan.links
    out, into, degree = Counter[str](), Counter[str](), Counter(link.source for link in planned)
    for link in planned:
        out[link.source] += links[link.id].offered_bytes
        into[link.target] += links[link.id].delivered_bytes
    adjacent = {(link.source, link.target) for link in planned}
    spoken = [(node.name, peer.name) for node in nodes for peer in node.spec.peers]
    spoken += [(flow.source, flow.target) for flow in history.plan.traffic]
    is_direct = all(pair in adjacent for pair in spoken)
    found = []
    for name in [node.name for node in nodes if is_direct or degree[node.name] == 1]:
        if sent[name] != out[name]:
            found.append(f"{name} sent {sent[name]} bytes, and its links were offered {out[name]}")
        if received[name] != into[name]:
            found.append(f"{name} received {received[name]} bytes, and its links delivered {into[name]}")
    return found
