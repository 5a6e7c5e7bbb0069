"""Data-parallel training with PyTorch's own collectives (gloo): every step, all average their gradients.

An ordinary distributed program that knows nothing of Edgebed: train.py RANK ADDRESSES SECONDS, where ADDRESSES are
those of all ranks with commas between; they meet at the first.
"""

import os
import sys
import time

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits

PORT = 29500
BATCH = 32
TEST = 360


def main() -> None:
    """Join the others, train for so many seconds of rank 0's clock, and tell what came of it."""
    rank, addresses, seconds = int(sys.argv[1]), sys.argv[2].split(","), float(sys.argv[3])
    world = len(addresses)
    os.environ |= {"MASTER_ADDR": addresses[0], "MASTER_PORT": str(PORT)}
    dist.init_process_group("gloo", rank=rank, world_size=world)
    print(f"rank {rank} of {world} has met the others", flush=True)

    images, classes = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    x, y = torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(classes)[order]
    own_x, own_y = x[TEST:][rank::world], y[TEST:][rank::world]
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    draw = torch.Generator().manual_seed(rank)

    began, step, is_over = time.monotonic(), 0, torch.zeros(1)
    while not is_over:
        step_began = time.monotonic()
        chosen = torch.randint(len(own_x), (BATCH,), generator=draw)
        model.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(own_x[chosen]), own_y[chosen])
        loss.backward()
        gradient = torch.cat([each.grad.flatten() for each in model.parameters()])
        dist.all_reduce(gradient)
        torch.nn.utils.vector_to_parameters(
            torch.nn.utils.parameters_to_vector(model.parameters()) - 0.2 * gradient / world, model.parameters()
        )
        step += 1
        print(f"step {step} took {time.monotonic() - step_began:.6f} s, loss {loss.item():.4f}", flush=True)
        if step % 20 == 0:
            with torch.no_grad():
                accuracy = (model(x[:TEST]).argmax(1) == y[:TEST]).float().mean().item()
            if rank == 0:
                print(f"after step {step}: accuracy {accuracy:.4f}", flush=True)
            is_over[0] = time.monotonic() - began > seconds
            dist.broadcast(is_over, 0)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
