"""Readback: shapes survive the pipe, and every difference is named."""

import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.links.readback import differences, from_json, in_words, to_json
from orchestrator.links.shape import BurstLoss, LinkShape, TraceRef

shapes = st.builds(
    LinkShape,
    rate_bps=st.none() | st.floats(1, 1e10),
    delay_s=st.floats(0, 10),
    burst_loss=st.none() | st.builds(BurstLoss, st.floats(0, 1), st.floats(0, 1)),
    trace=st.none() | st.builds(TraceRef, st.text(), st.text(), st.sampled_from(["mahimahi", "csv"])),
)


@given(shapes)
def test_a_shape_survives_json(shape: LinkShape) -> None:
    assert from_json(json.loads(json.dumps(to_json(shape)))) == shape


def test_equal_shapes_have_no_differences() -> None:
    assert differences(LinkShape(delay_s=0.1), LinkShape(delay_s=0.1)) == []


def test_every_difference_is_named_with_both_values() -> None:
    found = differences(LinkShape(rate_bps=1e6, loss=0.1), LinkShape(rate_bps=2e6, loss=0.0))
    assert found == ["rate_bps: asked 1000000.0, found 2000000.0", "loss: asked 0.1, found 0.0"]


def test_words_leave_out_what_does_nothing() -> None:
    assert in_words(LinkShape()) == "not shaped"
    shape = LinkShape(rate_bps=1e7, delay_s=0.02, jitter_s=0.002, loss=0.01, queue_bytes=50_000)
    assert in_words(shape) == "10 Mbit/s, delay 20 ms ± 2 ms normal, loss 1 %, queue 50000 bytes"
    assert in_words(LinkShape(burst_loss=BurstLoss(0.01, 0.25))) == "burst loss 1/25/0/100 %"
