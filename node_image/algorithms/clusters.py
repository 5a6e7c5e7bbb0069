"""Which cluster a device belongs to, by what it hears of others. A cluster is named by its head: a device number.

A sum over a net that loses and repeats would count some twice and others never. So what travels is a table: each
device's newest point, with the round it is of. In exact mode every device tells its neighbours all it knows, so that
after as many rounds as the net is wide all know all; the same table gives all of them the same clusters, those of
Lloyd's algorithm. In one-hop mode a device tells its own point alone, and heads are elected among neighbours.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from node_image.algorithms.exchange import RefusedError, whole
from node_image.clustering import Points, Seen, distances, elect, farthest_first, heads, k_means
from node_image.runtime import Body, Message

KEPT_ROUNDS = 10  # a device not heard of for so many rounds is taken for gone
NO_HEAD = -1


@dataclass(frozen=True)
class Advert:
    """What a neighbour says of itself in a round, and of others: number, round and point of each."""

    device: int
    head: int
    neighbours: int
    table: Mapping[int, tuple[int, Points]]


@dataclass
class Clusters:
    """What one device (its number `me`) knows; points have `width` dimensions.

    `exact` makes `k` clusters; one-hop ones have more than `minimum` members.
    """

    me: int
    width: int
    exact: bool
    k: int
    minimum: int
    head: int = NO_HEAD
    neighbours: int = 0
    head_of: dict[int, int] = field(default_factory=dict)  # of every device known of
    _places: int = 0  # leading coordinates of a point that are a place
    _table: dict[int, tuple[int, Points]] = field(default_factory=dict)

    def advert(self, number: int, place: Points, labels: Points) -> Body:
        """What to tell the neighbours in this round; the two halves of the device's point."""
        point, self._places = np.concatenate([place, labels]), len(place)
        self._table[self.me] = number, point.astype(np.float32).astype(np.float64)  # as the others will see it
        self._table = {who: row for who, row in self._table.items() if row[0] + KEPT_ROUNDS > number}
        told = [self.me, *sorted(self._table.keys() - {self.me})] if self.exact else [self.me]
        return {
            "round": number,
            "head": self.head,
            "neighbours": self.neighbours,
            "who": np.array(told, np.int32),
            "rounds": np.array([self._table[who][0] for who in told], np.int32),
            "points": np.array([self._table[who][1] for who in told], np.float32),
        }

    def read(self, message: Message) -> Advert:
        """A neighbour's advert; RefusedError where it is none."""
        body = message.body
        who, rounds, points = (body.get(name) for name in ("who", "rounds", "points"))
        for each, dtype in ((who, np.int32), (rounds, np.int32), (points, np.float32)):
            if not isinstance(each, np.ndarray) or each.dtype != dtype:
                raise RefusedError("missing_field")
        assert isinstance(who, np.ndarray)
        assert isinstance(rounds, np.ndarray)
        assert isinstance(points, np.ndarray)
        if who.ndim != 1 or not len(who) or rounds.shape != who.shape or points.shape != (len(who), self.width):
            raise RefusedError("wrong_shape")
        if not np.isfinite(points).all():
            raise RefusedError("not_finite")
        rows = zip(who.tolist(), rounds.tolist(), points.astype(np.float64), strict=True)
        table = {number: (round_, point) for number, round_, point in rows}
        head, neighbours = whole(body, "head", minimum=NO_HEAD), whole(body, "neighbours")
        return Advert(int(who[0]), head, neighbours, table)

    def update(self, adverts: list[Advert]) -> None:
        """Take in the adverts of a round, and settle which head to follow."""
        self.neighbours = len(adverts)
        for advert in adverts:
            for who, row in advert.table.items():
                if who != self.me and (who not in self._table or self._table[who][0] < row[0]):
                    self._table[who] = row
        if self.exact:
            self._lloyd()
        else:
            self._elect(adverts)
        self.head = self.head_of[self.me]

    def _lloyd(self) -> None:
        known = sorted(self._table)  # all start from the same points in the same order
        points = np.array([self._table[who][1] for who in known])
        labels, centroids = k_means(points, farthest_first(points, self.k))
        head = heads(points, labels, centroids)
        self.head_of = {who: known[head[label]] for who, label in zip(known, labels, strict=True)}

    def _elect(self, adverts: list[Advert]) -> None:
        self.head_of = {advert.device: advert.head for advert in adverts}
        here = self._table[self.me][1]
        points = np.array([self._table[advert.device][1] for advert in adverts]).reshape(-1, len(here))
        apart = distances(here, points, self._places)
        near = {
            advert.device: Seen(float(distance), advert.neighbours, advert.head)
            for advert, distance in zip(adverts, apart, strict=True)
        }
        members = [self.me, *(who for who, seen in near.items() if seen.head == self.me)]
        inside = np.array([self._table[who][1] for who in members])
        successor = members[int(distances(inside.mean(axis=0), inside, self._places).argmin())]
        self.head_of[self.me] = elect(self.me, self.head, near, successor, self.minimum)
