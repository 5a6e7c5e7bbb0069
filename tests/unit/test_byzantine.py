"""What a byzantine node sends in place of the truth."""

from typing import Any

import numpy as np
import pytest

from node_image.byzantine import WAYS, Sender
from node_image.message import Parts, decode, encode
from node_image.runtime import Array, Body

KEY = bytes(32)
MODEL = np.array([[1.0, -2.0], [3.0, 4.0]], np.float32)
BODY: Body = {"round": 3, "model": MODEL, "bits": np.array([0, 255], np.uint8)}


def liar(way: str) -> tuple[Sender, list[dict[str, Any]]]:
    told: list[dict[str, Any]] = []
    sender = Sender(lambda metric, value, **labels: told.append({"metric": metric, "value": value, **labels}))
    sender.misbehave(way)
    return sender, told


def model(body: Body) -> Array:
    value = body["model"]
    assert isinstance(value, np.ndarray)
    return value


def test_who_is_not_told_to_lie_sends_the_very_same() -> None:
    sender, told = liar("nan")
    sender.misbehave(None)
    assert sender.passed("a", "update", BODY) is BODY
    assert (sender.altered, told) == (0, [])


def test_numbers_that_are_none_go_out_and_are_told_of() -> None:
    sender, told = liar("nan")
    body = sender.passed("a", "update", BODY)
    assert np.isnan(model(body)).all()
    assert body["round"] == 3
    assert told == [{"metric": "altered_messages", "value": 1, "how": "nan", "kind": "update", "peer": "a"}]


def test_huge_numbers_are_finite_in_their_type() -> None:
    body = liar("huge")[0].passed("a", "update", {**BODY, "half": np.zeros(2, np.float16)})
    assert np.isfinite(model(body)).all()
    assert model(body).min() > 1e29
    assert np.isfinite(np.asarray(body["half"])).all()
    assert list(np.asarray(body["bits"])) == [255, 255]


def test_a_wrong_shape_is_flat_and_short() -> None:
    assert model(liar("wrong_shape")[0].passed("a", "update", BODY)).shape == (3,)


def test_the_opposite_sign_of_numbers_without_one_is_their_mirror() -> None:
    body = liar("sign_flip")[0].passed("a", "update", BODY)
    assert (model(body) == -MODEL).all()
    assert list(np.asarray(body["bits"])) == [255, 0]


def test_stale_tensors_go_with_todays_numbers_and_replays_with_those_of_then() -> None:
    for way, number in (("stale", 4), ("replayed", 3)):
        sender, told = liar(way)
        mine = MODEL.copy()
        assert sender.passed("a", "update", {"round": 3, "model": mine}) == {"round": 3, "model": mine}
        mine += 1  # as a learner does in place
        later = sender.passed("a", "update", {"round": 4, "model": mine})
        assert later["round"] == number, way
        assert (model(later) == MODEL).all(), way
        assert len(told) == 1


def test_another_peer_or_kind_has_a_first_message_of_its_own() -> None:
    sender, _ = liar("replayed")
    sender.passed("a", "update", BODY)
    other: Body = {"round": 9, "model": MODEL}
    assert sender.passed("b", "update", other) is other
    assert sender.passed("a", "model", other) is other


def test_a_message_without_tensors_goes_as_it_is() -> None:
    for way in WAYS:
        sender, _ = liar(way)
        sender.passed("a", "hello", {"x": 1})
        assert sender.passed("a", "hello", {"x": 2}) == {"x": 2}
        assert sender.altered == 0


@pytest.mark.parametrize("way", WAYS)
def test_every_lie_fits_the_wire(way: str) -> None:
    sender, _ = liar(way)
    for _ in range(2):
        parts = decode(encode("update", sender.passed("a", "update", BODY), KEY, 0), KEY, 0)
        assert isinstance(parts, Parts)


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ValueError, match="known: nan, huge"):
        liar("loudly")
