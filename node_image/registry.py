"""What can be chosen by name: one literal table a kind of plug-in. Importing this loads no torch and no data.

A user's own files join the tables at run time, by `add`, before anything is planned or learned.
"""

from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from node_image.algorithms import (
    bilayer_gossip,
    centralized,
    draco,
    dsgd,
    eclm,
    elabip,
    fedasync,
    fedavg,
    fedbuff,
    fedprox,
    local_only,
)
from node_image.data import (
    cifar10,
    coco_folder,
    digits,
    drift,
    image_folder,
    mnist,
    moving_digits,
    partition,
    sp_sw_har,
    utd_mhad,
    video_folder,
)
from node_image.data.task import Task
from node_image.meters import METERS
from node_image.models import (
    grid_detector,
    linear,
    lls_conv,
    mcunet_small,
    mlp,
    mobilenet_v2,
    modular,
    resnet18,
    small_conv,
    softhebb1,
    softhebb_stream,
    spiking_conv,
    vgg8,
)
from node_image.network import Architecture, Constraint, Mask, Network, Step
from node_image.parameters import ParameterSpec, describe
from node_image.rules import backprop, lls, lls_m, lls_mxm, oja, random_features, softhebb, spiking, stdp
from node_image.runtime import Cost, NodeRuntime
from node_image.selection import everything, head_only, random, sparse_update, velocity
from node_image.trial import Trial

if TYPE_CHECKING:
    import torch
    from torch import nn

Kind = Literal["algorithm", "drift", "meter", "model", "partition", "rule", "selection", "task"]


class HasParameters(Protocol):
    """A plug-in: a file with a frozen dataclass `Parameters`."""

    @property
    def Parameters(self) -> type[Any]:
        """What a scenario may set."""


class Algorithm(HasParameters, Protocol):
    """Who tells whom what, when: both sides of the conversation.

    A file may also have `fits(params, learner)`, which raises UnfitError where the algorithm cannot work with that
    task and model; it is asked before the run.
    """

    def device(self, node: NodeRuntime, params: Any) -> Coroutine[Any, Any, None]:
        """A device's part, for as long as it lives."""

    def coordinator(self, node: NodeRuntime, params: Any) -> Coroutine[Any, Any, None]:
        """The coordinator's part; where it returns, the run is over."""


class Model(HasParameters, Protocol):
    """An architecture.

    A file may also have `narrower(params, share)`: its parameters for so large a share of its width.
    """

    def build(self, params: Any, shape: tuple[int, ...], classes: int) -> Architecture:
        """A model for samples of this shape, with fresh weights from torch's global generator."""


class Rule(HasParameters, Protocol):
    """How weights change. Its parameters have at least `batch_size` and `shuffle`, which the learner reads."""

    def adapt(self, params: Any, module: "nn.Sequential", shape: tuple[int, ...], classes: int) -> None:
        """Give a built model's blocks what the rule needs beyond their own weights, as parameters that travel too."""

    def begin(self, params: Any, network: Network, constraint: Constraint) -> Step:
        """Start a local phase; the result is called with each minibatch and returns its loss."""

    def cost(self, params: Any, network: Network, constraint: Constraint, samples: int, steps: int) -> Cost:
        """Work of so many steps on so many samples."""


class Selector(Protocol):
    """Which weights a device trains: the choice of one learner, made anew for every local phase."""

    @property
    def samples(self) -> int:
        """How many samples `observe` wants to see; where any, it is called once before the first local phase too."""

    def mask(self) -> Mask | None:
        """The weights that may move in the next local phase, of the flat vector; None: all."""

    def observe(self, network: Network, inputs: "torch.Tensor") -> None:
        """Look at the model after a local phase, its weights loaded, with the same samples each time; choose anew."""


class Selection(HasParameters, Protocol):
    """A way to choose which weights a device trains."""

    def begin(self, params: Any, network: Network, rng: np.random.Generator, trial: Trial) -> Selector:
        """The selector of one learner; `trial` tells what training some weights would bring, before the run."""


class TaskSource(HasParameters, Protocol):
    """A data set."""

    def load(self, params: Any, data_seed: int, data_dir: str | None) -> Task:
        """Its samples; DataNotFoundError where a file is missing."""


ALGORITHMS: dict[str, Algorithm] = {
    "bilayer_gossip": bilayer_gossip,
    "centralized": centralized,
    "draco": draco,
    "dsgd": dsgd,
    "eclm": eclm,
    "elabip": elabip,
    "fedasync": fedasync,
    "fedavg": fedavg,
    "fedbuff": fedbuff,
    "fedprox": fedprox,
    "local_only": local_only,
}
MODELS: dict[str, Model] = {
    "grid_detector": grid_detector,
    "linear": linear,
    "lls_conv": lls_conv,
    "mcunet_small": mcunet_small,
    "mlp": mlp,
    "mobilenet_v2": mobilenet_v2,
    "modular": modular,
    "resnet18": resnet18,
    "small_conv": small_conv,
    "softhebb1": softhebb1,
    "softhebb_stream": softhebb_stream,
    "spiking_conv": spiking_conv,
    "vgg8": vgg8,
}
DRIFTS = drift.DRIFTS
PARTITIONS = partition.PARTITIONS
RULES: dict[str, Rule] = {
    "backprop": backprop,
    "lls": lls,
    "lls_m": lls_m,
    "lls_mxm": lls_mxm,
    "oja": oja,
    "random_features": random_features,
    "softhebb": softhebb,
    "spiking": spiking,
    "stdp": stdp,
}
RULES_OF_ANY_LOSS = frozenset({"backprop"})  # those that follow the gradient of whatever loss the task has
SELECTIONS: dict[str, Selection] = {
    "everything": everything,
    "head_only": head_only,
    "random": random,
    "sparse_update": sparse_update,
    "velocity": velocity,
}
TASKS: dict[str, TaskSource] = {
    "cifar10": cifar10,
    "coco_folder": coco_folder,
    "digits": digits,
    "image_folder": image_folder,
    "mnist": mnist,
    "moving_digits": moving_digits,
    "sp_sw_har": sp_sw_har,
    "utd_mhad": utd_mhad,
    "video_folder": video_folder,
}


def _parameter_types() -> Mapping[Kind, Mapping[str, type[Any]]]:
    return {
        "algorithm": {name: plugin.Parameters for name, plugin in ALGORITHMS.items()},
        "drift": DRIFTS,
        "meter": {name: plugin.Parameters for name, plugin in METERS.items()},
        "model": {name: plugin.Parameters for name, plugin in MODELS.items()},
        "partition": PARTITIONS,
        "rule": {name: plugin.Parameters for name, plugin in RULES.items()},
        "selection": {name: plugin.Parameters for name, plugin in SELECTIONS.items()},
        "task": {name: plugin.Parameters for name, plugin in TASKS.items()},
    }


def add(kind: Kind, name: str, plugin: Any) -> None:
    """Make a plug-in of the user's own known to this process; `node_image.plugins` has checked it."""
    _own_table(kind)[name] = plugin


def remove(kind: Kind, name: str) -> None:
    """Undo `add`."""
    del _own_table(kind)[name]


def _own_table(kind: Kind) -> dict[str, Any]:
    """The table of a kind that users may add to; KeyError for the others."""
    tables: Mapping[Kind, dict[str, Any]] = {
        "algorithm": ALGORITHMS,
        "model": MODELS,
        "rule": RULES,
        "selection": SELECTIONS,
        "task": TASKS,
    }
    return tables[kind]


def known(kind: Kind) -> tuple[str, ...]:
    """The registered names of a kind, sorted."""
    return tuple(sorted(_parameter_types()[kind]))


def parameters(kind: Kind, name: str) -> Mapping[str, ParameterSpec]:
    """What a scenario may set of a plug-in, in the order of its file; KeyError where the name is not registered."""
    return describe(_parameter_types()[kind][name])


def check(kind: Kind, name: str, parameters: Mapping[str, Any]) -> None:
    """Raise ValueError where the parameters of a plug-in, each right by itself, do not go together."""
    _parameter_types()[kind][name](**parameters)
