"""A simulated node keeps the promises of NodeRuntime, and its clock moves by its cost model."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import numpy as np
import pytest

from node_image.learner import Learner
from node_image.message import encode
from node_image.recorder import NotFiniteError
from node_image.records import Record
from node_image.runtime import Body, Cost, Message
from orchestrator.links.shape import LinkShape
from orchestrator.plan import Plan
from orchestrator.simulation.disk import VirtualDisk
from orchestrator.simulation.life import HANDLING_S, HANDLING_S_PER_BYTE, Life
from orchestrator.simulation.network import Network
from orchestrator.simulation.runtime import SimRuntime
from orchestrator.simulation.said import line_of
from orchestrator.simulation.switchboard import Switchboard
from orchestrator.simulation.virtual_time import VirtualTimeLoop
from tests.plans import star

SECOND = Cost(macs=1e9, ops=0)  # of work for the boards of tests.plans


class Nodes:
    """A coordinator and a device, connected, without learners."""

    def __init__(self, plan: Plan) -> None:
        loop = cast(VirtualTimeLoop, asyncio.get_running_loop())
        self.network = Network(plan, loop)
        self.board = Switchboard(self.network, plan.seed)
        self.records: dict[str, list[Record]] = {}
        self.lives: dict[str, Life] = {}
        self.runtimes: dict[str, SimRuntime] = {}
        for node in plan.nodes:
            told = self.records.setdefault(node.name, [])
            life = self.lives[node.name] = Life(loop)
            self.runtimes[node.name] = SimRuntime(
                node.spec,
                cast(Learner, None),
                self.board,
                life,
                VirtualDisk(),
                lambda t, metric, value, labels, told=told: told.append(Record(t, metric, value, labels)),  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            )
            self.runtimes[node.name].listen()

    def start(self) -> "Nodes":
        for runtime in self.runtimes.values():
            runtime.start()
        return self

    @property
    def device(self) -> SimRuntime:
        return self.runtimes["d-1"]

    @property
    def coordinator(self) -> SimRuntime:
        return self.runtimes["coordinator"]

    def seen(self, name: str, metric: str) -> list[Record]:
        return [record for record in self.records[name] if record.metric == metric]


def with_nodes(act: Callable[[Nodes], Coroutine[Any, Any, None]], plan: Plan | None = None) -> Nodes:
    async def main() -> Nodes:
        nodes = Nodes(plan or star(1)).start()
        await act(nodes)
        for runtime in nodes.runtimes.values():
            runtime.close()
        return nodes

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main())


def test_a_message_costs_exactly_what_the_wire_format_makes_of_it() -> None:
    body: Body = {"round": 300, "lr": 0.25, "name": "x", "last": True, "model": np.arange(1000, dtype=np.float32)}
    got: list[Message | None] = []

    async def act(nodes: Nodes) -> None:
        await nodes.device.send("coordinator", "update", body)
        got.append(await nodes.coordinator.receive())

    nodes = with_nodes(act)
    size = len(encode("update", body, bytes(32), 0))
    (message,) = got
    assert message is not None
    assert (message.kind, message.sender, message.payload_bytes) == ("update", "d-1", size)
    for name, metric in (("d-1", "sent_payload_bytes"), ("coordinator", "received_payload_bytes")):
        (record,) = [each for each in nodes.seen(name, metric) if each.labels["kind"] == "update"]
        assert record.value == size


def test_what_a_sender_changes_after_sending_the_receiver_does_not_see_and_it_cannot_change_it() -> None:
    async def act(nodes: Nodes) -> None:
        model = np.ones(3, np.float32)
        await nodes.device.send("coordinator", "update", {"model": model})
        model[:] = 7
        message = await nodes.coordinator.receive()
        assert message is not None
        seen = message.body["model"]
        assert isinstance(seen, np.ndarray)
        assert seen.tolist() == [1, 1, 1]
        with pytest.raises(ValueError, match="read-only"):
            seen[0] = 5

    with_nodes(act)


def test_receive_gives_up_when_it_was_told_to_and_not_before() -> None:
    async def act(nodes: Nodes) -> None:
        began = nodes.device.now()
        assert await nodes.device.receive(2.5) is None
        assert nodes.device.now() - began == pytest.approx(2.5)
        assert await nodes.device.receive(0.0) is None

    with_nodes(act)


def test_messages_wait_until_the_connection_is_there_and_come_in_order() -> None:
    async def act(nodes: Nodes) -> None:
        for number in range(5):
            await nodes.coordinator.send("d-1", "model", {"round": number})
        got = [await nodes.device.receive() for _ in range(5)]
        assert [message.body["round"] for message in got if message is not None] == [0, 1, 2, 3, 4]

    with_nodes(act)


def test_a_full_outbox_loses_its_oldest_messages_and_counts_them() -> None:
    async def act(nodes: Nodes) -> None:
        for number in range(12):
            await nodes.device.send("coordinator", "update", {"n": number, "model": np.zeros(2**18, np.float32)})
        message = await nodes.coordinator.receive()
        assert message is not None
        assert message.body["n"] != 0

    nodes = with_nodes(act)
    dropped = [record for record in nodes.seen("d-1", "dropped_messages") if record.labels["reason"] == "outbox_full"]
    assert sum(record.value for record in dropped) == 5


def test_what_is_sent_to_many_is_copied_once_and_again_when_it_has_changed() -> None:
    seen: list[np.ndarray] = []

    async def act(nodes: Nodes) -> None:
        model = np.ones(3, np.float32)
        for number in range(2):
            for name in nodes.coordinator.peers:
                await nodes.coordinator.send(name, "model", {"model": model})
                message = await nodes.runtimes[name].receive(1.0)
                assert message is not None
                seen.append(cast(np.ndarray, message.body["model"]))
            model[number] = 5

    with_nodes(act, star(2))
    assert seen[0] is seen[1]
    assert [array.tolist() for array in seen] == [[1, 1, 1], [1, 1, 1], [5, 1, 1], [5, 1, 1]]


def test_a_message_to_a_stranger_is_refused() -> None:
    async def act(nodes: Nodes) -> None:
        with pytest.raises(ValueError, match="no peer 'd-9'; known: coordinator"):
            await nodes.device.send("d-9", "update", {})

    with_nodes(act)


def test_work_is_charged_by_the_cost_model_and_one_piece_after_another() -> None:
    async def act(nodes: Nodes) -> None:
        results = await asyncio.gather(
            nodes.device.compute(lambda: "a", SECOND), nodes.device.compute(lambda: "b", Cost(macs=0, ops=50_000))
        )
        assert list(results) == ["a", "b"]
        assert nodes.device.now() == pytest.approx(2.0)

    nodes = with_nodes(act)
    assert nodes.lives["d-1"].busy_s == pytest.approx(2.0)
    assert nodes.lives["coordinator"].busy_s == 0


def test_a_change_of_speed_acts_on_work_that_has_begun() -> None:
    async def act(nodes: Nodes) -> None:
        life = nodes.lives["d-1"]
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, life.slow, 0.25)
        await nodes.device.compute(lambda: None, SECOND)
        assert nodes.device.now() == pytest.approx(0.5 + 0.5 / 0.25)
        assert life.busy_s == pytest.approx(2.5)
        assert life.throttled_s == pytest.approx(2.0 * 0.75)

    with_nodes(act)


def test_a_frozen_node_stands_still_and_goes_on_where_it_was() -> None:
    async def act(nodes: Nodes) -> None:
        life = nodes.lives["d-1"]
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, life.freeze)
        loop.call_later(10.0, life.thaw)
        await nodes.device.compute(lambda: None, SECOND)
        assert nodes.device.now() == pytest.approx(10.5)
        assert life.busy_s == pytest.approx(1.0)
        loop.call_later(0.1, life.freeze)
        loop.call_later(5.0, life.thaw)
        await nodes.device.sleep(1.0)
        assert nodes.device.now() == pytest.approx(15.5)

    with_nodes(act)


def test_what_is_sent_to_a_frozen_node_is_there_when_it_is_thawed() -> None:
    async def act(nodes: Nodes) -> None:
        await nodes.device.sleep(1.0)
        nodes.lives["d-1"].freeze()
        await nodes.coordinator.send("d-1", "model", {"round": 1})
        await nodes.coordinator.sleep(3.0)
        assert not [
            record for record in nodes.seen("d-1", "received_payload_bytes") if record.labels["kind"] == "model"
        ]
        nodes.lives["d-1"].thaw()
        message = await nodes.device.receive(0.1)
        assert message is not None
        assert nodes.device.now() == pytest.approx(4.0, abs=0.001)  # it was dealt with after the thaw

    with_nodes(act)


def test_a_node_takes_time_for_every_message_and_byte_and_what_came_up_together_is_ready_together() -> None:
    model = np.zeros(250_000, np.float32)

    async def act(nodes: Nodes) -> None:
        await nodes.device.sleep(1.0)
        for name in nodes.coordinator.peers:
            await nodes.coordinator.send(name, "model", {"model": model})
        for _ in nodes.coordinator.peers:
            await nodes.runtimes[nodes.coordinator.peers[-1]].receive(1.0)

    nodes = with_nodes(act, star(3, shape=LinkShape()))
    each_s = HANDLING_S + 1_000_064 * HANDLING_S_PER_BYTE
    sent = [record.t for record in nodes.seen("coordinator", "sent_payload_bytes") if record.labels["kind"] == "model"]
    got = [record.t for name in ("d-1", "d-2", "d-3") for record in nodes.seen(name, "received_payload_bytes")
           if record.labels["kind"] == "model"]  # fmt: skip
    assert sent == pytest.approx([1.0 + 3 * each_s] * 3)
    assert got == pytest.approx([at_s + each_s for at_s in sent])


def test_a_checkpoint_is_a_copy_and_comes_back_as_a_copy() -> None:
    async def act(nodes: Nodes) -> None:
        assert nodes.device.restored() is None
        model = np.ones(2, np.float32)
        await nodes.device.save({"round": 4, "model": model})
        model[:] = 0
        state = nodes.device.restored()
        assert state is not None
        assert state["round"] == 4
        assert cast(np.ndarray, state["model"]).tolist() == [1, 1]

    with_nodes(act)


def test_hello_frames_round_trips_and_nothing_else_are_recorded_of_an_idle_pair() -> None:
    async def act(nodes: Nodes) -> None:
        await nodes.device.sleep(11.0)

    nodes = with_nodes(act, star(1, shape=LinkShape(rate_bps=1e8, delay_s=0.03)))
    for name in ("d-1", "coordinator"):
        assert len(nodes.seen(name, "rtt_s")) == 3  # when connected, and every 5 s
        assert all(record.value == pytest.approx(0.06, rel=0.02) for record in nodes.seen(name, "rtt_s"))
        assert {record.labels.get("kind", "hello") for record in nodes.records[name]} == {"hello"}
    sent, received = nodes.seen("d-1", "sent_payload_bytes"), nodes.seen("coordinator", "received_payload_bytes")
    assert [record.value for record in sent] == [record.value for record in received]


def test_records_are_written_as_real_nodes_write_them() -> None:
    labels = {"peer": "b", "kind": "a"}
    line = line_of(1.23456789, "sent_payload_bytes", 3.0, labels)
    assert line == Record(1.23456789, "sent_payload_bytes", 3.0, labels).to_line()
    assert line_of(2.0, "round", 1.0, {}) == Record(2.0, "round", 1.0).to_line()


def test_records_are_checked_as_real_nodes_check_them() -> None:
    async def act(nodes: Nodes) -> None:
        with pytest.raises(ValueError, match="unknown metric"):
            nodes.device.record("speed", 1.0)
        with pytest.raises(NotFiniteError):
            nodes.device.record("train_loss", float("nan"))

    with_nodes(act)
