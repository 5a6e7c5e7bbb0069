"""Energy meters as plug-ins, one file each. Joules that are measured are labelled so, and never added to modelled ones.

meter = build("ina3221")                      # MeterError says what to do where that cannot be
with Metered(meter, "board", recorder.record, runtime.now):
    ...
"""

from typing import Any

from node_image.meters import ina219, ina3221, rapl, raspberry_pi_5, serial_line, smart_plug
from node_image.meters.base import About, Meter, MeterError, MeterKind, Reading
from node_image.meters.metered import Metered, Metering
from node_image.parameters import read

__all__ = ("METERS", "About", "Meter", "MeterError", "Metered", "Metering", "Reading", "build")

METERS: dict[str, MeterKind] = {
    "ina219": ina219,
    "ina3221": ina3221,
    "rapl": rapl,
    "raspberry_pi_5": raspberry_pi_5,
    "serial_line": serial_line,
    "smart_plug": smart_plug,
}


def build(name: str, **parameters: Any) -> Meter:
    """A meter, opened and asked once; MeterError says what is wrong (all parameters at once) and what to do."""
    kind = METERS.get(name)
    if kind is None:
        raise MeterError(f"unknown meter {name!r}", f"Known: {', '.join(METERS)}.")
    try:
        params = read(kind.Parameters, parameters)
    except ValueError as error:
        raise MeterError(f"meter {name}: {error}", "docs/energy.md says what each meter needs.") from error
    return kind.build(params)
