"""What travels between the ends of a TCP connection: flights of segments, and the acknowledgements they earn."""

from typing import TYPE_CHECKING

from orchestrator.simulation.network import Train

if TYPE_CHECKING:
    from orchestrator.simulation.transport import Stream

HEADER_BYTES = 52  # IPv4 20, TCP 20, timestamps 12
MSS_BYTES = 1448
SEGMENT_BYTES = HEADER_BYTES + MSS_BYTES


class Flight(Train):
    """Segments sent together. A retransmission repeats part of `original`."""

    __slots__ = ("complete_s", "delivered", "end", "missing", "original", "outstanding", "sent", "sent_s", "silent",
                 "spacing_s", "stream")  # fmt: skip

    def __init__(
        self, stream: "Stream", packets: int, last_bytes: int, end: int, original: "Flight | None", sent_s: float
    ) -> None:
        super().__init__(packets, SEGMENT_BYTES, last_bytes)
        self.stream = stream
        self.end = end  # offset in the stream of the byte behind it
        self.original = original
        self.sent = packets
        self.sent_s = sent_s
        self.delivered = 0
        self.spacing_s = 0.0  # between its segments, where they arrived
        self.missing = packets  # segments that the receiver lacks; for a retransmission, see its original
        self.complete_s = 0.0  # when the receiver lacks none any more
        self.outstanding = True  # the sender has not heard of it
        self.silent = False  # all of it, or every acknowledgement of it, was lost: only a timer helps

    def arrived(self) -> None:
        """Its first segment is there."""
        self.stream.receiver.arrived(self)

    def vanished(self) -> None:
        """All of it was lost."""
        self.stream.unanswered(self)

    def retimed(self) -> None:
        """Its last segment comes later or earlier than was thought."""
        self.stream.receiver.completes(self)


class Acks(Train):
    """The acknowledgements that a flight earns."""

    __slots__ = ("flight",)

    def __init__(self, packets: int, flight: Flight) -> None:
        super().__init__(packets, HEADER_BYTES, HEADER_BYTES)
        self.flight = flight

    def arrived(self) -> None:
        """The first of them is there."""
        self.flight.stream.acknowledged(self.flight)

    def vanished(self) -> None:
        """All were lost."""
        self.flight.stream.unanswered(self.flight)
