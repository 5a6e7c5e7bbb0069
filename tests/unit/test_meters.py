"""Meters of the kernel and of a board's firmware, against folders and programs that stand in for the hardware.

The machine that runs these tests has no sensors: the contents are as the kernel's documentation and users show them.
"""

from collections.abc import Mapping
from pathlib import Path

import pytest

from node_image.meters import METERS, MeterError, build
from node_image.meters.base import LARGEST_NOISE_W, power
from node_image.meters.raspberry_pi_5 import rails_of

PMIC = """\
 3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
  DDR_VDDQ_A current(4)=0.00000000A
  VDD_CORE_A current(7)=1.50000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
  DDR_VDDQ_V volt(12)=0.60000000V
  VDD_CORE_V volt(15)=0.80000000V
     EXT5V_V volt(24)=5.08530000V
      BATT_V volt(25)=0.00000000V
"""
PMIC_W = 0.1 * 3.7 + 0.2 * 3.3 + 1.5 * 0.8


def write(folder: Path, files: Mapping[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return folder


def zone(name: str, energy_uj: int, range_uj: int = 262_143_328_850) -> dict[str, object]:
    return {"name": name, "energy_uj": energy_uj, "max_energy_range_uj": range_uj}


def powercap(root: Path, energy_uj: Mapping[str, int]) -> Path:
    """Two packages with their parts, memory, the platform, and the same package by another interface."""
    names = {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "uncore",
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys",
        "intel-rapl-mmio:0": "package-0",
    }
    for folder, name in names.items():
        write(root / folder, zone(name, energy_uj.get(folder, 777_000_000)))
    write(root, {"intel-rapl/enabled": 1})
    return root


def fails(name: str, **parameters: object) -> MeterError:
    with pytest.raises(MeterError) as caught:
        build(name, **parameters)
    assert caught.value.remedy.endswith((".", "…"))
    return caught.value


def test_rapl_sums_packages_and_memory_and_leaves_out_what_is_in_them_already(tmp_path: Path) -> None:
    root = powercap(tmp_path, {"intel-rapl:0": 100_000_000, "intel-rapl:1": 5_000_000, "intel-rapl:0:2": 1_000_000})
    meter = build("rapl", root=str(root))
    assert meter.read(10.0).watts is None  # one reading of a counter is no power
    powercap(tmp_path, {"intel-rapl:0": 120_000_000, "intel-rapl:1": 15_000_000, "intel-rapl:0:2": 2_000_000})
    found = meter.read(12.0)
    assert (found.joules_total, found.watts, found.missing_s) == pytest.approx((31.0, 15.5, 0.0))
    assert set(found.rails_watts) == {"package-0", "package-0 dram", "package-1"}
    assert "package-0, package-0 dram, package-1" in meter.about.covers


def test_rapl_without_memory_counts_packages_alone(tmp_path: Path) -> None:
    assert "dram" not in build("rapl", root=str(powercap(tmp_path, {})), memory=False).about.covers


def test_rapl_wraps_each_package_at_its_own_range(tmp_path: Path) -> None:
    write(tmp_path / "intel-rapl:0", zone("package-0", 65_000_000, range_uj=65_532_610))
    write(tmp_path / "intel-rapl:1", zone("package-1", 100_000_000))
    meter = build("rapl", root=str(tmp_path), most_watts=100)
    meter.read(0.0)
    write(tmp_path / "intel-rapl:0", {"energy_uj": 1_467_390})
    write(tmp_path / "intel-rapl:1", {"energy_uj": 103_000_000})
    assert meter.read(0.5).joules_total == pytest.approx(2.0 + 3.0)


def test_rapl_that_is_not_there_or_not_to_be_read_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "virtual machines have none" in fails("rapl", root=str(tmp_path)).remedy
    powercap(tmp_path, {})

    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "intel-rapl:0" / "energy_uj").unlink()
    (tmp_path / "intel-rapl:0" / "energy_uj").mkdir()
    assert "energy_uj cannot be read: Is a directory" in fails("rapl", root=str(tmp_path)).problem
    monkeypatch.setattr(Path, "read_text", refuse)  # root, who runs these tests too, may read everything
    assert "Run as root" in fails("rapl", root=str(tmp_path)).remedy


NANO = ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU")
ORIN_AGX = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")


def old_driver(root: Path, names: tuple[str, ...], milliwatts: tuple[int, ...], chip: str = "6-0040") -> Path:
    folder = root / "bus/i2c/drivers/ina3221x" / chip / "iio:device0"
    for index, (name, value) in enumerate(zip(names, milliwatts, strict=True)):
        write(folder, {f"rail_name_{index}": name, f"in_power{index}_input": value, f"in_current{index}_input": 1})
    return root


def hwmon(root: Path, names: tuple[str, ...], volts_amperes: tuple[tuple[int, int], ...], number: int = 3) -> Path:
    folder = write(root / f"class/hwmon/hwmon{number}", {"name": "ina3221", "in7_label": "sum of shunt voltages"})
    for index, (name, (millivolts, milliamperes)) in enumerate(zip(names, volts_amperes, strict=True), start=1):
        write(folder, {f"in{index}_label": name, f"in{index}_input": millivolts, f"curr{index}_input": milliamperes})
        write(folder, {f"in{index}_enable": 1})
    return root


def test_a_jetson_nano_is_measured_at_its_input_and_the_rails_below_are_named_only(tmp_path: Path) -> None:
    meter = build("ina3221", root=str(old_driver(tmp_path, NANO, (2875, 120, 640))))
    found = meter.read(1.0)
    assert found.watts == pytest.approx(2.875)
    assert found.joules_total is None
    assert found.rails_watts == {"POM_5V_IN": 2.875, "POM_5V_GPU": 0.12, "POM_5V_CPU": 0.64}


def test_the_newer_driver_gives_volts_and_amperes(tmp_path: Path) -> None:
    write(tmp_path / "class/hwmon/hwmon0", {"name": "thermal-fan", "in1_label": "VDD_IN"})
    hwmon(tmp_path, ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), ((5000, 900), (5000, 200), (5000, 300)))
    found = build("ina3221", root=str(tmp_path)).read(1.0)
    assert found.watts == pytest.approx(4.5)
    assert found.rails_watts["VDD_SOC"] == pytest.approx(1.5)


def test_an_agx_orin_is_the_sum_of_the_rails_that_lie_beside_each_other(tmp_path: Path) -> None:
    hwmon(tmp_path, ORIN_AGX, ((19000, 100), (19000, 50), (5000, 400)), number=3)
    hwmon(tmp_path, ("NC", "VDDQ_VDD2_1V8AO", "NC"), ((0, 0), (5000, 100), (0, 0)), number=4)
    meter = build("ina3221", root=str(tmp_path))
    assert meter.read(1.0).watts == pytest.approx(1.9 + 0.95 + 2.0)
    assert meter.about.covers.startswith("VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 of")


def test_rails_can_be_chosen_but_not_so_that_they_count_twice(tmp_path: Path) -> None:
    root = str(old_driver(tmp_path, NANO, (2875, 120, 640)))
    assert build("ina3221", root=root, rails="POM_5V_GPU+POM_5V_CPU").read(0.0).watts == pytest.approx(0.76)
    assert "counted twice" in fails("ina3221", root=root, rails="POM_5V_IN+POM_5V_CPU").problem
    assert "Rails here: POM_5V_IN" in fails("ina3221", root=root, rails="VDD_MOON").remedy


def test_rails_of_an_unknown_board_are_never_blindly_summed(tmp_path: Path) -> None:
    found = fails("ina3221", root=str(old_driver(tmp_path, ("A", "B", "C"), (1, 2, 3))))
    assert "rails=A+B. Rails here: A, B, C" in found.remedy


def test_a_rail_that_is_switched_off_spoils_a_reading_only_where_it_counts(tmp_path: Path) -> None:
    root = hwmon(tmp_path, ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"), ((5000, 900), (5000, 200), (5000, 300)))
    meter = build("ina3221", root=str(root))
    (root / "class/hwmon/hwmon3/curr2_input").unlink()
    assert set(meter.read(0.0).rails_watts) == {"VDD_IN", "VDD_SOC"}
    (root / "class/hwmon/hwmon3/curr1_input").write_text("")
    with pytest.raises(MeterError, match="holds '' and no number"):
        meter.read(1.0)


def test_no_jetson_says_so(tmp_path: Path) -> None:
    assert "no INA3221 under" in fails("ina3221", root=str(tmp_path)).problem


def test_an_ina219_tells_microwatts_or_volts_and_amperes(tmp_path: Path) -> None:
    folder = write(tmp_path / "hwmon2", {"name": "ina219", "in1_input": 5100, "curr1_input": 700})
    meter = build("ina219", root=str(tmp_path))
    assert meter.read(0.0).watts == pytest.approx(3.57)
    write(folder, {"power1_input": 3_560_000})
    assert meter.read(0.0).watts == pytest.approx(3.56)


def test_one_of_several_ina219_must_be_named(tmp_path: Path) -> None:
    for number, milliamperes in ((2, 100), (10, 200)):
        chip = {"name": "ina219", "in1_input": 5000, "curr1_input": milliamperes}
        write(tmp_path / f"hwmon{number}", chip)
    assert "hwmon2, hwmon10" in fails("ina219", root=str(tmp_path)).problem
    assert build("ina219", root=str(tmp_path), chip="hwmon10").read(0.0).watts == pytest.approx(1.0)
    assert "hwmon7 is no such chip" in fails("ina219", root=str(tmp_path), chip="hwmon7").problem


def test_current_that_flows_backwards_is_an_error_and_a_sensor_s_noise_around_zero_is_zero(tmp_path: Path) -> None:
    write(tmp_path / "hwmon2", {"name": "ina219", "in1_input": 5000, "curr1_input": -700})
    assert "swap the two wires" in fails("ina219", root=str(tmp_path)).remedy
    assert power(-LARGEST_NOISE_W / 2, "x") == 0.0
    with pytest.raises(MeterError):
        power(float("nan"), "x")


def vcgencmd(folder: Path, script: str) -> str:
    program = folder / "vcgencmd"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return str(program)


def test_a_raspberry_pi_5_is_the_sum_of_the_rails_with_current_and_voltage(tmp_path: Path) -> None:
    assert rails_of(PMIC) == pytest.approx({"3V7_WL_SW": 0.37, "3V3_SYS": 0.66, "DDR_VDDQ": 0.0, "VDD_CORE": 1.2})
    (tmp_path / "said").write_text(PMIC)
    program = vcgencmd(tmp_path, f'test "$*" = pmic_read_adc && cat {tmp_path / "said"}')
    assert build("raspberry_pi_5", command=program).read(0.0).watts == pytest.approx(PMIC_W)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo VCHI initialization failed; exit 255", "ended with 255: VCHI initialization failed"),
        ("echo 'error=1 error_msg=\"Command not registered\"'", "named no rail"),
    ],
)
def test_another_board_s_firmware_is_told_from_a_raspberry_pi_5(tmp_path: Path, script: str, said: str) -> None:
    assert said in fails("raspberry_pi_5", command=vcgencmd(tmp_path, script)).problem


def test_no_vcgencmd_says_where_there_is_one(tmp_path: Path) -> None:
    found = fails("raspberry_pi_5", command=str(tmp_path / "vcgencmd"))
    assert "cannot be started" in found.problem
    assert "Raspberry Pi 5" in found.remedy


def test_an_unknown_meter_and_wrong_parameters_are_told_all_at_once() -> None:
    assert "Known: ina219, ina3221" in fails("wattson").remedy
    found = str(fails("smart_plug", outlet=1, energy="both"))
    assert "outlet: unknown parameter" in found
    assert "url: is required" in found
    assert "energy: unknown 'both'; known: counter, power" in found


@pytest.mark.parametrize("name", sorted(METERS))
def test_every_meter_says_how_true_it_is_and_who_says_so(name: str) -> None:
    about = vars(METERS[name])["ABOUT"]
    assert about.accuracy
    assert about.cited
    assert vars(METERS[name])["NAME"] == name
