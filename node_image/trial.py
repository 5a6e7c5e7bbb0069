"""What training some of the weights would bring, tried out before a run: the offline study of Sparse Update.

It is made where the model is prepared, on samples of the whole task and from the initial weights, so that it is the
same for every device, and is not charged to any.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from node_image.network import Constraint, Mask, Network

if TYPE_CHECKING:
    import torch

    from node_image.registry import Rule


@dataclass(frozen=True, eq=False)  # hashed by identity: what is found with a trial is kept as long as it
class Trial:
    """Samples as the model sees them, one half to learn from and the other to be tested on; `seed` is the data's."""

    network: Network
    initial: NDArray[np.float32]
    rule: "Rule"
    rule_parameters: Any
    x: "torch.Tensor"
    y: "torch.Tensor"
    seed: int
    _losses: dict[tuple[bytes, int], float] = field(default_factory=dict)

    def loss(self, trainable: Mask, steps: int) -> float:
        """Loss on the second half after so many steps on the first; infinite where that diverges."""
        key = (np.packbits(trainable).tobytes(), steps)
        if key not in self._losses:
            self._losses[key] = self._measured(trainable, steps)
        return self._losses[key]

    def _measured(self, trainable: Mask, steps: int) -> float:
        import torch

        network, half = self.network, len(self.y) // 2
        size = min(half, self.rule_parameters.batch_size)
        rng = np.random.default_rng([self.seed, 5])
        with network.lock:
            np.copyto(network.buffer, self.initial)
            step = self.rule.begin(self.rule_parameters, network, Constraint(trainable=trainable))
            for _ in range(steps):
                batch = torch.from_numpy(rng.choice(half, size, replace=False))
                step(self.x[batch], self.y[batch])
            with torch.inference_mode():
                loss = float(network.objective.loss(network.module(self.x[half:]), self.y[half:]))
        return loss if math.isfinite(loss) else math.inf
