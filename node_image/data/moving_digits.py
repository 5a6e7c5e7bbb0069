"""Moving digits: short clips of real handwritten digits that move in one of eight ways; the label is the movement."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node_image.data import digits
from node_image.data.task import Labels, Task
from node_image.parameters import parameter

MOVEMENTS = ("left", "right", "up", "down", "clockwise", "counter-clockwise", "horizontal", "vertical")
DIGIT = 8  # rows and columns of a digit
REACH = 3.0  # radius of a circle and amplitude of an oscillation, pixels
SIGMA = {"easy": 0.1, "hard": 0.35}
# A stored pixel p stands for p / 85 - 1: 0..255 covers -1..2, so that noise is cut off at almost three sigma.
LEVELS = 85


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    clips: int = parameter(2000, "training clips", minimum=1)
    test_clips: int = parameter(800, "test clips", minimum=1)
    noise: str = parameter("easy", "noise on the pixels: sigma 0.1 (easy) or 0.35 (hard)", choices=("easy", "hard"))
    frames: int = parameter(8, "frames of a clip", minimum=2)
    size: int = parameter(16, "rows and columns of a frame", unit="px", minimum=12)


def load(params: Parameters, data_seed: int, data_dir: str | None) -> Task:
    """Clips of shape (frames, size, size), 8 classes; no digit image of the training clips is in a test clip."""
    rng = np.random.default_rng([data_seed, 2])
    images, _ = digits.images()
    order = rng.permutation(len(images))
    train_x, train_y = _film(images[order[: digits.TRAIN_SAMPLES]], params.clips, params, rng)
    test_x, test_y = _film(images[order[digits.TRAIN_SAMPLES :]], params.test_clips, params, rng)
    return Task(train_x, train_y, test_x, test_y, classes=len(MOVEMENTS), scale=1 / LEVELS, offset=-1.0)


def paths(
    labels: Labels, params: Parameters, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Column and row of the digit's upper left corner in every frame, each (clips, frames), inside the frame.

    It starts within one pixel of the middle; speeds differ by +-30 % around one pixel a frame or one turn a clip.
    """
    clips, room = len(labels), params.size - DIGIT
    start = room / 2 + rng.uniform(-1, 1, (2, clips, 1))
    speed = rng.uniform(0.7, 1.3, (clips, 1))
    phase = rng.uniform(0, 2 * np.pi, (clips, 1))
    frame = np.arange(params.frames)
    travelled, angle = speed * frame, phase + 2 * np.pi * speed * frame / params.frames
    still = np.zeros_like(travelled)
    # Rows grow downwards, so a growing angle turns clockwise.
    dx = np.stack([-travelled, travelled, still, still, *2 * [REACH * np.cos(angle)], REACH * np.sin(angle), still])
    dy = np.stack(
        [
            still,
            still,
            -travelled,
            travelled,
            REACH * np.sin(angle),
            -REACH * np.sin(angle),
            still,
            REACH * np.sin(angle),
        ]
    )
    clip = np.arange(clips)
    return np.clip(start[0] + dx[labels, clip], 0, room), np.clip(start[1] + dy[labels, clip], 0, room)


def _film(
    images: NDArray[np.uint8], clips: int, params: Parameters, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Labels]:
    labels = rng.integers(len(MOVEMENTS), size=clips)
    actors = images[rng.integers(len(images), size=clips)]
    columns, rows = (np.rint(path).astype(np.int64) for path in paths(labels, params, rng))
    film = SIGMA[params.noise] * rng.standard_normal((clips, params.frames, params.size, params.size), np.float32)
    pixel = np.arange(DIGIT)
    film[
        np.arange(clips)[:, None, None, None],
        np.arange(params.frames)[:, None, None],
        rows[:, :, None, None] + pixel[:, None],
        columns[:, :, None, None] + pixel,
    ] += actors[:, None] / np.float32(16)
    return np.clip(np.rint((film + 1) * LEVELS), 0, 255).astype(np.uint8), labels
