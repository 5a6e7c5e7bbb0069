"""The meter on a serial port, against a pseudo-terminal that writes as one does."""

import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_image.meters import MeterError, build
from node_image.meters.serial_line import SILENT_S, sample_of


class Port:
    """The far end of a pseudo-terminal: what is written here is what the meter says."""

    def __init__(self) -> None:
        self.far, self.near = pty.openpty()
        self.name = os.ttyname(self.near)

    def say(self, *lines: str) -> None:
        os.write(self.far, "".join(f"{line}\r\n" for line in lines).encode())

    def close(self) -> None:
        os.close(self.far)
        os.close(self.near)


@pytest.fixture
def port() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


def test_lines_are_integrated_on_the_meter_s_own_clock(port: Port) -> None:
    meter = build("serial_line", port=port.name, accuracy="± 0.5 %")
    port.say("10.0,5.0,1.0")
    assert meter.read(100.0).joules_total == 0.0
    port.say("10.5,5.0,1.0", "11.0,5.0,2.0")
    found = meter.read(100.2)
    assert (found.joules_total, found.watts, found.t_s) == pytest.approx((2.5 + 3.75, 10.0, 100.2))
    assert meter.about.accuracy == "± 0.5 %"
    meter.close()


def test_a_line_may_come_in_pieces_and_those_that_are_none_are_left_out(port: Port) -> None:
    meter = build("serial_line", port=port.name)
    port.say("5.0,1.0")  # the end of a line whose begin was missed
    port.say("0.0,5.0,1.0")
    meter.read(0.0)
    os.write(port.far, b"# INA226 ready\r\n0.5,5.")
    assert meter.read(0.5).joules_total == 0.0
    os.write(port.far, b"0,1.0\r\n\xff\xfe,1,2\r\n")
    assert meter.read(0.6).joules_total == pytest.approx(2.5)
    meter.close()


def test_what_was_written_before_the_first_reading_is_of_another_time(port: Port) -> None:
    meter = build("serial_line", port=port.name)
    port.say("0.0,5.0,9.0", "0.5,5.0,9.0", "1.0,5.0,1.0")
    assert meter.read(0.0).joules_total == 0.0
    port.say("1.5,5.0,1.0")
    assert meter.read(0.5).joules_total == pytest.approx(2.5)
    meter.close()


def test_lost_lines_and_a_meter_that_restarts_are_missing_seconds(port: Port) -> None:
    meter = build("serial_line", port=port.name, longest_gap_s=1.0)
    port.say("0.0,5.0,1.0")
    meter.read(0.0)
    port.say("0.5,5.0,1.0", "3.5,5.0,1.0")
    found = meter.read(3.5)
    assert (found.joules_total, found.missing_s) == pytest.approx((2.5, 3.0))
    port.say("0.0,5.0,1.0", "0.4,5.0,1.0")
    found = meter.read(6.5)
    assert (found.joules_total, found.missing_s) == pytest.approx((4.5, 6.0))
    meter.close()


def test_a_silent_port_says_how_to_look_at_it(port: Port) -> None:
    meter = build("serial_line", port=port.name, baud="9600")
    with pytest.raises(MeterError, match="no line t,V,A") as caught:
        meter.read(0.0)
    assert f"stty -F {port.name} 9600" in caught.value.remedy
    port.say("0.0,5.0,1.0")
    meter.read(1.0)
    assert meter.read(1.0 + SILENT_S).t_s == 1.0  # nothing new, and it does not pretend
    with pytest.raises(MeterError):
        meter.read(1.1 + SILENT_S)
    meter.close()


def test_a_port_that_is_unplugged_is_opened_again(tmp_path: Path) -> None:
    first, second = Port(), Port()
    link = tmp_path / "ttyUSB0"
    link.symlink_to(first.name)
    meter = build("serial_line", port=str(link))
    first.say("0.0,5.0,1.0")
    meter.read(0.0)
    first.close()
    link.unlink()
    meter.read(0.5)  # the end of the old port is seen
    with pytest.raises(MeterError, match="cannot be opened"):
        meter.read(1.0)
    link.symlink_to(second.name)
    second.say("0.8,5.0,1.0")
    meter.read(1.5)
    second.say("1.6,5.0,1.0")
    assert meter.read(2.0).joules_total == pytest.approx(4.0 + 4.0)
    meter.close()
    second.close()


def test_a_file_that_is_no_port_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes"
    file.write_text("0,5,1\n")
    with pytest.raises(MeterError, match="is no serial port"):
        build("serial_line", port=str(file))
    with pytest.raises(MeterError, match="cannot be opened: No such file"):
        build("serial_line", port=str(tmp_path / "ttyUSB9"))


@pytest.mark.parametrize("line", [b"", b"1,2", b"1,2,3,4", b"1,nan,2", b"1,5,-2", b"inf,5,1", b"a,b,c", b"\xff,1,1"])
def test_what_is_no_sample_is_none(line: bytes) -> None:
    assert sample_of(line) is None


def test_a_little_noise_below_zero_is_zero() -> None:
    assert sample_of(b"1.5,5.0,-0.001\r") == (1.5, 0.0)
