"""netem: golden commands, and every difference that a readback can show. Nothing here needs root."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.links import netem
from orchestrator.links.netem import ShapeNotPossibleError, commands, limit_packets, readback, settings, show
from orchestrator.links.shape import BurstLoss, LinkShape, TraceRef

FULL = LinkShape(
    rate_bps=1e7,
    delay_s=0.02,
    jitter_s=0.002,
    loss=0.01,
    reorder=0.05,
    duplicate=0.001,
    corrupt=0.0005,
    queue_bytes=150_000,
)
SHOWN: dict[str, Any] = {
    "kind": "netem",
    "handle": "1:",
    "root": True,
    "options": {
        "limit": 119,
        "delay": {"delay": 0.02, "jitter": 0.002, "correlation": 0},
        "loss-random": {"loss": 0.0099999998, "correlation": 0},
        "duplicate": {"duplicate": 0.001, "correlation": 0},
        "reorder": {"reorder": 0.05, "correlation": 0},
        "corrupt": {"corrupt": 0.0005, "correlation": 0},
        "rate": {"rate": 1250000, "packetoverhead": -14, "cellsize": 0, "celloverhead": 0},
        "ecn": False,
        "gap": 1,
    },
}


def line(shape: LinkShape, *, up: bool = True) -> str:
    return " ".join(commands(shape, "h1-eth0", up=up)[-1])


def test_all_of_a_shape_goes_into_one_netem_in_bits_and_microseconds() -> None:
    assert line(FULL) == (
        "tc qdisc replace dev h1-eth0 root handle 1: netem limit 119 delay 20000us 2000us distribution normal"
        " loss random 1% duplicate 0.1% corrupt 0.05% reorder 5% rate 10000000bit -14"
    )


def test_segments_are_not_glued_together_before_they_are_shaped() -> None:
    by_device, by_tcp = commands(FULL, "d1-eth0")[:2]
    assert by_device == ("ethtool", "-K", "d1-eth0", "tso", "off", "gso", "off", "gro", "off")
    assert by_tcp == ("ip", "link", "set", "dev", "d1-eth0", "gso_max_segs", "1")


def test_a_plain_link_is_told_so_in_full_because_netem_keeps_what_is_not_mentioned() -> None:
    assert line(LinkShape()) == (
        "tc qdisc replace dev h1-eth0 root handle 1: netem limit 1000000 delay 0us"
        " loss random 0% duplicate 0% corrupt 0% reorder 0% rate 0bit -14"
    )


def test_burst_loss_is_given_in_the_order_of_gemodel() -> None:
    shape = LinkShape(burst_loss=BurstLoss(to_bad=0.01, to_good=0.25, loss_good=0.001, loss_bad=0.8))
    assert " loss gemodel 1% 25% 80% 0.1% " in line(shape)


def test_independent_loss_on_top_of_bursts_raises_both_states() -> None:
    want = settings(LinkShape(loss=0.1, burst_loss=BurstLoss(0.01, 0.25, 0.0, 0.5)))
    assert want.loss == 0.0
    assert want.burst_loss is not None
    assert (want.burst_loss.loss_good, want.burst_loss.loss_bad) == pytest.approx((0.1, 0.55))


def test_pareto_jitter_is_drawn_from_tcs_pareto_table() -> None:
    assert "delay 20000us 2000us distribution pareto" in line(replace(FULL, jitter_kind="pareto"))


def test_jitter_without_a_rate_gets_one_so_that_it_does_not_reorder() -> None:
    assert line(LinkShape(delay_s=0.02, jitter_s=0.002)).endswith("rate 10000000000bit -14")
    assert line(LinkShape(delay_s=0.02, jitter_s=0.002, reorder=0.1)).endswith("reorder 10% rate 0bit -14")


def test_reordering_without_a_delay_is_left_out_because_tc_refuses_it() -> None:
    assert " reorder 0% " in line(LinkShape(reorder=0.5))


def test_a_link_that_is_down_loses_everything() -> None:
    assert " loss random 100% " in line(replace(FULL, burst_loss=BurstLoss(0.1, 0.2)), up=False)


def test_the_limit_holds_what_is_under_way_and_what_queues() -> None:
    shape = LinkShape(rate_bps=1e9, delay_s=0.1, queue_bytes=1_500_000)
    assert limit_packets(shape) == 8334 + 1000
    assert limit_packets(LinkShape(rate_bps=1e5, queue_bytes=100)) == 2


@given(st.floats(1e3, 1e10), st.floats(0, 2), st.integers(1, 10**8))
def test_the_limit_never_clips_the_bandwidth_delay_product(rate_bps: float, delay_s: float, queue_bytes: int) -> None:
    shape = LinkShape(rate_bps=rate_bps, delay_s=delay_s, queue_bytes=queue_bytes)
    assert limit_packets(shape) * netem.MTU >= rate_bps * delay_s / 8 + queue_bytes - 1e-3


def test_a_trace_is_refused_with_the_shaper_that_can_play_it() -> None:
    with pytest.raises(ShapeNotPossibleError, match=r"cannot play a trace \(lte\.up\).*delay_line"):
        commands(LinkShape(trace=TraceRef("lte.up", "", "mahimahi")), "h1-eth0")


def test_a_rate_below_a_byte_a_second_is_refused() -> None:
    with pytest.raises(ShapeNotPossibleError, match="slower than 8 bit/s"):
        commands(LinkShape(rate_bps=1.0), "h1-eth0")


def test_what_was_asked_for_reads_back_without_differences() -> None:
    assert readback(json.dumps([SHOWN]), FULL) == []


def test_a_bursty_shape_reads_back_without_differences() -> None:
    shape = LinkShape(burst_loss=BurstLoss(0.01, 0.25))
    options = {"limit": 1_000_000, "loss-gemodel": {"p": 0.01, "r": 0.25, "1-h": 1.0, "1-k": 0.0}}
    assert readback(json.dumps([{"kind": "netem", "options": options}]), shape) == []


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"rate_bps": 2e7}, "rate_bps: asked 2e+07, found 1e+07"),
        ({"delay_s": 0.03}, "delay_s: asked 0.03, found 0.02"),
        ({"jitter_s": 0.001}, "jitter_s: asked 0.001, found 0.002"),
        ({"loss": 0.02}, "loss: asked 0.02, found 0.01"),
        ({"corrupt": 0.0}, "corrupt: asked 0, found 0.0005"),
        ({"reorder": 0.1}, "reorder: asked 0.1, found 0.05"),
        ({"duplicate": 0.0}, "duplicate: asked 0, found 0.001"),
        ({"queue_bytes": 1_500_000}, "limit_packets: asked 1019, found 119"),
        ({"burst_loss": BurstLoss(0.1, 0.5)}, "burst_loss.to_bad: asked 0.1, found 0"),
    ],
)
def test_each_difference_is_found(change: dict[str, Any], difference: str) -> None:
    assert difference in readback(json.dumps([SHOWN]), replace(FULL, **change))


def test_a_delay_that_the_kernel_rounds_down_reads_back_as_it_was_asked_for() -> None:
    shown = {"kind": "netem", "options": {"limit": 1_000_000, "delay": {"delay": 0.000099, "jitter": 0}}}
    assert readback(json.dumps([shown]), LinkShape(delay_s=0.0001)) == []
    assert readback(json.dumps([shown]), LinkShape(delay_s=0.0002)) == ["delay_s: asked 0.0002, found 9.9e-05"]


def test_a_device_without_netem_is_found_out() -> None:
    assert readback('[{"kind": "noqueue"}]', FULL) == ["qdisc: asked netem, found noqueue"]
    assert readback("", FULL) == ["qdisc: asked netem, found none"]
    assert "expected JSON" in readback("Cannot find device", FULL)[0]


def test_the_command_that_shows_the_qdisc_asks_for_json() -> None:
    assert show("h1-eth0") == ("tc", "-j", "qdisc", "show", "dev", "h1-eth0", "root")


def test_the_probe_says_how_to_get_netem_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netem, "attempt", lambda argv: (False, "Error: Specified qdisc kind is unknown."))
    works, text = netem.available()
    assert not works
    assert "kind is unknown" in text
    assert "modprobe sch_netem" in text
    monkeypatch.setattr(netem, "attempt", lambda argv: (True, ""))
    assert netem.available() == (True, "netem works")
