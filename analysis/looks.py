"""How arms look in figures: one colour and one mark each, so that nothing is said by colour alone.

The first colours are after Okabe and Ito (2008), some darkened for white paper; `report.css` gives each a lighter
counterpart for dark pages.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analysis.groups import Group, arms

COLOURS = (
    *("#0072b2", "#d55e00", "#009e73", "#b84a8f", "#c98a00", "#45a3dc"),
    *("#4b5058", "#8c5a2b", "#6a51a3", "#7f9a1f", "#c2283d", "#0b5d66"),
)
MARKS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
INK, AXIS, GRID, FAULT, FAULT_INK = "#30343b", "#9aa0a8", "#e6e8eb", "#f3d9b1", "#8a5a12"
# In a page these colours are variables, so that they follow its light or dark looks.
VARIABLES = {
    **{colour: f"c{index}" for index, colour in enumerate(COLOURS)},
    **{INK: "ink", AXIS: "axis", GRID: "grid", FAULT: "fault", FAULT_INK: "fault-ink"},
}


@dataclass(frozen=True)
class Look:
    """How an arm is drawn; `number` counts arms."""

    number: int

    @property
    def colour(self) -> str:
        """Its own, until there are more arms than colours."""
        return COLOURS[self.number % len(COLOURS)]

    @property
    def mark(self) -> str:
        """The shape of its marks: another one, should the colour come back."""
        return MARKS[(self.number + self.number // len(COLOURS)) % len(MARKS)]


Looks = Mapping[str, Look]


def looks(groups: Sequence[Group]) -> Looks:
    """The look of each arm."""
    return {arm: Look(number) for number, arm in enumerate(arms(groups))}
