"""Smart plugs on the local network, by HTTP: Shelly (both generations) and anything with Tasmota.

    shelly_gen1   GET /meter/<n>             power W, total watt-minutes
    shelly_gen2   GET /rpc/Shelly.GetStatus  "switch:<n>" or "pm1:<n>": apower W, aenergy.total Wh
    tasmota       GET /cm?cmnd=Status%2010   StatusSNS.ENERGY: Power W, Total kWh

The plug's own counter is followed (`energy: counter`): it loses nothing while the plug cannot be reached. It moves in
steps, though, so that a run of a few joules is better integrated from the power (`energy: power`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from node_image.meters.base import NOT_STATED, About, MeterError, Reading, power
from node_image.meters.integrate import Counters
from node_image.parameters import REQUIRED, parameter

NAME = "smart_plug"
ANSWER_WITHIN_S = 3.0
LARGEST_ANSWER_BYTES = 1 << 16
REMEDY = "Try its address in a browser; see docs/energy.md for the models that are known."
ABOUT = About(
    covers="everything behind the plug, power supply included",
    accuracy=NOT_STATED,
    cited="steps: Shelly's and Tasmota's API documentation; give the plug's data sheet as accuracy=",
)


@dataclass(frozen=True)
class Parameters:
    """Which plug, and what of it."""

    url: str = parameter(REQUIRED, "address of the plug, http://192.168.1.50")
    kind: str = parameter("auto", "what it speaks", choices=("auto", "shelly_gen1", "shelly_gen2", "tasmota"))
    channel: int = parameter(0, "which of its outlets", minimum=0)
    energy: str = parameter("counter", "where joules come from", choices=("counter", "power"))
    most_watts: float = parameter(4000.0, "no plug carries more; faster growth is a reset", unit="W", minimum=1.0)
    accuracy: str = parameter("", "what the plug's data sheet states")


@dataclass(frozen=True)
class _Language:
    """What a kind of plug is asked and how its answer is read: watts, and its counter where it has one."""

    path: Callable[[int], str]
    read: Callable[[Any, int], tuple[float, float | None]]
    joules_a_unit: float
    step_joules: float  # of its counter, as it comes from the factory


class SmartPlug:
    """One outlet."""

    name = NAME
    shortest_period_s = 1.0  # plugs measure about once a second

    def __init__(self, host: str, port: int, language: _Language, params: Parameters, *, counts: bool) -> None:
        self._host = host
        self._port = port
        self._language = language
        self._params = params
        self._counts = counts
        self._counter = Counters({"counter": None}, params.most_watts, language.step_joules)
        accuracy = params.accuracy or ABOUT.accuracy
        if counts:
            accuracy += f"; counts in steps of {language.step_joules:g} J"
        self.about = replace(ABOUT, accuracy=accuracy)

    def read(self, now_s: float) -> Reading:
        """The power now, and (where its counter is followed) the joules since the first reading."""
        watts, count = self.ask()
        if not self._counts:
            return Reading(now_s, watts)
        if count is None:
            raise MeterError(f"the plug {self._host} tells its counter no more", "Follow its power: energy=power.")
        self._counter.take(now_s, {"counter": count * self._language.joules_a_unit})
        return Reading(now_s, watts, self._counter.joules, self._counter.missing_s)

    def ask(self) -> tuple[float, float | None]:
        """Watts, and the plug's counter in its own unit (None: it has none)."""
        answer = _get(self._host, self._port, self._language.path(self._params.channel))
        try:
            watts, count = self._language.read(answer, self._params.channel)
            return power(watts, self._host), count
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise MeterError(
                f"the plug {self._host} told no power of channel {self._params.channel}: {json.dumps(answer)[:120]}",
                "It may have no meter, or no such channel; the model with PM in its name has one.",
            ) from error

    def close(self) -> None:
        """Every request has its own connection."""


def build(params: Parameters) -> SmartPlug:
    """The plug at an address, asked once; MeterError where it does not answer as a plug does."""
    address = urlsplit(params.url)
    if address.scheme != "http" or not address.hostname or address.path not in ("", "/") or address.query:
        raise MeterError(
            f"url {params.url!r} is not the address of a plug", "Write http://192.168.1.50, nothing after it."
        )
    if address.username is not None:
        raise MeterError(
            "the url holds a password", "It would end up in records: switch off the plug's password instead."
        )
    try:
        port = address.port or 80
    except ValueError as error:
        raise MeterError(f"url {params.url!r} has no such port", "Write http://192.168.1.50:80.") from error
    kind = _kind(address.hostname, port) if params.kind == "auto" else params.kind
    plug = SmartPlug(address.hostname, port, LANGUAGES[kind], params, counts=False)
    _, count = plug.ask()
    counts = params.energy == "counter" and count is not None
    return SmartPlug(address.hostname, port, LANGUAGES[kind], params, counts=counts)


def _kind(host: str, port: int) -> str:
    """What a plug speaks: every Shelly answers on /shelly, and later ones tell their generation there."""
    try:
        told = _get(host, port, "/shelly")
    except _NotFoundError:
        return "tasmota"
    if isinstance(told, dict) and "mac" in told:
        return "shelly_gen2" if told.get("gen", 1) >= 2 else "shelly_gen1"
    return "tasmota"


class _NotFoundError(MeterError):
    """It answers, but not to this: another kind of plug."""


def _get(host: str, port: int, path: str) -> Any:
    """A JSON document of the plug. No proxy, no redirect: the answer is the plug's or none."""
    from http.client import HTTPConnection, HTTPException  # 40 ms that only those with a plug pay

    where = f"http://{host}:{port}{path}"
    connection = HTTPConnection(host, port, timeout=ANSWER_WITHIN_S)
    try:
        connection.request("GET", path, headers={"Accept": "application/json"})
        response = connection.getresponse()
        body = response.read(LARGEST_ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise MeterError(f"no answer from {where}: {error or type(error).__name__}", REMEDY) from error
    finally:
        connection.close()
    if response.status == 401:
        raise MeterError(f"{where} wants a password", "Switch off the plug's password for the time of the run.")
    if response.status == 404:
        raise _NotFoundError(f"{where} is not there", REMEDY)
    if response.status != 200:
        raise MeterError(f"{where} answered {response.status}", REMEDY)
    try:
        return json.loads(body)
    except ValueError as error:
        if path == "/shelly":  # Tasmota shows its page whatever is asked
            return None
        raise MeterError(f"{where} gave no JSON: {body[:60]!r}", REMEDY) from error


def _shelly_gen1(answer: Any, _channel: int) -> tuple[float, float | None]:
    if answer.get("is_valid") is False:
        raise MeterError("the plug says that its own reading is not valid", REMEDY)
    total = answer.get("total")
    return float(answer["power"]), None if total is None else float(total)


def _shelly_gen2(answer: Any, channel: int) -> tuple[float, float | None]:
    found = answer.get(f"switch:{channel}") or answer[f"pm1:{channel}"]
    total = found.get("aenergy", {}).get("total")
    return float(found["apower"]), None if total is None else float(total)


def _tasmota(answer: Any, channel: int) -> tuple[float, float | None]:
    found = answer["StatusSNS"]["ENERGY"]
    several = isinstance(found["Power"], list)
    if channel and not several:
        raise KeyError(channel)
    total = found.get("Total")
    if several:  # one Total for all outlets: of no use for one of them
        return float(found["Power"][channel]), None
    return float(found["Power"]), None if total is None else float(total)


LANGUAGES: dict[str, _Language] = {
    "shelly_gen1": _Language(lambda channel: f"/meter/{channel}", _shelly_gen1, 60.0, 60.0),
    "shelly_gen2": _Language(lambda _: "/rpc/Shelly.GetStatus", _shelly_gen2, 3600.0, 3.6),
    "tasmota": _Language(lambda _: "/cm?cmnd=Status%2010", _tasmota, 3.6e6, 3600.0),
}
