"""What the receipt will tell of the links, before they have been measured: what the plan asks of each."""

from collections.abc import Mapping, Sequence
from typing import Any

ASKED = ("rate_bps", "delay_s", "loss")
NOT_YET = "not measured yet"


def planned_checks(links: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A check of all that is set of a link (as `facts` tells it), with nothing found; rates of traces are left out."""
    return [
        {"what": what, "where": link["id"], "asked": link[what], "found": None}
        | {"tolerance": None, "ok": None, "why": NOT_YET}
        for link in links
        for what in ASKED
        if link.get(what) is not None and not (what == "rate_bps" and link.get("trace"))
    ]
