"""A series over the time of a run, thinned to bins of equal width, each with the version in which it last changed."""

MOST_BINS = 4_000  # where nobody knows how long the run lasts; what comes later stays in the last one


class Bins:
    """The values of one series; None where nothing was measured in a bin."""

    def __init__(self) -> None:
        self.values: list[float | None] = []
        self._versions: list[int] = []
        self._newest = 0

    def put(self, index: int, value: float, version: int) -> None:
        """The value in this bin is now this: of several, the last counts."""
        index = self._reach(index)
        self.values[index] = value
        self._versions[index] = self._newest = version

    def add(self, index: int, value: float, version: int) -> None:
        """Something more was counted in this bin."""
        self.put(index, (self.values[index] or 0.0 if 0 <= index < len(self.values) else 0.0) + value, version)

    def since(self, version: int) -> list[float | None] | None:
        """`[first bin, value, value...]` from the first to the last that changed after a version; None if none did.

        Values, not changes: to apply them twice does no harm.
        """
        if self._newest <= version:
            return None
        changed = [index for index, stamp in enumerate(self._versions) if stamp > version]
        first, last = changed[0], changed[-1]
        return [first, *(value if value is None else round(value, 6) for value in self.values[first : last + 1])]

    def _reach(self, index: int) -> int:
        index = min(max(index, 0), MOST_BINS - 1)
        missing = index + 1 - len(self.values)
        self.values.extend([None] * missing)
        self._versions.extend([0] * missing)
        return index
