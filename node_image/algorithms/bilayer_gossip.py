"""Bilayer gossip: GD-PSGD with DK-means and cumulative FedAvg, for devices of little memory (arXiv 2501.04817).

A round: train the classifier w_k on n_k samples (the blocks before it are frozen); tell the neighbours where one is;
cluster; G_intra phases of gossip with partners in the own cluster, G_inter with partners outside; and at the end

    w_k <- S / N,  where S = n_k w_k and N = n_k, and with each partner's (w_j, n_j)  S += n_j w_j,  N += n_j

so that memory holds two models however many partners there were. A partner is met once in a round. Whoever answers is
in range; without neighbours a device keeps what it learned. One that was away goes on in its neighbours' round.
"""

import asyncio
from collections.abc import Container, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from node_image.aggregate import CumulativeMean
from node_image.algorithms.clusters import Advert, Clusters
from node_image.algorithms.exchange import vector, whole
from node_image.algorithms.measured import evaluate, first_samples, local_phase
from node_image.algorithms.neighbours import Neighbourhood, Patience, stand_by
from node_image.algorithms.pairing import Gift, Pairing
from node_image.clustering import Points, point_of
from node_image.mixing import balanced_samples, mean_of
from node_image.parameters import parameter
from node_image.runtime import NodeRuntime

T = TypeVar("T")


@dataclass(frozen=True)
class Parameters:
    """What a scenario may set."""

    rounds: int = parameter(0, "rounds to run; 0: until the run ends", minimum=0)
    frozen_blocks: int = parameter(0, "leading blocks of the model that are neither trained nor sent", minimum=0)
    local_steps: int = parameter(0, "minibatches in a local phase; 0: use local_epochs", minimum=0)
    local_epochs: int = parameter(1, "passes over the local samples in a local phase", minimum=1)
    intra_phases: int = parameter(3, "G_intra: phases of gossip inside the cluster in a round", minimum=0)
    inter_phases: int = parameter(1, "G_inter: phases of gossip between clusters in a round", minimum=0)
    inter: str = parameter(
        "boundary", "who gossips between clusters: any two in range, or heads alone", choices=("boundary", "heads")
    )
    dkmeans: str = parameter(
        "exact",
        "clusters of Lloyd's algorithm, or those of heads elected among neighbours",
        choices=("exact", "onehop"),
    )
    clusters: int = parameter(4, "K: number of clusters (exact)", minimum=1)
    min_cluster_size: int = parameter(2, "a head with so few neighbours or members resigns (onehop)", minimum=0)
    distance: str = parameter(
        "position",
        "what makes devices near: their places, their labels, or both",
        choices=("data", "mixed", "position"),
    )
    data_share: float = parameter(
        0.5, "mixed: weight of the labels, 1 - that of the places", unit="ratio", minimum=0.0, maximum=1.0
    )
    balanced: bool = parameter(False, "n_k (1 - 2 EMD_k)^3 for n_k: devices with skewed labels weigh less")
    pair_timeout_s: float = parameter(
        5.0, "t_pair: a neighbour that has not answered after so long counts as busy", unit="s", minimum=0.001
    )
    deadline_s: float = parameter(
        0.0, "a round waits so long for neighbours; 0: 3 x the median of recent ones", unit="s", minimum=0.0
    )
    first_deadline_s: float = parameter(
        60.0, "deadline while no neighbour was heard, and the longest", unit="s", minimum=0.001
    )
    evaluate_every: int = parameter(
        5, "rounds between two evaluations of each device's own model; 0: only at the end", minimum=0
    )
    checkpoint_every: int = parameter(5, "rounds between two checkpoints of each device", minimum=1)


async def device(node: NodeRuntime, params: Parameters) -> None:
    """Train, tell, cluster, gossip, average; again. Goes on from its checkpoint after a crash."""
    learner, first = node.learner, _first_trained(node, params)
    trainable = np.arange(learner.parameters) >= first if first else None
    width = sum(map(len, _point(node, params)))
    clusters = Clusters(node.index, width, params.dkmeans == "exact", params.clusters, params.min_cluster_size)
    patience = Patience(params.deadline_s, params.first_deadline_s)
    neighbours: Neighbourhood[Advert] = Neighbourhood(node, "advert", clusters.read, patience)
    pairing = Pairing(node, params.pair_timeout_s, learner.parameters - first, neighbours.attend)
    neighbours.other = pairing.handle
    number, kept = 0, node.restored()
    if kept is not None:
        number = whole(kept, "round")
        learner.load(vector(kept, "model", learner.parameters))
    await first_samples(node)
    while params.rounds == 0 or number < params.rounds:
        opened_s, began_s = node.now(), node.elapsed()
        number = max(number + 1, neighbours.newest()[0])
        pairing.close((number, 0))
        steps = params.local_steps or params.local_epochs * learner.epoch_steps(node.now())
        await _while_attending(neighbours, local_phase(node, steps, trainable=trainable))
        model = learner.weights()
        gift = Gift(model[first:], _samples(node, params))
        mean = CumulativeMean()
        mean.add(gift.weights, gift.samples)
        if neighbours.names:
            advert = clusters.advert(number, *_point(node, params))
            for name in neighbours.names:
                await node.send(name, "advert", advert)
        heard, taken = await neighbours.gather(number, opened_s), list[int]()
        if heard:
            clusters.update(list(heard.values()))
            taken = await _gossip(node, params, number, gift, heard, clusters, pairing, mean)
            node.record("cluster", clusters.head)
        mixed = mean.mean()
        learner.load(np.concatenate([model[:first], mixed]))
        took, gave = (
            (gift.samples + sum(taken)) * mean_of(mixed),
            gift.samples * (1 + len(taken)) * mean_of(gift.weights),
        )
        node.record("mixing_balance", took - gave)
        node.record("neighbours", len(heard))
        node.record("round", number)
        node.record("round_s", node.elapsed() - began_s)
        if number % params.checkpoint_every == 0:
            await node.save({"round": number, "model": learner.weights()})
        if params.evaluate_every and number % params.evaluate_every == 0:
            await _while_attending(neighbours, evaluate(node))
    while await neighbours.attend(params.pair_timeout_s):  # who is still at it gets an answer
        pass


async def coordinator(node: NodeRuntime, params: Parameters) -> None:
    """Nothing to do: devices speak among themselves."""
    await stand_by(node)


async def _gossip(
    node: NodeRuntime,
    params: Parameters,
    number: int,
    gift: Gift,
    heard: Mapping[str, Advert],
    clusters: Clusters,
    pairing: Pairing,
    mean: CumulativeMean,
) -> list[int]:
    """All phases of a round; `mean` takes in what partners give. Returns the samples that each of them brought."""
    met: set[str] = set()
    taken = []
    for phase in range(1, params.intra_phases + params.inter_phases + 1):
        layer = "intra" if phase <= params.intra_phases else params.inter
        suits = partial(_suits, layer, clusters, heard, met)
        candidates = [name for name, advert in heard.items() if suits(name, clusters.head_of[advert.device])]
        found = await pairing.meet((number, phase), gift, clusters.head, candidates, suits)
        if found is not None:
            name, theirs = found
            met.add(name)
            mean.add(theirs.weights, theirs.samples)
            taken.append(theirs.samples)
            node.record("gossip_exchanges", 1, layer="intra" if layer == "intra" else "inter")
    return taken


def _suits(
    layer: str, clusters: Clusters, heard: Mapping[str, Advert], met: Container[str], name: str, cluster: int
) -> bool:
    """Whether a neighbour that is of this cluster is a partner in a phase of this layer: each is one once a round."""
    if name in met or name not in heard:
        return False
    if layer == "intra":
        return cluster == clusters.head
    heads = clusters.head == clusters.me and cluster == heard[name].device
    return cluster != clusters.head and (layer == "boundary" or heads)


def _first_trained(node: NodeRuntime, params: Parameters) -> int:
    """Where the weights begin that are trained and sent: those of the frozen blocks come before."""
    if params.frozen_blocks == 0:
        return 0
    parts = node.learner.parts
    return next((part.start for part in parts if part.child >= params.frozen_blocks), node.learner.head_start)


def _samples(node: NodeRuntime, params: Parameters) -> int:
    """n_k, or what is left of it where the labels are skewed."""
    if params.balanced:
        return round(balanced_samples(node.learner.label_counts(node.now())))
    return node.learner.samples(node.now())


def _point(node: NodeRuntime, params: Parameters) -> tuple[Points, Points]:
    """Where the device is, among places and labels; one that has no place goes by its labels."""
    place = node.position_m()
    share = 1.0 if place is None else {"data": 1.0, "mixed": params.data_share, "position": 0.0}[params.distance]
    return point_of(place, node.learner.label_counts(node.now()) if share else None, share)


async def _while_attending(neighbours: Neighbourhood[Advert], work: Coroutine[Any, Any, T]) -> T:
    """Do the work, and take in meanwhile what neighbours say: who asks for a pairing is not kept waiting."""

    async def attend() -> None:
        while True:
            await neighbours.attend(None)

    async with asyncio.TaskGroup() as tasks:
        attending = tasks.create_task(attend())
        result = await work
        attending.cancel()
    return result
