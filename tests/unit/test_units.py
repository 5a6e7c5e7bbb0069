"""Units: what is written with a unit, in base units; what is not, refused with the way to write it."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import units

QUANTITIES = (
    units.DRIFT,
    units.DURATION,
    units.ENERGY,
    units.ENERGY_PER_MBIT,
    units.LENGTH,
    units.TEMPERATURE,
    units.MAC_RATE,
    units.PER_SECOND,
    units.POWER,
    units.RATE,
    units.SHARE,
    units.SIZE,
)


@pytest.mark.parametrize(
    ("quantity", "text", "value"),
    [
        (units.DRIFT, "100 ppm", 1e-4),
        (units.DURATION, "20 ms", 0.02),
        (units.DURATION, "60us", 60e-6),
        (units.DURATION, " 2 min ", 120.0),
        (units.DURATION, "1e3 s", 1000.0),
        (units.ENERGY, "5 kJ", 5000.0),
        (units.ENERGY, "15.4 Wh", 55440.0),
        (units.LENGTH, "0.1 km", 100.0),
        (units.PER_SECOND, "20 samples/s", 20.0),
        (units.PER_SECOND, "30 samples/min", 0.5),
        (units.POWER, "300 mW", 0.3),
        (units.RATE, "10 Mbit/s", 1e7),
        (units.RATE, "10 Mbit", 1e7),
        (units.RATE, "384 kbit/s", 384e3),
        (units.RATE, "1 Gbit", 1e9),
        (units.SHARE, "30 %", 0.3),
        (units.SHARE, "100 %", 1.0),
        (units.SIZE, "64 KiB", 65536.0),
        (units.SIZE, "50 MB", 5e7),
    ],
)
def test_a_number_with_its_unit_becomes_base_units(quantity: units.Quantity, text: str, value: float) -> None:
    assert quantity.parse(text) == value


@pytest.mark.parametrize("bare", [20, 0.3, "20", "20.5"])
def test_a_bare_number_is_refused_with_the_way_to_write_it(bare: object) -> None:
    with pytest.raises(ValueError, match=r'a number without a unit; write .*"20 ms" or "60 s"'):
        units.DURATION.parse(bare)


@pytest.mark.parametrize("nothing", [None, True, "", "fast", "ms 20", [], {}, "20 ms 3", "0x10 s", "nan s", "inf s"])
def test_what_is_not_a_quantity_is_refused(nothing: object) -> None:
    with pytest.raises(ValueError, match=r"not a duration|unknown unit"):
        units.DURATION.parse(nothing)


@pytest.mark.parametrize("text", ["5 Mbps", "5 mbps", "5 MB/s"])
def test_mbps_is_refused_because_it_means_two_things(text: str) -> None:
    with pytest.raises(ValueError, match="write Mbit/s"):
        units.RATE.parse(text)


def test_an_unknown_unit_names_the_known_ones_and_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown unit 'Mbits/s'; known: .*; did you mean Mbit/s\?"):
        units.RATE.parse("10 Mbits/s")


@pytest.mark.parametrize(
    ("text", "wrong"), [("-3 ms", "negative"), ("1e400 s", "too large"), ("9" * 400 + " s", "large")]
)
def test_negative_and_infinite_values_are_refused(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        units.DURATION.parse(text)


def test_a_share_above_all_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100 %"):
        units.SHARE.parse("100.1 %")


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.name)
@given(value=st.floats(min_value=0, max_value=1e15))
def test_what_is_written_is_read_back_exactly(quantity: units.Quantity, value: float) -> None:
    if value <= quantity.most:
        assert quantity.parse(quantity.write(value)) == value


@pytest.mark.parametrize("quantity", QUANTITIES, ids=lambda quantity: quantity.name)
@given(text=st.text(max_size=12) | st.from_regex(r"\A[+-]?[0-9]{1,3}(\.[0-9])?(e[+-]?[0-9]{1,3})? ?[a-zA-Z%/µ]{0,4}\Z"))
def test_any_text_is_a_finite_value_or_a_value_error_and_the_pattern_agrees(
    quantity: units.Quantity, text: str
) -> None:
    matches = re.search(quantity.pattern(), text) is not None
    try:
        value = quantity.parse(text)
    except ValueError as error:
        assert not matches or str(error).startswith(("too large", "more than"))
    else:
        assert math.isfinite(value)
        assert value >= 0
        assert matches or text.strip().startswith("-")  # -0 is nothing, negative or not
