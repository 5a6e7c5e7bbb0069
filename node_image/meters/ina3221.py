"""INA3221: the power monitors of NVIDIA's Jetson boards, three rails a chip, by either of two drivers.

    L4T to r32   <root>/bus/i2c/drivers/ina3221x/6-0040/iio:device0/   rail_name_0  in_power0_input (mW)
    since r34    <root>/class/hwmon/hwmon3/  (name: ina3221)           in1_label  in1_input (mV)  curr1_input (mA)

Boards with a rail of the whole input are measured by it alone, since the others hang below it. Others are the sum of
rails that are known to lie beside each other. Rails of any other board must be chosen: a blind sum would count twice.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from node_image.meters.base import About, MeterError, Reading, power
from node_image.meters.sysfs import hwmon, number, text
from node_image.parameters import parameter

NAME = "ina3221"
CHANNELS = (1, 2, 3)
UNUSED = ("", "NC")
TOTALS = ("POM_5V_IN", "VDD_IN")  # Nano, TX1; TX2, Xavier NX, Orin NX, Orin Nano
BESIDE = (
    ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"),  # AGX Orin
    ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"),  # AGX Xavier
)
REMEDY = (
    "It is on NVIDIA's Jetson boards (not on the 2 GB Nano); elsewhere, use ina219, a smart plug or a serial meter."
)
ABOUT = About(
    covers="",
    accuracy="± 0.5 % ± 80 µV of shunt voltage a rail (16 mA at 5 mΩ), and the shunts' own tolerance",
    cited="TI SBOS576B: gain error of shunt and bus voltage 0.25 % each, offset ± 80 µV",
)


@dataclass(frozen=True)
class Parameters:
    """Where the chips are, and which rails count."""

    root: str = parameter("/sys", "folder where the kernel shows its devices")
    rails: str = parameter("", "rails to add up, with + between them; empty: what is known to be the whole board")


class Ina3221:
    """The rails of all chips; the power is the sum of the chosen ones."""

    name = NAME
    shortest_period_s = 0.1  # the drivers let the chip average

    def __init__(self, rails: Mapping[str, Callable[[], float]], chosen: tuple[str, ...]) -> None:
        self.about = replace(ABOUT, covers=f"{' + '.join(chosen)} of {', '.join(rails)}")
        self._rails = rails
        self._chosen = chosen

    def read(self, now_s: float) -> Reading:
        """The power now, and that of every rail."""
        found = {name: power(self._rails[name](), name) for name in self._chosen}
        total = sum(found.values())
        for name in self._rails.keys() - found.keys():
            with suppress(MeterError):  # switched off, as rails of an idle GPU are; it is not counted anyway
                found[name] = power(self._rails[name](), name)
        return Reading(now_s, total, rails_watts=found)

    def close(self) -> None:
        """Nothing is held open."""


def build(params: Parameters) -> Ina3221:
    """The rails of this board; MeterError where there are none or where it is not known which make up the whole."""
    root = Path(params.root)
    rails = _rails(root)
    if not rails:
        raise MeterError(f"no INA3221 under {root}", REMEDY)
    return Ina3221(rails, _chosen(tuple(rails), params.rails))


def _chosen(found: tuple[str, ...], asked: str) -> tuple[str, ...]:
    known = f"Rails here: {', '.join(found)}"
    if asked:
        names = tuple(name.strip() for name in asked.split("+"))
        if unknown := [name for name in names if name not in found]:
            raise MeterError(f"no rail {', '.join(unknown)} on this board", f"{known}.")
        if len(set(names)) < len(names) or (len(names) > 1 and set(names) & set(TOTALS)):
            raise MeterError(
                f"rails {asked} would be counted twice", f"{' and '.join(TOTALS)} hold the others already."
            )
        return names
    for total in TOTALS:
        if total in found:
            return (total,)
    for beside in BESIDE:
        if set(beside) <= set(found):
            return beside
    raise MeterError("which rails make up this board is not known", f"Choose them: rails=A+B. {known}.")


def _rails(root: Path) -> dict[str, Callable[[], float]]:
    """What reads the watts of each rail, by its name."""
    rails: dict[str, Callable[[], float]] = {}
    for folder in sorted(root.glob("bus/i2c/drivers/ina3221x/*/iio[:_]device*")):
        for channel in range(len(CHANNELS)):
            name = folder / f"rail_name_{channel}"
            if name.is_file():
                _add(rails, text(name, REMEDY), folder, _from_milliwatts(folder / f"in_power{channel}_input"))
    for folder in hwmon(root / "class" / "hwmon", (NAME,)):
        for channel in CHANNELS:
            label, enabled = folder / f"in{channel}_label", folder / f"in{channel}_enable"
            if label.is_file() and not (enabled.is_file() and text(enabled, REMEDY) == "0"):
                files = (folder / f"in{channel}_input", folder / f"curr{channel}_input")
                _add(rails, text(label, REMEDY), folder, _from_volts_and_amperes(*files))
    return rails


def _add(rails: dict[str, Callable[[], float]], name: str, folder: Path, watts: Callable[[], float]) -> None:
    if name not in UNUSED:
        rails[name if name not in rails else f"{name}@{folder.name}"] = watts


def _from_milliwatts(file: Path) -> Callable[[], float]:
    return lambda: number(file, REMEDY) * 1e-3


def _from_volts_and_amperes(millivolts: Path, milliamperes: Path) -> Callable[[], float]:
    return lambda: number(millivolts, REMEDY) * number(milliamperes, REMEDY) * 1e-6
