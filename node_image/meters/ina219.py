"""INA219 and its relatives: one shunt, one channel, by the kernel's hwmon (Documentation/hwmon/ina2xx).

`power1_input` is in microwatts; without it, `in1_input` (mV on the bus) times `curr1_input` (mA). The driver counts
with the shunt it was told of (`shunt_resistor`, microohms): a wrong one makes every figure wrong by the same factor.
"""

from dataclasses import dataclass
from pathlib import Path

from node_image.meters.base import About, MeterError, Reading, power
from node_image.meters.sysfs import hwmon, number
from node_image.parameters import parameter

NAME = "ina219"
CHIPS = ("ina219", "ina220", "ina226", "ina230", "ina231")
REMEDY = (
    "Wire the chip to I2C and tell the kernel, as root: echo ina219 0x40 > /sys/bus/i2c/devices/i2c-1/new_device "
    "(on a Raspberry Pi: dtoverlay=i2c-sensor,ina219 in config.txt)."
)
ABOUT = About(
    covers="what flows through the shunt",
    accuracy="± 2 % ± 200 µV of shunt voltage, and the shunt's own tolerance",
    cited="TI SBOS448G, INA219A over temperature: current ± 1 %, bus voltage ± 1 %, offset at PGA /8 ± 200 µV",
)


@dataclass(frozen=True)
class Parameters:
    """Where the chip is."""

    root: str = parameter("/sys/class/hwmon", "folder of the kernel's sensors")
    chip: str = parameter("", "its folder there, such as hwmon2; needed where there are several")


class Ina219:
    """One chip."""

    name = NAME
    about = ABOUT
    shortest_period_s = 0.05  # a conversion takes 1 ms, I2C a few

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._watts = folder / "power1_input"

    def read(self, now_s: float) -> Reading:
        """The power now."""
        if self._watts.exists():
            watts = number(self._watts, REMEDY) * 1e-6
        else:
            watts = number(self._folder / "in1_input", REMEDY) * number(self._folder / "curr1_input", REMEDY) * 1e-6
        return Reading(now_s, power(watts, str(self._folder)))

    def close(self) -> None:
        """Nothing is held open."""


def build(params: Parameters) -> Ina219:
    """The chip; MeterError where there is none, or several and none is named."""
    root = Path(params.root)
    found = [folder for folder in hwmon(root, CHIPS) if params.chip in ("", folder.name)]
    if not found:
        which = f"{params.chip} is no such chip" if params.chip else f"no {', '.join(CHIPS)}"
        raise MeterError(f"{which} under {root}", REMEDY)
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise MeterError(f"several chips under {root}: {names}", "Name the one at the board's supply: chip=hwmon…")
    meter = Ina219(found[0])
    meter.read(0.0)
    return meter
