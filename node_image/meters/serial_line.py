"""A meter on a serial port that writes a line `t,V,A` for every sample: a USB power meter, or your microcontroller.

`t` is the meter's own clock in seconds, V volts, A amperes. What came since the last reading is integrated on that
clock, so that nothing depends on how often the port is read. Lines that are none (the first is often cut) are left out.
"""

import math
import os
import termios
from dataclasses import dataclass, replace

from node_image.meters.base import LARGEST_NOISE_W, NOT_STATED, About, MeterError, Reading
from node_image.meters.integrate import Integrator
from node_image.parameters import REQUIRED, parameter

NAME = "serial_line"
BAUDS = {str(rate): getattr(termios, f"B{rate}") for rate in (9600, 19200, 38400, 57600, 115200, 230400)}
CHUNK_BYTES = 4096
LONGEST_LINE_BYTES = 1024
SILENT_S = 5.0
ABOUT = About(
    covers="what flows through the meter",
    accuracy=NOT_STATED,
    cited="give the meter's data sheet as accuracy=",
)


@dataclass(frozen=True)
class Parameters:
    """Which port, and what is on it."""

    port: str = parameter(REQUIRED, "the port, such as /dev/ttyUSB0")
    baud: str = parameter("115200", "its speed", choices=tuple(BAUDS))
    longest_gap_s: float = parameter(1.0, "samples further apart are not joined", unit="s", minimum=0.001)
    accuracy: str = parameter("", "what the meter's data sheet states")


class SerialLine:
    """One port; opened again where it went away, as USB does when it is reset."""

    name = NAME
    shortest_period_s = 0.1

    def __init__(self, params: Parameters) -> None:
        self.about = replace(ABOUT, accuracy=params.accuracy or ABOUT.accuracy)
        self.bad_lines = 0
        self._params = params
        self._fd: int | None = None
        self._rest = b""
        self._integrator = Integrator(params.longest_gap_s)
        self._newest: tuple[float, float, float] | None = None  # the caller's time, the meter's, watts
        self._asked_since: float | None = None

    def read(self, now_s: float) -> Reading:
        """Joules of all lines that came; MeterError where none has come for some seconds."""
        lines = self._lines()
        if self._asked_since is None:
            self._asked_since = now_s
            lines = lines[-1:]  # the others came before anybody asked
        for line in lines:
            self._take(line, now_s)
        newest_s = self._asked_since if self._newest is None else self._newest[0]
        if self._newest is None or now_s - newest_s > SILENT_S:
            raise MeterError(
                f"no line t,V,A from {self._params.port} for {now_s - newest_s:.1f} s ({self.bad_lines} other lines)",
                f"Look at it: `stty -F {self._params.port} {self._params.baud} raw; cat {self._params.port}`.",
            )
        return Reading(newest_s, self._newest[2], self._integrator.joules, self._integrator.missing_s)

    def close(self) -> None:
        """Close the port."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def open(self) -> None:
        """Open the port: raw, at its speed, never waiting; MeterError where that fails."""
        params = self._params
        try:
            fd = os.open(params.port, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
        except OSError as error:
            raise MeterError(
                f"{params.port} cannot be opened: {error.strerror}",
                "Look in /dev/serial/by-id; the user must be in the group dialout, or root.",
            ) from error
        try:
            _make_raw(fd, BAUDS[params.baud])
        except termios.error as error:
            os.close(fd)
            raise MeterError(f"{params.port} is no serial port: {error}", "Look in /dev/serial/by-id.") from error
        self._fd, self._rest = fd, b""

    def _lines(self) -> list[bytes]:
        if self._fd is None:
            self.open()
        assert self._fd is not None
        try:
            while chunk := os.read(self._fd, CHUNK_BYTES):
                self._rest += chunk
            self.close()  # its end: unplugged; the next reading opens it again
        except BlockingIOError:
            pass
        except OSError:
            self.close()
        *lines, rest = self._rest.split(b"\n")
        self._rest = rest[-LONGEST_LINE_BYTES:]
        return lines

    def _take(self, line: bytes, now_s: float) -> None:
        sample = sample_of(line)
        if sample is None:
            self.bad_lines += 1
            return
        t_s, watts = sample
        if self._newest is not None and t_s < self._newest[1]:  # the meter was started again
            self._integrator.restart(now_s - self._newest[0])
        self._integrator.take(t_s, watts)
        self._newest = (now_s, t_s, watts)


def sample_of(line: bytes) -> tuple[float, float] | None:
    """Seconds of the meter's clock and watts; None where the line is not `t,V,A`, or holds no power that can be."""
    try:
        t_s, volts, amperes = (float(word) for word in line.decode("ascii").split(","))
    except ValueError:
        return None
    watts = volts * amperes
    if not (math.isfinite(t_s) and math.isfinite(watts) and watts >= -LARGEST_NOISE_W):
        return None
    return t_s, max(0.0, watts)


def build(params: Parameters) -> SerialLine:
    """The meter on a port, opened; MeterError where it cannot be."""
    meter = SerialLine(params)
    meter.open()
    return meter


def _make_raw(fd: int, speed: int) -> None:
    """Bytes as they come, eight bits, no flow control, at a speed."""
    settings = termios.tcgetattr(fd)
    settings[0] = 0
    settings[1] = 0
    settings[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
    settings[3] = 0
    settings[4] = settings[5] = speed
    settings[6][termios.VMIN], settings[6][termios.VTIME] = 1, 0  # with 0, nothing yet would look like its end
    termios.tcsetattr(fd, termios.TCSANOW, settings)
