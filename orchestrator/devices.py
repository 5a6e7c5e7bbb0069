"""Device profiles: how fast a type of board computes, what it draws, what its radio costs; each with its source."""

from dataclasses import dataclass
from typing import Literal

from node_image.spec import ComputeSpeed

Quality = Literal["high", "medium", "low", "assumed"]


@dataclass(frozen=True)
class Sourced:
    """Where figures come from and how far to trust them; `error` is the relative error that the source itself gives."""

    source: str
    quality: Quality
    error: float | None = None


@dataclass(frozen=True)
class Power:
    """Board power: base_w while on, plus cpu_dyn_w times the utilisation of all cores (0-1)."""

    base_w: float
    cpu_dyn_w: float
    provenance: Sourced


@dataclass(frozen=True)
class Radio:
    """Radio energy (ecosystem notes 4.2). Powers in W above the idle radio, slopes in J per Mbit of IP traffic.

    `active_w` (beta) is drawn while packets flow, `promotion_*` when the radio wakes from idle, `tail_*` after the last
    packet (cut short by the next burst), `idle_w` otherwise.
    """

    name: str
    provenance: Sourced
    idle_w: float = 0.0
    active_w: float = 0.0
    tx_j_per_mbit: float = 0.0
    rx_j_per_mbit: float = 0.0
    promotion_s: float = 0.0
    promotion_w: float = 0.0
    tail_s: float = 0.0
    tail_w: float = 0.0


@dataclass(frozen=True)
class DeviceProfile:
    """A type of device.

    `speed` is its cost model. With `slowed` a real process gets the CPU share that makes it take that long; without
    (a server) it runs as fast as the host, and `speed` serves the simulation alone.
    """

    name: str
    about: str
    cores: int
    memory_bytes: int
    speed: ComputeSpeed
    speed_provenance: Sourced
    power: Power | None
    radio: Radio | None
    slowed: bool = True
    battery_joules: float | None = None
