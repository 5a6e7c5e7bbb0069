"""Scenario files that nobody should trust, and what becomes of each: `python -m tests.security.scenarios COUNT SEED`.

Run as a process of its own, because it watches its own memory and every file that is opened. Prints one JSON object:
how many files were valid and how many refused, the slowest, the largest memory, and every file that broke a promise.
"""

import contextlib
import copy
import io
import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from orchestrator.errors import EdgebedError
from tests.security.watch import StuckError, busy_at_most, largest_bytes

ROOT = Path(__file__).parents[2]
BUSY_S = 1.0
KEPT = 12  # of the files that broke a promise
PLACE = re.compile(r"^\S.*?:\d+:\d+: ", re.MULTILINE)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READS = ("open", "import", "exec", "compile", "os.listdir", "os.scandir", "glob.", "pathlib.", "marshal.", "object.")
HARMLESS = (*READS, "sys.", "code.", "time.", "tempfile.", "gc.", "array.", "cpython.", "builtins.id")

NASTY: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 7.5, 1000, 10**6, 10**17, -(10**17), 1e308, -1e308, 1e-308, -0.0),
    *(
        "",
        " ",
        "x",
        "on",
        "yes",
        "010",
        "1e3",
        "12:30:45",
        "2024-13-45",
        "0x10",
        "nan",
        "~",
        "null",
        "\u0000",
        "\u202e",
        "é" * 50,
    ),
    *(
        "0 s",
        "-1 s",
        "1 ns",
        "1e308 s",
        "1e-300 s",
        "nan s",
        "inf s",
        "99999999 h",
        "20",
        "20 parsecs",
        "5ms",
        "1 s 2 s",
    ),
    *(
        "0 %",
        "100 %",
        "101 %",
        "-5 %",
        "1e300 %",
        "0.0000001 %",
        "0 bps",
        "1e30 Gbit/s",
        "1 bit/s",
        "999999 GB",
        "-3 B",
    ),
    *(
        "../../etc/passwd",
        "/etc/shadow",
        "/dev/zero",
        "/dev/stdin",
        "/proc/self/mem",
        "~root",
        "file:///x",
        "a/../../b",
    ),
    *(
        "$(id)",
        "`id`",
        "; rm -rf /",
        "{{ 7*7 }}",
        "${HOME}",
        "%n%n%n",
        "__import__('os')",
        "os.system",
        "../x.py",
        "-rf",
    ),
    *(
        [],
        {},
        [[]],
        [None],
        {"a": 1},
        {"kind": "star"},
        {"name": "fedavg"},
        [1, 2, 3],
        {"": ""},
        ["x"] * 50,
        "y" * 5000,
    ),
]
# What YAML itself can do to a reader (reliability of parsers: duplicate keys, aliases, tags, depth, size, encodings).
TEXTS = [
    b"",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbfname: x",
    b"&a [*a]",
    b"a: &a [x,x,x,x,x,x,x,x,x]\n"
    + b"".join(b"%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c]\n" % ((n, n) + (n - 1,) * 6) for n in b"bcdefgh"),
    b"[" * 5000,
    b"{a: " * 5000,
    b"a: " * 5000,
    b"- " * 20000,
    b"name: !!python/object/apply:os.system [id]",
    b"name: !!int zz",
    b"name: !!float ''",
    b"name: !!timestamp 2024-13-45",
    b"name: !!binary aGk=",
    b"name: !!set {a, b}",
    b"seed: " + b"9" * 5000,
    b"seed: 1e" + b"9" * 50,
    b"seed: 0x" + b"f" * 5000,
    b"name: a\nname: b",
    b"<<: {name: x}",
    b"? [a]\n: b",
    b"%YAML 9.9\n---\nname: x",
    b"--- a\n--- b",
    b"name: |\n" + b"  x\n" * 60000,
    b"# " + b"x" * 300_000,
    b"name: '" + b"\\" * 1000,
    b"".join(b"k%d: 1\n" % n for n in range(20_000)),
    b"[" + b"1," * 60_000 + b"]",
    b"devices:\n" + b"  - {group: a, count: 1, profile: host, link: lte}\n" * 3000,
    b"faults:\n" + b"  - {kind: crash, at: 1 s, group: a}\n" * 4000,
]


def shipped() -> list[tuple[str, bytes]]:
    """The scenarios of this repository, and where each lies: what they name is found from there."""
    found = sorted((ROOT / "scenarios").glob("*.yaml")) + sorted((ROOT / "scenarios" / "papers").glob("*.yaml"))
    return [(str(path.parent), path.read_bytes()) for path in found]


def _places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _places(value, (*path, key))


def rebuilt(data: Any, chance: random.Random) -> bytes:
    """A scenario that is right as YAML, with one to three values replaced, moved, doubled, renamed or removed."""
    data = copy.deepcopy(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places = list(_places(data))
        if not places:
            break
        *path, key = chance.choice(places)
        inside = data
        for step in path:
            inside = inside[step]
        draw = chance.randrange(10)
        if draw < 6:
            inside[key] = copy.deepcopy(chance.choice(NASTY))
        elif draw == 6:
            del inside[key]
        elif draw == 7 and isinstance(inside, dict):
            inside[f"{key}x"] = inside.pop(key)
        elif draw == 8 and isinstance(inside, list):
            inside.extend(copy.deepcopy(inside) * chance.choice((1, 20)))
        else:
            *other, last = chance.choice(places)
            target = data
            try:
                for step in other:
                    target = target[step]
                inside[key] = copy.deepcopy(target[last])
            except (KeyError, IndexError, TypeError):
                pass  # an earlier change has taken the place away
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode("utf-8", "surrogatepass")


def damaged(text: bytes, chance: random.Random) -> bytes:
    """The file with bytes changed or lines taken out, doubled, moved in or out."""
    if chance.random() < 0.5:
        raw = bytearray(text)
        for _ in range(1 + chance.randrange(4)):
            at = int(chance.random() * len(raw))
            raw[at : at + chance.randrange(3)] = bytes(
                chance.choices(b"\x00\t\n :-[]{}&*!|>'\"%#,0a\xff", k=chance.randrange(3))
            )
        return bytes(raw)
    lines = text.split(b"\n")  # never empty
    for _ in range(1 + chance.randrange(3)):
        at = int(chance.random() * len(lines))
        lines[at : at + 1] = chance.choice(
            ([b""], [lines[at]] * 2, [b"  " + lines[at]], [lines[at].lstrip()], [lines[at], chance.choice(lines)])
        )
    return b"\n".join(lines)


def any_file(sources: list[tuple[str, bytes, Any]], chance: random.Random) -> tuple[str, bytes]:
    """A folder to lie in, and a file."""
    folder, text, data = chance.choice(sources)
    draw = chance.random()
    if draw < 0.65:
        return folder, rebuilt(data, chance)
    if draw < 0.95:
        return folder, damaged(text, chance)
    return folder, damaged(chance.choice([each for each in TEXTS if each]), chance) if draw < 0.97 else chance.choice(
        TEXTS
    )


class Watch:
    """What reading a file opens. `broke`: everything but reading that Python reports."""

    def __init__(self) -> None:
        self.broke: list[str] = []
        self.is_on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on:
            return
        flags = arguments[2] if event == "open" else 0
        if (isinstance(flags, int) and flags & WRITES) or not event.startswith(HARMLESS):
            self.broke.append(f"{event} {arguments!r:.200}")


def judged(path: Path, watch: Watch) -> tuple[str, str]:
    """How reading and planning a file ended, and what is wrong with that (empty: nothing)."""
    from orchestrator.commands.plan import plan_all

    watch.broke.clear()
    try:
        watch.is_on = True
        with busy_at_most(BUSY_S):
            plan_all(path, ())
    except EdgebedError as error:
        if error.exit_code != 2:
            return "refused", f"exit code {error.exit_code}: {error}"
        if not PLACE.search(str(error)):
            return "refused", f"no place is named: {error}"
        return "refused", "; ".join(watch.broke)
    except StuckError as error:
        return "stuck", str(error) + traceback.format_exc()[-1500:]
    except Exception:
        return "traceback", traceback.format_exc()[-1500:]
    else:
        return "valid", "; ".join(watch.broke)
    finally:
        watch.is_on = False


def main() -> None:
    """Judge so many files."""
    from orchestrator.commands.plan import plan_all

    count, chance = int(sys.argv[1]), random.Random(int(sys.argv[2]))
    sources = [(folder, text, yaml.safe_load(text)) for folder, text in shipped()]
    ends: Counter[str] = Counter()
    broke: list[dict[str, str]] = []
    slowest_s = 0.0
    plan_all(ROOT / "scenarios" / "smoke.yaml", ())  # libraries do this and that when they are loaded
    watch = Watch()
    with tempfile.TemporaryDirectory() as scratch:
        besides = {folder: Path(scratch) / Path(folder).relative_to(ROOT) for folder, _, _ in sources}
        for beside in besides.values():  # all of them first: none may be a link to the true one
            beside.mkdir(parents=True, exist_ok=True)
        for folder, beside in besides.items():  # what a scenario names lies beside it
            for each in Path(folder).iterdir():
                if each.is_dir() and not (beside / each.name).exists():
                    (beside / each.name).symlink_to(each)
        for number in range(count):
            folder, text = any_file(sources, chance) if number >= len(TEXTS) else (sources[0][0], TEXTS[number])
            path = Path(scratch) / Path(folder).relative_to(ROOT) / "tried.yaml"
            path.write_bytes(text)
            began = time.process_time()
            with contextlib.redirect_stderr(io.StringIO()):  # notes on valid scenarios
                end, wrong = judged(path, watch)
            slowest_s = max(slowest_s, time.process_time() - began)
            ends[end] += 1
            if wrong:
                broke.append(
                    {"number": str(number), "end": end, "wrong": wrong, "text": text[:3000].decode("utf-8", "replace")}
                )
    facts = {
        "ends": ends,
        "slowest_s": slowest_s,
        "largest_bytes": largest_bytes(),
        "broke": len(broke),
        "first": broke[:KEPT],
    }
    print(json.dumps(facts))  # noqa: T201 - this is its result


if __name__ == "__main__":
    main()
