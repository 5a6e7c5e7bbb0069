"""The block that makes a model modular: layers of modules that stand in for each other, and who chooses among them."""

import torch
from torch import nn
from torch.nn.functional import one_hot


class ModularBlock(nn.Module):
    """L layers of M modules on features of one width; a unified selector gives every module of every layer its gate.

    h <- relu(h + sum_i g_i omega_i(h)) over the `top_k` modules with the largest gates of those that the model has;
    their gates are made to sum to 1. Which modules it has is part of its weights: `active` (L, M), 1 or 0, on which
    nothing depends smoothly, so that no rule moves it. What a model does not have is not computed.
    """

    def __init__(self, width: int, hidden: int, layers: int, modules: int, top_k: int) -> None:
        super().__init__()
        self.selector = nn.Linear(width, layers * modules)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)) for _ in range(modules)
            )
            for _ in range(layers)
        )
        self.active = nn.Parameter(torch.ones(layers, modules))
        self.top_k = top_k

    def logits(self, h: torch.Tensor) -> torch.Tensor:
        """The selector's scores of the modules: features (n, width) -> (n, L, M)."""
        scores: torch.Tensor = self.selector(h)
        return scores.view(-1, *self.active.shape)

    def gates(self, h: torch.Tensor) -> torch.Tensor:
        """How much of each sample belongs to each module: (n, L, M), which sums to 1 in every layer."""
        return self.logits(h).softmax(dim=2)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Features (n, width), none negative, to features of the same shape."""
        return self.route(h, self.gates(h))

    def route(self, h: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
        """As `forward`, with gates (n, L, M) given."""
        held = self.active.detach() > 0
        for layer, modules in enumerate(self.layers):
            assert isinstance(modules, nn.ModuleList)
            shares = self._shares(gates[:, layer], held[layer])
            change = torch.zeros_like(h)
            for module in held[layer].nonzero().flatten().tolist():
                change = change + shares[:, module, None] * modules[module](h)
            h = torch.relu(h + change)
        return h

    def _shares(self, gates: torch.Tensor, held: torch.Tensor) -> torch.Tensor:
        """(n, M): gates of the `top_k` modules held, which sum to 1, and 0 for all others."""
        possible = gates.masked_fill(~held, 0.0)
        best = possible.topk(min(self.top_k, gates.shape[1]), dim=1).indices
        kept = possible * one_hot(best, gates.shape[1]).sum(dim=1)
        return kept / kept.sum(dim=1, keepdim=True).clamp_min(torch.finfo(kept.dtype).tiny)
