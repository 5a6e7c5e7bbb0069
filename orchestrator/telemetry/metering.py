"""Measuring the machine that a run lives on, by one of node_image's meters, for as long as the run learns.

Its joules are of the whole machine (component `host`): no node's, and never added to what the profiles model.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from node_image.meters import METERS, Metered, MeterError, Metering, build
from node_image.parameters import REQUIRED, describe, read
from node_image.records import Record
from orchestrator.errors import MachineCannotError, UsageError

HOST = "host"

Parameters = Mapping[str, Any]


def parse(text: str) -> tuple[str, Parameters]:
    """A meter as the command line names it, `name` or `name:key=value,key=value`; UsageError says all that is wrong."""
    name, _, words = text.partition(":")
    if name not in METERS:
        raise UsageError(f"unknown meter {name!r}; known: {', '.join(METERS)}")
    specs = describe(METERS[name].Parameters)
    given: dict[str, Any] = {}
    for word in filter(None, words.split(",")):
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"meter {text!r}: {word!r} is no key=value")
        given[key] = _typed(value, specs[key].type) if key in specs else value
    try:
        read(METERS[name].Parameters, given)
    except ValueError as error:
        raise UsageError(f"meter {text!r}: {error}") from error
    return name, given


def needs(name: str) -> Mapping[str, str]:
    """What a meter must be told before it can be tried, and what that is."""
    specs = describe(METERS[name].Parameters).values()
    return {spec.name: spec.about for spec in specs if spec.default is REQUIRED}


def available(text: str) -> str | None:
    """Why a meter named on the command line cannot be used here, with the remedy; None: it can."""
    name, parameters = parse(text)
    try:
        build(name, **parameters).close()
    except MeterError as error:
        return f"meter {name}: {error}"
    return None


@contextlib.asynccontextmanager
async def host_metered(
    text: str, now: Callable[[], float], record: Callable[[Record], None], ended: Callable[[Metering], None]
) -> AsyncIterator[None]:
    """Sample a meter while the block lasts. `record` and `ended` are called on the event loop; empty: no meter."""
    if not text:
        yield
        return
    name, parameters = parse(text)
    try:
        meter = await asyncio.to_thread(build, name, **parameters)
    except MeterError as error:
        raise MachineCannotError(f"meter {name}: {error}") from error
    loop = asyncio.get_running_loop()
    metered = Metered(meter, HOST, lambda one: _hand_on(loop, record, one), now)
    metered.start()
    try:
        yield
    finally:
        ended(await asyncio.to_thread(metered.stop))


def _hand_on(loop: asyncio.AbstractEventLoop, record: Callable[[Record], None], one: Record) -> None:
    loop.call_soon_threadsafe(record, one)


def _typed(value: str, kind: type[Any]) -> Any:
    """A word of the command line as what a parameter wants; as it is where it cannot be, for the check to tell."""
    if kind is bool:
        return {"true": True, "false": False}.get(value, value)
    try:
        return kind(value)
    except ValueError:
        return value
