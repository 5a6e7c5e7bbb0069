"""RAPL: the energy counters of Intel's and AMD's processors, by Linux's powercap (Documentation/power/powercap).

    intel-rapl:0            name package-0     the whole package: summed over packages
      intel-rapl:0:0 ...    name core, uncore  are in the package already: never added
      intel-rapl:0:2        name dram          memory beside the package: added, unless `memory` is false
    intel-rapl:1            name psys          the whole platform, packages included: never added

It is of the whole machine: no device of a run can be told apart by it.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from node_image.meters.base import NOT_STATED, About, MeterError, Reading
from node_image.meters.integrate import Counters
from node_image.meters.sysfs import number, text
from node_image.parameters import parameter

NAME = "rapl"
MICRO = 1e-6
REMEDY = (
    "RAPL needs a physical Intel (since 2011) or AMD Zen machine and the module intel_rapl_msr; virtual machines have "
    "none: measure the host with a smart plug, or keep to the modelled energy."
)
ABOUT = About(
    covers="",
    accuracy=NOT_STATED,
    cited="close to external meters, but for a constant offset of memory (Khan et al. 2018, Desrochers et al. 2016)",
)


@dataclass(frozen=True)
class Parameters:
    """Where the counters are, and what counts."""

    root: str = parameter("/sys/class/powercap", "folder of the kernel's power zones")
    memory: bool = parameter(True, "whether memory counts too, where it has a counter")
    most_watts: float = parameter(1000.0, "no counter grows faster; more is a reset", unit="W", minimum=1.0)


@dataclass(frozen=True)
class _Zone:
    name: str
    file: Path
    wraps_at_joules: float


class Rapl:
    """The zones that are summed."""

    name = NAME
    shortest_period_s = 0.05  # the registers change about every millisecond

    def __init__(self, zones: tuple[_Zone, ...], most_watts: float) -> None:
        self.about = replace(
            ABOUT, covers=f"the whole machine's {', '.join(zone.name for zone in zones)}; nothing else"
        )
        self._zones = zones
        self._counters = Counters({zone.name: zone.wraps_at_joules for zone in zones}, most_watts)

    def read(self, now_s: float) -> Reading:
        """Joules since the first reading; power is the mean since the reading before."""
        self._counters.take(now_s, {zone.name: number(zone.file, REMEDY) * MICRO for zone in self._zones})
        found = self._counters
        return Reading(now_s, found.watts, found.joules, found.missing_s, dict(found.rails_watts))

    def close(self) -> None:
        """Nothing is held open."""


def build(params: Parameters) -> Rapl:
    """The counters of this machine; MeterError where there are none, or where this user may not read them."""
    zones = tuple(_zones(Path(params.root), params.memory))
    if not zones:
        raise MeterError(f"no RAPL package under {params.root}", REMEDY)
    for zone in zones:
        number(zone.file, REMEDY)
    return Rapl(zones, params.most_watts)


def _zones(root: Path, memory: bool) -> list[_Zone]:
    folders = [folder for folder in root.glob("intel-rapl:*") if (folder / "name").is_file()]
    names = {folder.name: text(folder / "name", REMEDY) for folder in sorted(folders)}
    zones = []
    for folder, name in names.items():
        if name.startswith("package"):
            zones.append(_zone(root / folder, name))
        elif name == "dram" and memory:
            zones.append(_zone(root / folder, f"{names.get(folder.rpartition(':')[0], folder)} dram"))
    return zones


def _zone(folder: Path, name: str) -> _Zone:
    return _Zone(name, folder / "energy_uj", number(folder / "max_energy_range_uj", REMEDY) * MICRO)
