"""The clock that a node believes in: the run's, unless a fault has set it wrong.

All processes of a machine share its clock, and a board's own serves its whole system. So a wrong clock is made here, in
the one object from which a node and its algorithm have the time: what they compute from `now()`, and how long they
sleep or wait, is wrong as it would be. How long something took they have from a timer that nobody sets (`elapsed`).
Records bear the run's time, whatever the node believes: those of all nodes can be compared.

    reads = true + sum of (skew + drift * (true - since)) over all faults
"""

from dataclasses import dataclass

SHORTEST_S = 1e-6


@dataclass(frozen=True)
class Wrong:
    """What one fault does: so many seconds ahead at once, and so many more a second from `since_s` (true) on."""

    skew_s: float
    drift: float
    since_s: float


class OwnClock:
    """Each fault sets its own part and takes it away again; `is_true`: none has."""

    def __init__(self) -> None:
        self.is_true = True
        self._wrong: dict[int, Wrong] = {}

    def set_wrong(self, fault: int, wrong: Wrong | None) -> None:
        """What a fault does to it from now on; None: nothing any more."""
        if wrong is None:
            self._wrong.pop(fault, None)
        else:
            self._wrong[fault] = wrong
        self.is_true = not self._wrong

    def reads(self, true_s: float) -> float:
        """What it shows at this time of the run; never less than 0, where a run begins."""
        wrong_s = sum(each.skew_s + each.drift * (true_s - each.since_s) for each in self._wrong.values())
        return max(0.0, true_s + wrong_s)

    def lasts(self, seconds: float) -> float:
        """How long it truly takes until the clock has gone on by so many seconds.

        Who waits for an instant of a clock that is wrong may be left with what rounding leaves, which added to the true
        time changes nothing: any wait takes a little.
        """
        if self.is_true or seconds <= 0.0:
            return seconds
        return max(SHORTEST_S, seconds / (1.0 + sum(each.drift for each in self._wrong.values())))
