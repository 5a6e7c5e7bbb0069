"""What outlives a simulated node's crash: its newest checkpoint and the one before, as the files of a real node do."""

from node_image.runtime import Body


class VirtualDisk:
    """`full`: nothing more can be written. `torn`: the newest checkpoint was, and `state` is the one before it."""

    __slots__ = ("before", "full", "state", "torn")

    def __init__(self) -> None:
        self.state: Body | None = None
        self.before: Body | None = None
        self.full = self.torn = False

    def keep(self, state: Body) -> None:
        """Write another checkpoint."""
        self.before, self.state, self.torn = self.state, state, False

    def tear(self) -> str:
        """Lose the newest checkpoint; says what is left."""
        if self.state is None:
            return "it had no checkpoint to tear"
        left = 0 if self.before is None else 1
        self.state, self.before, self.torn = self.before, None, True
        return f"its newest checkpoint torn; {left} before it"
