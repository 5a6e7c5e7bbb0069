"""What can be chosen by name: one literal table a kind of plug-in. Importing this loads no torch and no data."""

from collections.abc import Coroutine, Mapping
from typing import Any, Literal, Protocol

from node_image.algorithms import centralized, fedasync, fedavg, local_only
from node_image.data import cifar10, digits, mnist, moving_digits, partition, sp_sw_har, utd_mhad
from node_image.data.task import Task
from node_image.models import linear, mlp, small_conv
from node_image.network import Architecture, Network, Step
from node_image.parameters import ParameterSpec, describe
from node_image.rules import backprop
from node_image.runtime import Cost, NodeRuntime

Kind = Literal["algorithm", "model", "partition", "rule", "task"]


class HasParameters(Protocol):
    """A plug-in: a file with a frozen dataclass `Parameters`."""

    @property
    def Parameters(self) -> type[Any]:
        """What a scenario may set."""


class Algorithm(HasParameters, Protocol):
    """Who tells whom what, when: both sides of the conversation."""

    def device(self, node: NodeRuntime, params: Any) -> Coroutine[Any, Any, None]:
        """A device's part, for as long as it lives."""

    def coordinator(self, node: NodeRuntime, params: Any) -> Coroutine[Any, Any, None]:
        """The coordinator's part; where it returns, the run is over."""


class Model(HasParameters, Protocol):
    """An architecture."""

    def build(self, params: Any, shape: tuple[int, ...], classes: int) -> Architecture:
        """A model for samples of this shape, with fresh weights from torch's global generator."""


class Rule(HasParameters, Protocol):
    """How weights change. Its parameters have at least `batch_size` and `shuffle`, which the learner reads."""

    def begin(self, params: Any, network: Network, proximal: float) -> Step:
        """Start a local phase; the result is called with each minibatch and returns its loss."""

    def cost(self, network: Network, samples: int, steps: int) -> Cost:
        """Work of so many steps on so many samples."""


class TaskSource(HasParameters, Protocol):
    """A data set."""

    def load(self, params: Any, data_seed: int, data_dir: str | None) -> Task:
        """Its samples; DataNotFoundError where a file is missing."""


ALGORITHMS: Mapping[str, Algorithm] = {
    "centralized": centralized,
    "fedasync": fedasync,
    "fedavg": fedavg,
    "local_only": local_only,
}
MODELS: Mapping[str, Model] = {
    "linear": linear,
    "mlp": mlp,
    "small_conv": small_conv,
}
PARTITIONS = partition.PARTITIONS
RULES: Mapping[str, Rule] = {
    "backprop": backprop,
}
TASKS: Mapping[str, TaskSource] = {
    "cifar10": cifar10,
    "digits": digits,
    "mnist": mnist,
    "moving_digits": moving_digits,
    "sp_sw_har": sp_sw_har,
    "utd_mhad": utd_mhad,
}


def _parameter_types() -> Mapping[Kind, Mapping[str, type[Any]]]:
    return {
        "algorithm": {name: plugin.Parameters for name, plugin in ALGORITHMS.items()},
        "model": {name: plugin.Parameters for name, plugin in MODELS.items()},
        "partition": PARTITIONS,
        "rule": {name: plugin.Parameters for name, plugin in RULES.items()},
        "task": {name: plugin.Parameters for name, plugin in TASKS.items()},
    }


def known(kind: Kind) -> tuple[str, ...]:
    """The registered names of a kind, sorted."""
    return tuple(sorted(_parameter_types()[kind]))


def parameters(kind: Kind, name: str) -> Mapping[str, ParameterSpec]:
    """What a scenario may set of a plug-in, in the order of its file; KeyError where the name is not registered."""
    return describe(_parameter_types()[kind][name])
