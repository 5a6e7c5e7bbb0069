#!/usr/bin/env python3
"""Write when devices are away, from other projects' traces, as CSV for the faults' `trace:` (device,from_s,to_s).

    scripts/availability.py fedscale client_behave_trace > away.csv
    scripts/availability.py flash state_traces.json > away.csv

FedScale's trace is a pickle, {client: {"active": [s...], "inactive": [s...], "finish_time": s}}: present from active[i]
to inactive[i], again every finish_time (fedscale/cloud/internal/client_metadata.py). FLASH's is JSON, {user:
{"messages": lines of `YYYY-mm-dd HH:MM:SS<tab>event`}}: a device is ready while locked, charging and on wifi
(models/timer.py).

Nothing in a file is executed: of a pickle only numbers, texts, lists, tuples and dictionaries are read, from its
opcodes, and whatever would import or call something is refused.
"""

import argparse
import csv
import json
import pickletools
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from math import inf
from pathlib import Path
from typing import Any

LARGEST_BYTES = 1 << 30
NUMBERS_AND_TEXTS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
}
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
READY = ("charging", "locked", "wifi")
NETWORKS = ("wifi", "2g", "3g", "4g", "5g", "unknown")
MARK = object()

Span = tuple[float, float]


def read_plain(content: bytes) -> Any:
    """What a pickle of plain data says; ValueError for one that holds anything else, or is damaged."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for opcode, argument, _ in pickletools.genops(content):
            name = opcode.name
            if name in NUMBERS_AND_TEXTS:
                stack.append(argument)
            elif name in CONSTANTS:
                stack.append(CONSTANTS[name])
            elif name == "STOP":
                (value,) = stack
                return value
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(str(argument))] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[int(str(argument))])
            elif name not in ("PROTO", "FRAME"):
                _build(name, stack)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"damaged: {error!r}") from error
    raise ValueError("damaged: it has no end")


def _build(name: str, stack: list[Any]) -> None:
    """Make or fill a list, a tuple or a dictionary."""
    match name:
        case "MARK":
            stack.append(MARK)
        case "EMPTY_LIST":
            stack.append([])
        case "EMPTY_DICT":
            stack.append({})
        case "EMPTY_TUPLE":
            stack.append(())
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        case "LIST":
            stack.append(_since_mark(stack))
        case "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        case "DICT":
            stack.append(_pairs(_since_mark(stack)))
        case "APPEND":
            value = stack.pop()
            _of(stack, list).append(value)
        case "APPENDS":
            values = _since_mark(stack)
            _of(stack, list).extend(values)
        case "SETITEM":
            value, key = stack.pop(), stack.pop()
            _of(stack, dict)[key] = value
        case "SETITEMS":
            values = _since_mark(stack)
            _of(stack, dict).update(_pairs(values))
        case _:
            raise ValueError(f"it holds more than plain data ({name}), and is not read: that could run anything")


def _since_mark(stack: list[Any]) -> list[Any]:
    place = max(index for index, value in enumerate(stack) if value is MARK)
    values = stack[place + 1 :]
    del stack[place:]
    return values


def _pairs(values: list[Any]) -> dict[Any, Any]:
    return dict(zip(values[::2], values[1::2], strict=True))


def _of(stack: list[Any], kind: type) -> Any:
    if not isinstance(stack[-1], kind):
        raise TypeError(f"a {kind.__name__} was expected")
    return stack[-1]


def fedscale(content: bytes, until_s: float) -> Iterator[tuple[str, list[Span]]]:
    """(device, when it is there) from FedScale's trace, repeated until `until_s`."""
    trace = read_plain(content)
    if not isinstance(trace, dict):
        raise TypeError(f"must be a dictionary of clients (found {type(trace).__name__})")
    for client, said in trace.items():
        try:
            begins, ends, period = said["active"], said["inactive"], float(said["finish_time"])
            once = [(float(begin), float(end)) for begin, end in zip(begins, ends, strict=True)]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"client {client!r}: needs active, inactive (as many) and finish_time ({error})") from None
        if not period > 0:
            raise ValueError(f"client {client!r}: finish_time must be positive (found {period})")
        turns = 1 if until_s == inf else int(until_s // period) + 1
        yield (
            f"client{client}",
            [(begin + turn * period, end + turn * period) for turn in range(turns) for begin, end in once],
        )


def flash(content: bytes, _until_s: float) -> Iterator[tuple[str, list[Span]]]:
    """(device, when it is there) from FLASH's trace; seconds since the first message of all."""
    users = json.loads(content)
    told = {user: _messages(user, said) for user, said in users.items()}
    first = min((when for messages in told.values() for when, _ in messages), default=None)
    for user, messages in told.items():
        yield (
            f"user{user}",
            list(_ready([((when - first).total_seconds(), event) for when, event in messages if first])),
        )


def _messages(user: str, said: Mapping[str, Any]) -> list[tuple[datetime, str]]:
    found = []
    for line in str(said["messages"]).splitlines():
        when, _, event = line.partition("\t")
        try:
            found.append((datetime.strptime(when.strip(), "%Y-%m-%d %H:%M:%S"), event.strip().lower()))
        except ValueError:
            raise ValueError(f"user {user!r}: not `YYYY-mm-dd HH:MM:SS<tab>event`: {line!r}") from None
    return sorted(found)


def _ready(messages: Sequence[tuple[float, str]]) -> Iterator[Span]:
    """When all of READY held; what was never told does not."""
    state = dict.fromkeys(READY, False)
    since: float | None = None
    for t, event in messages:
        if event in ("battery_charged_on", "battery_charged_off"):
            state["charging"] = event.endswith("on")
        elif event in ("screen_lock", "screen_unlock"):
            state["locked"] = event == "screen_lock"
        elif event in NETWORKS:
            state["wifi"] = event == "wifi"
        if all(state.values()) and since is None:
            since = t
        elif not all(state.values()) and since is not None:
            yield since, t
            since = None
    if since is not None:
        yield since, messages[-1][0]


def away(there: Sequence[Span], until_s: float) -> Iterator[tuple[float, float | None]]:
    """The gaps between the times of being there, from 0; None: from then on."""
    t = 0.0
    for begin, end in sorted(there):
        if begin >= until_s:
            break
        if begin > t:
            yield t, begin
        t = max(t, end)
    if t < until_s:
        yield t, None


def main() -> int:
    """Read, convert, write; 2 with one line of why where that cannot be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kind", choices=("fedscale", "flash"))
    parser.add_argument("file", type=Path)
    parser.add_argument(
        "--until", type=float, default=inf, metavar="SECONDS", help="as long as the run; the rest is left out"
    )
    options = parser.parse_args()
    read = fedscale if options.kind == "fedscale" else flash
    try:
        if options.file.stat().st_size > LARGEST_BYTES:
            raise ValueError(f"is larger than {LARGEST_BYTES} bytes")
        devices = list(read(options.file.read_bytes(), options.until))
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        sys.stderr.write(f"{options.file}: {error}\n")
        return 2
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("device", "from_s", "to_s"))
    for device, there in devices:
        for begin, end in away(there, options.until):
            writer.writerow((device, f"{begin:g}", "" if end is None else f"{end:g}"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
