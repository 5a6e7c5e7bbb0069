"""`edgebed meters`: which energy meters work on this machine, with a reading of each, and how to get the others."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator import quantities
from orchestrator.commands.options import json_option
from orchestrator.terminal import print_line

if TYPE_CHECKING:
    from node_image.meters.look import Look

NAME_WIDTH = 15
INDENT = NAME_WIDTH + 4


@click.command()
@click.argument("chosen", nargs=-1, metavar="[NAME[:KEY=VALUE,...]]...")
@json_option
def meters(chosen: tuple[str, ...], as_json: bool) -> int:
    """Try the energy meters of this machine.

    Without a NAME, all of them as they come; one with an address or a port is tried where that is given:

    \b
      edgebed meters smart_plug:url=http://192.168.1.50
      edgebed meters serial_line:port=/dev/ttyUSB0 ina3221:rails=VDD_IN

    The same words choose a meter for a run: edgebed run smoke --meter rapl. What each of them measures, and how
    well, is in docs/energy.md. Ends with 0 if one of them works, else with 3.
    """
    from node_image.meters import METERS
    from node_image.meters.look import Look, look
    from orchestrator.telemetry.metering import needs, parse

    found = [look(*parse(text)) for text in chosen]
    for name in () if chosen else METERS:
        if wanted := needs(name):
            words = ",".join(f"{key}={about.split()[-1]}" for key, about in wanted.items())
            found.append(Look(name, False, problem="not tried: it must be told where", remedy=f"{name}:{words}"))
        else:
            found.append(look(name, {}))
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "meters": [asdict(each) for each in found]}, indent=1))
    else:
        for each in found:
            _show(each)
    return 0 if any(each.works for each in found) else 3


def _show(found: "Look") -> None:
    """A meter: what it reads, of what and how well; or what is wrong, and what helps."""
    if not found.works:
        print_line(f"✗ {found.name:{NAME_WIDTH}}  {found.problem}", "red", indent=INDENT, styled=1)
        print_line(f"{'':{INDENT}}→ {found.remedy}", indent=INDENT + 2)
        return
    power = "no power known yet" if found.watts is None else quantities.with_unit(found.watts, "W")
    print_line(f"✓ {found.name:{NAME_WIDTH}}  {power}", "green", indent=INDENT, styled=1)
    for name, watts in (found.rails_watts or {}).items():
        print_line(f"{'':{INDENT}}{name} {quantities.with_unit(watts, 'W')}", indent=INDENT)
    print_line(f"{'':{INDENT}}of {found.covers}", indent=INDENT)
    print_line(f"{'':{INDENT}}accuracy: {found.accuracy} ({found.cited})", indent=INDENT)
