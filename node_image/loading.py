"""Loading torch, which is most of what it takes for a node to get ready: 1,100 modules."""

import gc


def load_torch() -> None:
    """Import it, with one thread to compute in. No garbage is looked for meanwhile: there is none, and it is a sixth
    of the time. What is loaded is never looked at again."""
    gc.disable()
    try:
        import torch
    finally:
        gc.enable()
    torch.set_num_threads(1)
    gc.freeze()
