"""Raspberry Pi 5: what its power chip says of its own rails, by `vcgencmd pmic_read_adc`.

Twelve rails have a current and a voltage; their products are summed. EXT5V and BATT have a voltage alone and are left
out. Not seen: losses of the converters, and what USB devices, hats and NVMe draw from 5 V directly. One user's fit to a
USB meter was 1.15 times the sum and 0.6 W (github.com/jfikar/RPi5-power); it is not applied here.
"""

import re
import subprocess
from dataclasses import dataclass

from node_image.meters.base import NOT_STATED, About, MeterError, Reading, power
from node_image.parameters import parameter

NAME = "raspberry_pi_5"
ANSWER_WITHIN_S = 2.0
LINE = re.compile(r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(-?\d+(?:\.\d+)?)[AV]\s*$", re.MULTILINE)
REMEDY = "It is on a Raspberry Pi 5 with Raspberry Pi OS; the user must be in the group video, or root."
ABOUT = About(
    covers="the rails of the board's power chip; not its converters' losses, USB, hats or NVMe",
    accuracy=NOT_STATED,
    cited="single readings fluctuate; one user's fit to a USB meter: 1.1451 x + 0.5879 W (jfikar/RPi5-power)",
)


@dataclass(frozen=True)
class Parameters:
    """What to ask."""

    command: str = parameter("vcgencmd", "program that talks to the firmware")


class RaspberryPi5:
    """The board's power chip."""

    name = NAME
    about = ABOUT
    shortest_period_s = 0.5  # starting the program costs some milliseconds of CPU

    def __init__(self, command: str) -> None:
        self._command = command

    def read(self, now_s: float) -> Reading:
        """The power now, and that of every rail."""
        rails = rails_of(self._ask())
        return Reading(now_s, sum(rails.values()), rails_watts=rails)

    def close(self) -> None:
        """Nothing is held open."""

    def _ask(self) -> str:
        argv = (self._command, "pmic_read_adc")
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=ANSWER_WITHIN_S,
            )
        except OSError as error:
            raise MeterError(f"{self._command} cannot be started: {error.strerror}", REMEDY) from error
        except subprocess.TimeoutExpired as error:
            raise MeterError(f"{' '.join(argv)} gave no answer within {ANSWER_WITHIN_S:g} s", REMEDY) from error
        said = done.stdout.decode(errors="replace")
        if done.returncode != 0:
            raise MeterError(f"{' '.join(argv)} ended with {done.returncode}: {said.strip()[:200]}", REMEDY)
        return said


def rails_of(said: str) -> dict[str, float]:
    """Watts of every rail that has both a current and a voltage; MeterError where there is none."""
    values = {(name, unit): float(value) for name, unit, value in LINE.findall(said)}
    rails = {
        name: power(amperes * values[name, "V"], name)
        for (name, unit), amperes in values.items()
        if unit == "A" and (name, "V") in values
    }
    if not rails:
        raise MeterError(f"pmic_read_adc named no rail with current and voltage: {said.strip()[:80]!r}", REMEDY)
    return rails


def build(params: Parameters) -> RaspberryPi5:
    """The power chip of this board; MeterError where it does not answer."""
    meter = RaspberryPi5(params.command)
    meter.read(0.0)
    return meter
