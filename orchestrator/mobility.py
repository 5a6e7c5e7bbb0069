"""Mobility: where devices are while they move about, and when two of them are out of each other's range. Pure."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

STEP_S = 1.0  # how often a device may turn, and links are looked at
Track = tuple[tuple[float, float, float], ...]  # (time s, x m, y m)
Spell = tuple[float, float | None]  # from, to (s); None: until the end
Places = NDArray[np.float64]  # (steps, devices, 2) in metres


def walk(
    start: NDArray[np.float64],
    area_m: tuple[float, float],
    speed_m_per_s: float,
    turn: float,
    stop_after_s: float,
    rng: np.random.Generator,
) -> Places:
    """Where devices that begin at `start` (devices, 2) are at every step, from 0 to `stop_after_s`.

    Each goes straight ahead at the same speed; with probability `turn` at a step it takes a new direction, and the
    borders of the area reflect it (the movement of the bilayer gossip paper's simulator).
    """
    steps = int(np.ceil(stop_after_s / STEP_S))
    places = np.empty((steps + 1, len(start), 2))
    places[0] = start
    velocity = speed_m_per_s * STEP_S * _direction(rng.random(len(start)))
    chances = rng.random((steps, 2, len(start)))
    turning = (chances[:, 0] < turn)[..., None]
    new = speed_m_per_s * STEP_S * _direction(chances[:, 1])
    borders = np.asarray(area_m)
    for step in range(steps):
        velocity = np.where(turning[step], new[step], velocity)
        places[step + 1], velocity = _reflected(places[step] + velocity, velocity, borders)
    return places


def _direction(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit vectors, as shares of a full turn."""
    heading = 2 * np.pi * share
    return np.stack([np.cos(heading), np.sin(heading)], axis=-1)


def _reflected(
    places: NDArray[np.float64], velocity: NDArray[np.float64], area_m: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places folded back into the area, and velocities turned round where an odd number of borders was met."""
    turns = np.floor(places / area_m)
    if not turns.any():
        return places, velocity
    even = turns % 2 == 0
    folded = np.where(even, places - turns * area_m, (turns + 1) * area_m - places)
    return folded, np.where(even, velocity, -velocity)


def track(places: Places, device: int) -> Track:
    """One device's way."""
    return tuple((step * STEP_S, x, y) for step, (x, y) in enumerate(places[:, device].tolist()))


def away(places: Places, a: int, b: int, range_m: float) -> tuple[Spell, ...] | None:
    """When two devices are out of range of each other; None if they always are."""
    apart = np.hypot(*(places[:, a] - places[:, b]).T) > range_m
    return None if apart.all() else spells(apart)


def spells(apart: ArrayLike) -> tuple[Spell, ...]:
    """The times at which something is so, from what it is at every step."""
    now = np.concatenate(([False], np.asarray(apart, bool), [False]))
    changes = (np.flatnonzero(now[1:] != now[:-1]) * STEP_S).tolist()
    found: list[Spell] = list(zip(changes[::2], changes[1::2], strict=True))
    if now[-2]:
        found[-1] = (found[-1][0], None)
    return tuple(found)
