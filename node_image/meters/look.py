"""Trying a meter: what it reads now, or what is wrong and what to do.

On a board it is `python -m node_image.meters.look JSON`: as the inventory has it, `{"kind": "ina3221", "rails":
"VDD_IN"}`; a `Look` comes back as a line of JSON.
"""

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from node_image.meters import MeterError, build

LOOK_S = 0.5  # between the two readings of a look: counters tell power by growing


@dataclass(frozen=True)
class Look:
    """What came of trying a meter: a reading, or what is wrong and what to do about it."""

    name: str
    works: bool
    watts: float | None = None
    rails_watts: Mapping[str, float] | None = None
    covers: str = ""
    accuracy: str = ""
    cited: str = ""
    problem: str = ""
    remedy: str = ""


def look(name: str, parameters: Mapping[str, Any]) -> Look:
    """Try a meter: two readings, half a second apart."""
    try:
        with contextlib.closing(build(name, **parameters)) as meter:
            with contextlib.suppress(MeterError):  # a serial line may not have come yet
                meter.read(time.monotonic())
            time.sleep(LOOK_S)
            found = meter.read(time.monotonic())
            about = meter.about
    except MeterError as error:
        return Look(name, False, problem=error.problem, remedy=error.remedy)
    return Look(name, True, found.watts, dict(found.rails_watts), about.covers, about.accuracy, about.cited)


def main() -> None:
    """Say what came of the meter that the one argument describes."""
    meter = json.loads(sys.argv[1])
    sys.stdout.write(json.dumps(asdict(look(meter.pop("kind"), meter))) + "\n")


if __name__ == "__main__":
    main()
