"""Presets and profiles that ship: all of them load, say where their figures come from, and are what they claim."""

from pathlib import Path

import pytest

from orchestrator.devices import DeviceProfile
from orchestrator.forms.base import Form, keys_of
from orchestrator.forms.scenario import Scenario
from orchestrator.presets import SHIPPED, LinkPreset, Presets

PRESETS = Presets(SHIPPED)


def profile(name: str) -> DeviceProfile:
    return PRESETS.profile(name).profile()


@pytest.mark.parametrize("name", PRESETS.known("devices"))
def test_every_device_profile_has_a_speed_with_its_source(name: str) -> None:
    found = profile(name)
    assert found.speed.macs_per_s > 0
    assert found.speed_provenance.source
    assert found.cores >= 1
    assert found.about


@pytest.mark.parametrize("name", PRESETS.known("radios"))
def test_every_radio_costs_something(name: str) -> None:
    radio = PRESETS.radio(name).radio()
    assert radio.active_w + radio.tx_j_per_mbit > 0
    assert radio.provenance.source


@pytest.mark.parametrize("name", PRESETS.known("links"))
def test_every_link_preset_has_a_delay_and_at_most_the_radio_of_a_file(name: str) -> None:
    link = PRESETS.link(name)
    assert 0 < link.up.delay_s <= 1
    assert 0 < link.down.delay_s <= 1
    assert 0 <= link.up.loss < 0.1


def test_lte_has_the_rate_and_half_the_round_trip_of_its_source() -> None:
    link = PRESETS.link("lte")
    assert (link.up.rate_bps, link.down.rate_bps, link.up.delay_s, link.down.delay_s) == (12e6, 12e6, 0.035, 0.035)


def test_an_asymmetric_line_is_slower_up_than_down() -> None:
    link = PRESETS.link("wpt_dsl")
    assert (link.up.rate_bps, link.down.rate_bps) == (384e3, 1.5e6)


def test_a_preset_may_build_on_another() -> None:
    plain, bursty = PRESETS.link("wifi_2g4"), PRESETS.link("wifi_2g4_bursty")
    assert bursty.up.rate_bps == plain.up.rate_bps
    burst = bursty.up.burst_loss
    assert burst is not None
    assert burst.to_bad / (burst.to_bad + burst.to_good) == pytest.approx(0.01, rel=1e-3)


def test_a_raspberry_pi_4_has_the_power_of_its_source() -> None:
    power = profile("raspberry_pi_4").power
    assert power is not None
    assert (power.base_w, power.cpu_dyn_w, power.provenance.quality) == (2.286, 4.534, "high")
    assert "PowerJoular" in power.provenance.source


def test_a_raspberry_pi_5_is_faster_than_a_4_and_a_zero_slower() -> None:
    names = ("raspberry_pi_5", "raspberry_pi_4", "raspberry_pi_3", "raspberry_pi_zero_2_w", "esp32")
    speeds = [profile(name).speed for name in names]
    assert [speed.macs_per_s for speed in speeds] == sorted((s.macs_per_s for s in speeds), reverse=True)


def test_a_server_is_not_slowed_and_its_energy_is_not_counted() -> None:
    server = profile("server")
    assert (server.slowed, server.power, server.radio) == (False, None, None)


def test_a_phone_has_a_battery_in_joules() -> None:
    assert profile("phone").battery_joules == pytest.approx(4.0 * 3.85 * 3600)


def test_a_radios_tail_and_slopes_reach_the_profile() -> None:
    lte = PRESETS.radio("lte").radio()
    assert (lte.tail_s, lte.tail_w, lte.promotion_s, lte.tx_j_per_mbit) == (10.12, 1.06, 0.26, 0.43839)
    assert lte.provenance.error == 0.06


def test_ones_own_folder_comes_before_the_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "lte.yaml").write_text("name: lte\nsource: me\nquality: high\nrate: 3 Mbit/s\n")
    assert Presets(tmp_path).link("lte").up.rate_bps == 3e6
    assert "wifi_2g4" in Presets(tmp_path).known("links")


@pytest.mark.parametrize("name", ["nope", "../links/lte", "lte.yaml", "", "/etc/passwd"])
def test_an_unknown_name_never_becomes_a_path(name: str) -> None:
    with pytest.raises(ValueError, match=r"unknown link preset .*; known: ble_1m, comcast_3g"):
        PRESETS.link(name)


def test_a_preset_built_on_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / "links" / f"{name}.yaml").write_text(f"name: {name}\nsource: me\nquality: low\npreset: {base}\n")
    with pytest.raises(ValueError, match="built on"):
        Presets(tmp_path).link("a")


def test_a_preset_that_has_another_name_than_its_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "radios").mkdir()
    (tmp_path / "radios" / "mine.yaml").write_text("name: yours\nsource: me\nquality: low\n")
    with pytest.raises(ValueError, match=r"mine.yaml:1:7: name: must be 'mine', as the file is called"):
        Presets(tmp_path).radio("mine")


def test_no_two_fields_of_a_form_are_written_alike() -> None:
    def forms(form: type[Form]) -> list[type[Form]]:
        return [form, *(inner for each in form.__subclasses__() for inner in forms(each))]

    assert {Scenario, LinkPreset} <= set(forms(Form))
    for form in forms(Form):
        assert len(set(keys_of(form))) == len(keys_of(form)), form
