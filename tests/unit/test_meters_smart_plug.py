"""Smart plugs, against a real HTTP server on loopback that answers as they do."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from node_image.meters import MeterError, build

GEN1 = {"type": "SHPLG-S", "mac": "C45BBE7928B9", "auth": False, "fw": "20230913-113421"}
GEN2 = {"id": "shellyplusplugs-80646fc7a5d8", "mac": "80646FC7A5D8", "gen": 2, "app": "PlusPlugS"}


class Plug:
    """What it answers to each path; `None` as an answer is 404, bytes are sent as they are."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.status = 200
        plug = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = plug.answers.get(self.path)
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(404 if answer is None else plug.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def gen2(self, watts: float, total_wh: float, component: str = "switch:0") -> None:
        status = {"id": 0, "output": True, "apower": watts, "voltage": 230.1, "aenergy": {"total": total_wh}}
        self.answers = {"/shelly": GEN2, "/rpc/Shelly.GetStatus": {"sys": {"uptime": 5}, component: status}}

    def tasmota(self, energy: dict[str, Any]) -> None:
        self.answers = {"/cm?cmnd=Status%2010": {"StatusSNS": {"Time": "2025-02-12T22:47:39", "ENERGY": energy}}}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def plug() -> Iterator[Plug]:
    plug = Plug()
    yield plug
    plug.close()


def test_a_shelly_of_the_second_generation_counts_watt_hours(plug: Plug) -> None:
    plug.gen2(12.5, 1000.0)
    meter = build("smart_plug", url=plug.url)
    assert (meter.read(0.0).watts, meter.read(1.0).joules_total) == (12.5, 0.0)
    plug.gen2(12.5, 1000.01)
    assert meter.read(2.0).joules_total == pytest.approx(36.0)
    assert "steps of 3.6 J" in meter.about.accuracy


def test_a_shelly_that_only_measures_is_read_too(plug: Plug) -> None:
    plug.gen2(3.0, 1.0, component="pm1:0")
    assert build("smart_plug", url=plug.url, kind="shelly_gen2").read(0.0).watts == 3.0


def test_a_shelly_of_the_first_generation_counts_watt_minutes(plug: Plug) -> None:
    plug.answers = {"/shelly": GEN1, "/meter/0": {"power": 8.1, "is_valid": True, "total": 100}}
    meter = build("smart_plug", url=plug.url)
    meter.read(0.0)
    plug.answers["/meter/0"] = {"power": 8.2, "is_valid": True, "total": 102}
    found = meter.read(14.0)
    assert (found.watts, found.joules_total) == (8.2, 120.0)
    plug.answers["/meter/0"] = {"power": 0.0, "is_valid": False, "total": 102}
    with pytest.raises(MeterError, match="not valid"):
        meter.read(15.0)


def test_its_counter_begins_at_zero_when_it_restarts_and_that_interval_is_missing(plug: Plug) -> None:
    plug.gen2(10.0, 50.0)
    meter = build("smart_plug", url=plug.url)
    for t_s, total_wh in ((0.0, 50.0), (1.0, 50.01), (31.0, 0.5), (32.0, 0.51)):
        plug.gen2(10.0, total_wh)
        found = meter.read(t_s)
    assert (found.joules_total, found.missing_s) == pytest.approx((72.0, 30.0))


def test_tasmota_counts_kilowatt_hours_in_steps_that_the_accuracy_tells(plug: Plug) -> None:
    plug.tasmota({"Total": 0.904, "Power": 122, "Voltage": 243})
    meter = build("smart_plug", url=plug.url)
    meter.read(0.0)
    plug.tasmota({"Total": 0.905, "Power": 122})
    found = meter.read(0.5)
    assert found.joules_total == pytest.approx(3600.0)
    assert "steps of 3600 J" in meter.about.accuracy


def test_power_can_be_integrated_instead_of_the_counter(plug: Plug) -> None:
    plug.tasmota({"Total": 0.904, "Power": 22})
    meter = build("smart_plug", url=plug.url, energy="power", accuracy="± 1 %")
    assert meter.read(0.0).joules_total is None
    assert meter.about.accuracy == "± 1 %"


def test_one_outlet_of_a_tasmota_strip_has_a_power_of_its_own_but_no_counter(plug: Plug) -> None:
    plug.tasmota({"Total": 0.904, "Power": [22, 7]})
    found = build("smart_plug", url=plug.url, channel=1).read(0.0)
    assert (found.watts, found.joules_total) == (7.0, None)


def test_a_page_in_place_of_an_answer_on_shelly_s_path_is_taken_for_tasmota(plug: Plug) -> None:
    plug.tasmota({"Total": 1.0, "Power": 5})
    plug.answers["/shelly"] = b"<!DOCTYPE html><html>"
    assert build("smart_plug", url=plug.url).read(0.0).watts == 5.0


def test_a_plug_without_a_meter_says_so(plug: Plug) -> None:
    plug.answers = {"/shelly": GEN2, "/rpc/Shelly.GetStatus": {"switch:0": {"id": 0, "output": True}}}
    with pytest.raises(MeterError, match=r"told no power of channel 0.*PM in its name"):
        build("smart_plug", url=plug.url)


def test_a_plug_that_goes_away_is_an_error_of_that_reading(plug: Plug) -> None:
    plug.gen2(10.0, 50.0)
    meter = build("smart_plug", url=plug.url)
    plug.status = 503
    with pytest.raises(MeterError, match="answered 503"):
        meter.read(1.0)
    plug.status = 401
    with pytest.raises(MeterError, match="wants a password"):
        meter.read(2.0)
    plug.status = 200
    plug.answers["/rpc/Shelly.GetStatus"] = b'{"switch:0": {"apower": 1'
    with pytest.raises(MeterError, match="gave no JSON"):
        meter.read(3.0)
    plug.answers["/rpc/Shelly.GetStatus"] = [1, 2]
    with pytest.raises(MeterError, match="told no power"):
        meter.read(4.0)
    plug.gen2(10.0, 50.1)
    assert meter.read(5.0).watts == 10.0


def test_nobody_at_the_address_says_what_to_try(plug: Plug) -> None:
    url = plug.url
    plug.close()
    with pytest.raises(MeterError, match=r"no answer from .*in a browser"):
        build("smart_plug", url=url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("192.168.1.50", "is not the address of a plug"),
        ("https://192.168.1.50", "is not the address of a plug"),
        ("file:///etc/passwd", "is not the address of a plug"),
        ("http://10.0.0.1/meter/0", "is not the address of a plug"),
        ("http://10.0.0.1:99999", "has no such port"),
        ("http://admin:secret@10.0.0.1", "the url holds a password"),
    ],
)
def test_an_address_that_is_none_is_refused_before_it_is_asked_and_no_password_is_told(url: str, said: str) -> None:
    with pytest.raises(MeterError, match=said) as caught:
        build("smart_plug", url=url)
    assert "secret" not in str(caught.value)
