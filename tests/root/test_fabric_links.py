"""The fabric with real packets: sockets in namespaces of their own, and links between them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from node_image.kernel import inside_network_of
from orchestrator.errors import RunBrokeError
from orchestrator.links.delay_line import DelayLine
from orchestrator.links.link import Drop, Link
from orchestrator.links.shape import LinkShape
from orchestrator.plan import DirectedLink

READY = os.geteuid() == 0 and Path("/dev/net/tun").exists()
pytestmark = [pytest.mark.root, pytest.mark.skipif(not READY, reason="needs root and /dev/net/tun")]

PAYLOAD = 1000
PACKET = PAYLOAD + 28  # IP and UDP headers
PATIENCE_S = 5.0


class Host:
    """A namespace held by a sleeping process; sockets made here belong to it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.holder = subprocess.Popen(("unshare", "--net", "sleep", "600"))
        own = Path("/proc/self/ns/net").stat().st_ino
        path = Path(f"/proc/{self.holder.pid}/ns/net")
        while path.stat().st_ino == own:
            time.sleep(0.002)
        self.namespace = os.open(path, os.O_RDONLY)

    def socket(self, kind: socket.SocketKind, port: int = 0) -> socket.socket:
        with inside_network_of(self.namespace):
            made = socket.socket(socket.AF_INET, kind)
        made.settimeout(PATIENCE_S)
        made.bind((self.address, port))
        return made

    def close(self) -> None:
        os.close(self.namespace)
        self.holder.kill()
        self.holder.wait()


@contextmanager
def hosts(count: int) -> Iterator[dict[str, Host]]:
    made: dict[str, Host] = {}
    try:
        for index in range(count):
            made[f"n{index}"] = Host(f"10.0.0.{index + 1}")
        yield made
    finally:
        for host in made.values():
            host.close()


def star(names: list[str], shape: LinkShape) -> dict[str, DirectedLink]:
    ends = [end for name in names for end in ((name, "hub"), ("hub", name))]
    return {f"{a}>{b}": DirectedLink(f"{a}>{b}", a, b, shape, seed) for seed, (a, b) in enumerate(ends)}


class Network:
    """Hosts in a star, all links of one shape, and the shaper."""

    def __init__(self, made: dict[str, Host], links: dict[str, DirectedLink], shaper: DelayLine) -> None:
        self.hosts, self.links, self.shaper = made, links, shaper

    async def flood(self, source: str, target: str, count: int) -> Iterator[int]:
        """Send numbered datagrams at once; yields the numbers that arrive, until none comes for a while."""
        receiver = self.hosts[target].socket(socket.SOCK_DGRAM, 5000)
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        with self.hosts[source].socket(socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
            for number in range(count):
                sender.sendto(number.to_bytes(4) + bytes(PAYLOAD - 4), (self.hosts[target].address, 5000))

        def arriving() -> Iterator[int]:
            receiver.settimeout(0.5)
            try:
                while True:
                    yield int.from_bytes(receiver.recv(2048)[:4])
            except TimeoutError:
                receiver.close()

        return arriving()


@asynccontextmanager
async def network(folder: Path, count: int, shape: LinkShape) -> AsyncIterator[Network]:
    with hosts(count) as made:
        links = star(list(made), shape)
        shaper = DelayLine()
        try:
            places = {name: (host.holder.pid, host.address) for name, host in made.items()}
            await shaper.open(tuple(links.values()), places, folder / "fabric.log")
            await shaper.epoch(time.monotonic())
            yield Network(made, links, shaper)
        finally:
            await shaper.close()


def with_network(
    folder: Path, shape: LinkShape, story: Callable[[Network], Coroutine[None, None, None]], count: int = 2
) -> None:
    async def told() -> None:
        async with network(folder, count, shape) as net:
            await story(net)

    asyncio.run(told())


def test_a_packet_waits_out_the_delay_of_every_link_on_its_way(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        began = time.monotonic()
        assert list(await net.flood("n0", "n1", 1)) == [0]
        found = time.monotonic() - began - 0.5  # what the receiver waited for more
        assert found >= 0.2

    with_network(tmp_path, LinkShape(delay_s=0.1), story)


def test_nothing_is_on_the_links_until_a_node_sends(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        await asyncio.sleep(0.3)
        assert all(count.offered_packets == 0 for count in (await net.shaper.counters()).values())
        missed = await net.shaper.missed()
        assert (missed.unread, missed.no_route, missed.refused) == ({}, 0, 0)

    with_network(tmp_path, LinkShape(), story)


def test_a_transfer_takes_at_least_the_time_of_its_bits(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        size = 10_000
        with net.hosts["n1"].socket(socket.SOCK_STREAM, 5000) as listener:
            listener.listen()
            with net.hosts["n0"].socket(socket.SOCK_STREAM) as sender:
                sender.connect((net.hosts["n1"].address, 5000))
                receiver, _ = listener.accept()
                began = time.monotonic()
                sender.sendall(bytes(size))
                with receiver:
                    left = size
                    while left:
                        left -= len(receiver.recv(left))
                found = time.monotonic() - began
        assert found >= size * 8 / 1e6
        counters = await net.shaper.counters()
        assert counters["n0>hub"].delivered_bytes > size
        assert counters["hub>n1"].delivered_bytes > size

    with_network(tmp_path, LinkShape(rate_bps=1e6), story)


def test_real_packets_are_lost_as_the_seeded_arithmetic_says(tmp_path: Path) -> None:
    shape = LinkShape(loss=0.2)

    async def story(net: Network) -> None:
        found = list(await net.flood("n0", "n1", 300))
        uplink, downlink = (Link(shape, net.links[name].seed) for name in ("n0>hub", "hub>n1"))
        passed = [number for number in range(300) if not isinstance(uplink.admit(PACKET, 0.0), Drop)]
        assert found == [number for number in passed if not isinstance(downlink.admit(PACKET, 0.0), Drop)]
        assert (await net.shaper.counters())["n0>hub"].dropped == {"loss": 300 - len(passed)}

    with_network(tmp_path, shape, story)


def test_corrupted_packets_are_rejected_by_the_receivers_checksum(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        assert list(await net.flood("n0", "n1", 50)) == []
        counters = await net.shaper.counters()
        assert counters["n0>hub"].dropped == {"corrupt": 50}
        assert counters["hub>n1"].offered_packets == 50

    with_network(tmp_path, LinkShape(corrupt=1.0), story)


def test_duplicated_packets_arrive_twice(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        await net.shaper.shape(net.links["hub>n1"], LinkShape(), True)
        assert sorted(await net.flood("n0", "n1", 20)) == sorted([*range(20), *range(20)])
        assert (await net.shaper.counters())["n0>hub"].delivered_packets == 20

    with_network(tmp_path, LinkShape(duplicate=1.0), story)


def test_a_change_of_shape_loses_no_packet_and_keeps_their_order(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        arriving = await net.flood("n0", "n1", 100)  # 8 s at this rate
        await asyncio.sleep(0.2)
        said = await net.shaper.shape(net.links["n0>hub"], LinkShape(rate_bps=1e7), True)
        assert "re-timed, none lost" in said
        await net.shaper.shape(net.links["hub>n1"], LinkShape(rate_bps=1e7), True)
        assert list(arriving) == list(range(100))

    with_network(tmp_path, LinkShape(rate_bps=1e5), story)


def test_a_full_queue_drops_at_the_tail(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        arriving = await net.flood("n0", "n1", 60)
        await net.shaper.shape(net.links["n0>hub"], LinkShape(), True)
        found = list(arriving)
        assert len(found) < 60
        assert found == list(range(len(found)))
        assert (await net.shaper.counters())["n0>hub"].dropped == {"queue": 60 - len(found)}

    with_network(tmp_path, LinkShape(rate_bps=1e5, queue_bytes=10 * PACKET), story)


def test_a_link_that_is_down_drops_and_one_that_is_up_again_carries(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        link = net.links["n0>hub"]
        await net.shaper.shape(link, link.shape, False)
        assert list(await net.flood("n0", "n1", 5)) == []
        assert (await net.shaper.counters())["n0>hub"].dropped == {"down": 5}
        await net.shaper.shape(link, link.shape, True)
        assert list(await net.flood("n0", "n1", 5)) == list(range(5))

    with_network(tmp_path, LinkShape(), story)


def test_blocked_pairs_hear_nothing_and_others_do(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        await net.shaper.block(frozenset({("n0", "n1")}))
        assert list(await net.flood("n0", "n1", 5)) == []
        assert list(await net.flood("n1", "n0", 5)) == list(range(5))
        assert list(await net.flood("n2", "n1", 5)) == list(range(5))
        assert (await net.shaper.counters())["n0>hub"].dropped == {"partition": 5}
        await net.shaper.block(frozenset())
        assert list(await net.flood("n0", "n1", 5)) == list(range(5))

    with_network(tmp_path, LinkShape(), story, count=3)


def test_a_partition_also_catches_packets_that_are_under_way(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        arriving = await net.flood("n0", "n1", 10)
        await net.shaper.block(frozenset({("n0", "n1")}))
        assert list(arriving) == []
        counters = await net.shaper.counters()
        assert counters["n0>hub"].dropped == {"partition": 10}

    with_network(tmp_path, LinkShape(delay_s=0.3), story)


def test_packets_to_nobody_are_counted(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        with net.hosts["n0"].socket(socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", ("10.0.0.5", 5000))
        await asyncio.sleep(0.1)
        assert (await net.shaper.missed()).no_route == 1

    with_network(tmp_path, LinkShape(), story, count=4)


def test_traffic_bins_add_up_to_the_bytes_sent_and_received(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        for _ in range(2):
            assert len(list(await net.flood("n0", "n1", 30))) == 30
        traffic = await net.shaper.traffic()
        assert sum(sent for _, sent, _ in traffic["n0"]) == 60 * PACKET
        assert sum(received for _, _, received in traffic["n1"]) == 60 * PACKET
        assert len({index for index, _, _ in traffic["n0"]}) >= 2
        assert await net.shaper.traffic() == traffic

    with_network(tmp_path, LinkShape(), story)


def test_lateness_is_counted_for_packets_that_waited(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        list(await net.flood("n0", "n1", 40))
        found = await net.shaper.lateness()
        assert found.packets == 40
        assert 0 <= found.p50_s <= found.p99_s <= found.max_s

    with_network(tmp_path, LinkShape(delay_s=0.01), story)


def test_a_node_that_comes_back_in_a_new_namespace_is_attached_again(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        assert list(await net.flood("n0", "n1", 3)) == [0, 1, 2]
        net.hosts["n1"].close()
        net.hosts["n1"] = Host("10.0.0.2")
        await net.shaper.attach({"n1": (net.hosts["n1"].holder.pid, "10.0.0.2")})
        assert list(await net.flood("n0", "n1", 3)) == [0, 1, 2]

    with_network(tmp_path, LinkShape(delay_s=0.001), story)


def test_a_node_that_deletes_its_device_costs_only_its_own_packets(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        holder = str(net.hosts["n2"].holder.pid)
        subprocess.run(("nsenter", "--target", holder, "--net", "ip", "link", "del", "eb0"), check=True)
        with net.hosts["n0"].socket(socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", (net.hosts["n2"].address, 5000))
        assert list(await net.flood("n0", "n1", 3)) == [0, 1, 2]
        assert (await net.shaper.missed()).refused == 1

    with_network(tmp_path, LinkShape(), story, count=3)


def test_a_process_of_our_own_namespace_is_refused_and_nothing_stays(tmp_path: Path) -> None:
    async def told() -> None:
        shaper = DelayLine()
        try:
            with pytest.raises(RunBrokeError, match=r"node n0 \(pid \d+, 10.0.0.1/30\): .*our own network namespace"):
                await shaper.open((), {"n0": (os.getpid(), "10.0.0.1")}, tmp_path / "fabric.log")
        finally:
            await shaper.close()

    asyncio.run(told())
    assert "eb0" not in Path("/proc/net/dev").read_text()


def test_a_fabric_that_dies_is_reported_when_it_is_asked(tmp_path: Path) -> None:
    async def story(net: Network) -> None:
        assert net.shaper.pid is not None
        os.kill(net.shaper.pid, signal.SIGKILL)
        with pytest.raises(RunBrokeError, match=r"the fabric .* when asked to 'counters'"):
            await net.shaper.counters()

    with_network(tmp_path, LinkShape(), story)


def test_the_fabric_dies_with_its_parent(tmp_path: Path) -> None:
    text = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from orchestrator.links.delay_line import DelayLine\n"
        "async def main():\n"
        "    shaper = DelayLine()\n"
        f"    await shaper.open((), {{'n0': (int(sys.argv[1]), '10.0.0.1')}}, Path({str(tmp_path / 'log')!r}))\n"
        "    print(shaper.pid, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(main())\n"
    )
    with hosts(1) as made:
        argv = (sys.executable, "-c", text, str(made["n0"].holder.pid))
        ran = subprocess.run(argv, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=20)
        assert ran.returncode == -signal.SIGKILL
        state = Path(f"/proc/{int(ran.stdout)}/stat")
        deadline = time.monotonic() + PATIENCE_S
        while state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z":
            assert time.monotonic() < deadline, "the fabric outlived its parent"
            time.sleep(0.01)
