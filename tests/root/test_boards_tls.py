"""A run over a board that is a real sshd server, and all that passes on its data interface: TLS unless `insecure`."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.load import load_run
from analysis.report import render
from node_image.spec import Chosen
from orchestrator.cli import main
from orchestrator.links.shape import LinkShape
from orchestrator.outcome import RunOptions
from orchestrator.run import execute
from orchestrator.terminal import QuietDisplay
from tests.contract.worlds import Ran
from tests.plans import star
from tests.sshd import Lab, lab, missing

pytestmark = [pytest.mark.root, pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(180)]

LINK = LinkShape(rate_bps=20e6, delay_s=0.005, queue_bytes=250_000)
FEDAVG = Chosen("fedavg", {"local_steps": 5, "deadline_s": 1.0})
ETH_P_ALL = 3
BUFFER_BYTES = 32 << 20
SO_RCVBUFFORCE = 33
IN_THE_CLEAR = (b"hello", b"nonce", b"update")  # words of frames of ours


class Tap(threading.Thread):
    """Keeps every packet that an interface of this network carries."""

    def __init__(self, interface: str) -> None:
        super().__init__(daemon=True)
        self.seen = bytearray()
        self._over = threading.Event()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.bind((interface, 0))
        self._socket.settimeout(0.2)

    def run(self) -> None:
        while not self._over.is_set():
            try:
                self.seen += self._socket.recv(1 << 16)
            except TimeoutError:
                continue

    def end(self) -> None:
        self._over.set()
        self.join()
        self._socket.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with lab(tmp_path_factory.mktemp("lab")) as made:
        made.board("b1")
        yield made


def tapped(place: Lab, directory: Path, inventory: Path, *, insecure: bool = False) -> tuple[Ran, bytes]:
    """A run, and what passed between the board and the fabric."""
    plan = star(2, stop_after_s=4.0, shape=LINK, algorithm=FEDAVG)
    options = RunOptions(
        out=directory, substrate="ssh", probe=False, keep="always", boards=inventory, insecure=insecure
    )
    tap = Tap("data1")
    tap.start()
    try:
        ran = Ran(execute(plan, "name: test\n", options, QuietDisplay()))
    finally:
        tap.end()
    assert ran.outcome.status in ("complete", "degraded"), ran.outcome.notes
    assert (ran.outcome.summary["aggregated_updates"] or 0) > 0
    wire = ran.outcome.summary["sent_wire_bytes"]
    assert wire is not None
    assert len(tap.seen) > wire / 2, "the tap saw what was sent"
    return ran, bytes(tap.seen)


def test_what_nodes_say_is_in_tls_its_bytes_are_told_and_no_key_is_left(
    place: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran, seen = tapped(place, tmp_path / "run", place.inventory([place.boards[0].entry()]))
    assert [word for word in IN_THE_CLEAR if word in seen] == []
    facts = json.loads((ran.directory / "environment.json").read_text())
    assert facts["encryption"] == "TLS 1.3 between 2 pairs of nodes"
    summary = ran.outcome.summary
    payload, added, wire = (summary[each] or 0 for each in ("sent_payload_bytes", "sent_tls_bytes", "sent_wire_bytes"))
    assert 0 < added < payload
    assert payload + added < wire
    assert (summary["sent_tls_bytes.handshake"] or 0) > 4 * 1000, "four ends showed their certificates"
    assert not any("insecure" in note for note in ran.outcome.notes)
    page = render([load_run(ran.directory, "")])
    assert "TLS 1.3 between 2 pairs of nodes" in page
    assert "are what TLS added to the payload" in page
    left = [path for path in ran.directory.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert left == []
    assert "PRIVATE KEY" not in "".join(capfd.readouterr())


def test_insecure_is_what_it_says_and_is_told_at_the_start_in_the_result_and_in_the_report(
    place: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ran, seen = tapped(place, tmp_path / "run", place.inventory([place.boards[0].entry()]), insecure=True)
    assert all(word in seen for word in IN_THE_CLEAR)
    assert "sent_tls_bytes" not in ran.outcome.summary
    (said,) = [note for note in ran.outcome.notes if note.startswith("insecure: ")]
    assert f"warning: {said}" in capfd.readouterr().err
    page = render([load_run(ran.directory, "")])
    assert "insecure: what nodes send each other is not encrypted (--insecure)" in page
    assert "insecure: none between 2 pairs of nodes" in page
    main(["runs", "show", str(ran.directory)])
    assert "insecure: what nodes send each other is not encrypted" in " ".join(capfd.readouterr().out.split())
