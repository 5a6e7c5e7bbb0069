"""Node specifications for tests of learning."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from node_image.data.folder import VARIABLE
from node_image.spec import Chosen, ComputeSpeed, NodeSpec, TaskSpec

BESIDE = Path(__file__).parents[3] / "shared" / "data"


def node_spec(
    index: int = 0,
    devices: int = 10,
    *,
    task: TaskSpec | None = None,
    model: str = "mlp",
    rule: Mapping[str, Any] | None = None,
    data_seed: int = 0,
) -> NodeSpec:
    """A node of a star whose task is digits, split in order; index -1 is the coordinator."""
    coordinator = index < 0
    return NodeSpec(
        name="coordinator" if coordinator else f"device{index}",
        role="coordinator" if coordinator else "device",
        index=index,
        devices=devices,
        address="10.0.0.1",
        peers=(),
        coordinator=None if coordinator else "coordinator",
        seed=index + 1,
        data_seed=data_seed,
        stop_after_s=60.0,
        task=task or TaskSpec("digits", partition=Chosen("in_order")),
        model=Chosen(model),
        algorithm=Chosen("fedavg"),
        rule=Chosen("backprop", rule or {"learning_rate": 0.1}),
        speed=ComputeSpeed(1e9, 1e-5),
    )


def data_folder() -> str:
    """The folder with the larger data sets; skips the test where there is none."""
    folder = os.environ.get(VARIABLE) or str(BESIDE)
    if not Path(folder).is_dir():
        pytest.skip(f"no data folder: set {VARIABLE}, or put one at ../shared/data")
    return folder
