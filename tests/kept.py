"""What autograd really keeps: bytes of the tensors saved for backward passes, now and at most."""

import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from node_image.network import Network


class Held:
    """A saved tensor, for as long as autograd holds it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


class Kept:
    """Counts every storage once, however many tensors share it, and the model's weights not at all."""

    def __init__(self, network: Network) -> None:
        self.weights = network.weights.untyped_storage().data_ptr()
        self.users: Counter[int] = Counter()
        self.now_bytes = self.peak_bytes = 0

    def pack(self, tensor: torch.Tensor) -> Held:
        """Autograd saves a tensor."""
        held, storage = Held(tensor), tensor.untyped_storage()
        if storage.data_ptr() != self.weights:
            if not self.users[storage.data_ptr()]:
                self.now_bytes += storage.nbytes()
                self.peak_bytes = max(self.peak_bytes, self.now_bytes)
            self.users[storage.data_ptr()] += 1
            weakref.finalize(held, self.release, storage.data_ptr(), storage.nbytes())
        return held

    def release(self, place: int, size_bytes: int) -> None:
        """Autograd needs it no more."""
        self.users[place] -= 1
        if not self.users[place]:
            self.now_bytes -= size_bytes


@contextmanager
def kept(network: Network) -> Iterator[Kept]:
    """Count what is saved inside the `with`."""
    counter = Kept(network)
    with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda held: held.tensor):
        yield counter
