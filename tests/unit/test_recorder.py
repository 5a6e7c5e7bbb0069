"""Lines leave a node in order and soon, and a reader that does not read never stops it."""

import io
import json
import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

import pytest

from node_image.recorder import NotFiniteError, Recorder, measured
from node_image.records import Record


class Pipe(NamedTuple):
    reader: TextIO
    writer: io.RawIOBase

    def next(self) -> Any:
        return json.loads(self.reader.readline())


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read_fd, write_fd = os.pipe()
    with os.fdopen(read_fd) as reader, os.fdopen(write_fd, "wb", buffering=0) as writer:
        yield Pipe(reader, writer)


def test_records_and_events_arrive_in_the_order_they_were_written(pipe: Pipe) -> None:
    recorder = Recorder(pipe.writer.fileno())
    for number in range(100):
        recorder.record(Record(float(number), "round", float(number)))
        if number % 10 == 0:
            recorder.event({"event": "started", "t": number})
    assert recorder.close()
    pipe.writer.close()
    lines = [json.loads(line) for line in pipe.reader]
    assert len(lines) == 110
    assert [line["t"] for line in lines] == sorted(line["t"] for line in lines)
    assert lines[0] == {"t": 0.0, "metric": "round", "value": 0.0, "labels": {}}


def test_an_event_brings_what_was_recorded_before_it_without_waiting_for_a_flush(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node_image.recorder.FLUSH_S", 3600.0)
    recorder = Recorder(pipe.writer.fileno())
    recorder.record(Record(1.0, "round", 1.0))
    recorder.event({"event": "finished", "t": 1.0})
    assert [pipe.next()["t"] for _ in range(2)] == [1.0, 1.0]
    assert recorder.close()


def test_a_record_is_flushed_although_no_event_follows(pipe: Pipe) -> None:
    recorder = Recorder(pipe.writer.fileno())
    recorder.record(Record(1.0, "round", 1.0))
    assert pipe.next()["metric"] == "round"
    assert recorder.close()


def test_a_full_pipe_stops_nobody_and_lost_records_are_counted(pipe: Pipe) -> None:
    recorder = Recorder(pipe.writer.fileno(), limit_bytes=10_000)
    recorder.event({"event": "started", "filling": "x" * 200_000})  # more than a pipe holds: the thread hangs in it
    while recorder._held_bytes:
        time.sleep(0.001)  # until the thread has taken it
    for number in range(1_000):
        recorder.record(Record(float(number), "round", float(number)))
    recorder.event({"event": "finished", "t": 1000})
    lines = [pipe.next()]
    while "count" not in lines[-1]:
        lines.append(pipe.next())
    kept = [line for line in lines if "metric" in line]
    assert [line["t"] for line in kept] == list(range(len(kept)))  # the oldest were kept, in order
    assert lines[-1] == {"event": "records_lost", "count": 1_000 - len(kept)}
    assert {"event": "finished", "t": 1000} in lines
    assert recorder.close()


def test_a_reader_that_went_away_does_not_keep_a_node_from_closing(pipe: Pipe) -> None:
    pipe.reader.close()
    recorder = Recorder(pipe.writer.fileno())
    recorder.event({"event": "started"})
    assert recorder.close()


def test_a_pipe_that_nobody_reads_does_not_keep_a_node_from_closing(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(pipe.writer.fileno())
    recorder.event({"event": "started", "filling": "x" * 200_000})
    with monkeypatch.context() as patch:
        patch.setattr("node_image.recorder.CLOSE_DEADLINE_S", 0.05)
        assert not recorder.close()
    pipe.reader.close()
    assert recorder.close()


def test_a_descriptor_that_does_not_block_gets_every_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.writer.fileno(), False)
    recorder = Recorder(pipe.writer.fileno())
    recorder.event({"event": "started", "filling": "x" * 200_000})
    assert len(pipe.next()["filling"]) == 200_000
    assert recorder.close()


def test_only_named_metrics_and_finite_values_are_measured() -> None:
    assert measured(1.0, "round", 3, {"a": "b"}) == Record(1.0, "round", 3.0, {"a": "b"})
    with pytest.raises(ValueError, match="unknown metric 'rounds'"):
        measured(1.0, "rounds", 3, {})
    with pytest.raises(NotFiniteError, match="train_loss is nan"):
        measured(1.0, "train_loss", float("nan"), {})
