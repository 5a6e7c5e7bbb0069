"""Routes: the way of a packet from node to node along directed links.

Shortest by hops; among equals the one whose next ends come first by name, so a plan has the same routes everywhere.
Every end forwards, nodes too: in a ring or a line packets pass the links of the nodes between (not their processes).
"""

from collections import deque
from collections.abc import Iterable, Mapping

from orchestrator.plan import DirectedLink

TREES = 64  # searches kept, the last used: a coordinator's goes on and on, a device's is short


class _Tree:
    """A breadth-first search from one end, which goes no further than it was asked to."""

    __slots__ = ("_came_by", "_leaving", "_waiting")

    def __init__(self, leaving: Mapping[str, list[DirectedLink]], source: str) -> None:
        self._leaving = leaving
        self._came_by: dict[str, DirectedLink | None] = {source: None}
        self._waiting = deque([source])

    def path(self, target: str) -> tuple[DirectedLink, ...] | None:
        """Links to the target in order, None when there is no way."""
        came_by, waiting = self._came_by, self._waiting
        while waiting and target not in came_by:
            for link in self._leaving.get(waiting.popleft(), ()):
                if link.target not in came_by:
                    came_by[link.target] = link
                    waiting.append(link.target)
        if target not in came_by:
            return None
        path: list[DirectedLink] = []
        end = came_by[target]
        while end is not None:
            path.append(end)
            end = came_by[end.source]
        return tuple(reversed(path))


class Routes:
    """Paths over a fixed set of links; each is searched when first asked for."""

    def __init__(self, links: Iterable[DirectedLink]) -> None:
        self._leaving: dict[str, list[DirectedLink]] = {}
        for link in sorted(links, key=lambda link: link.target):
            self._leaving.setdefault(link.source, []).append(link)
        self._paths: dict[tuple[str, str], tuple[DirectedLink, ...] | None] = {}
        self._trees: dict[str, _Tree] = {}  # the last used at the end

    def path(self, source: str, target: str) -> tuple[DirectedLink, ...] | None:
        """Links from source to target in order; empty when they are the same end, None when there is no way."""
        pair = (source, target)
        if pair not in self._paths:
            tree = self._trees.pop(source, None) or _Tree(self._leaving, source)
            self._trees[source] = tree
            if len(self._trees) > TREES:
                del self._trees[next(iter(self._trees))]
            self._paths[pair] = tree.path(target)
        return self._paths[pair]
