"""iperf3 through links of 1, 10 and 100 Mbit/s, by each shaper that works here: within 2 % of TCP's ideal.

`python -m bench.goodput`, as root. `make vm TARGET='bench ARGS=goodput'` sets `tc` (netem) beside our own shaper on the
same kernel, in one run: few machines have netem, and the one of scripts/vm.sh has. TCP's ideal is what 1448 of every
1500 bytes make of the link's rate.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml

from bench.figures import Figure, show
from orchestrator.links import netem

ROOT = Path(__file__).parents[1]
TCP_SHARE = 1448 / 1500
RATES = {"1 Mbit/s": 1e6, "10 Mbit/s": 10e6, "100 Mbit/s": 100e6}
MEASURED_S, WARMED_UP_S = 15, 3


def run(scenario: dict[str, object], folder: Path, *more: str) -> Path:
    """Run a scenario; its run directory."""
    path, out = folder / "scenario.yaml", folder / "run"
    path.write_text(yaml.safe_dump(scenario))
    argv = [sys.executable, "-m", "orchestrator", "run", str(path), "--trust", "--allow-degraded", "--no-probe", "-q"]
    argv += ["--keep", "always", "--out", str(out), *more]
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=False, cwd=ROOT)
    return out


def goodput_bps(rate: str, shaper: str) -> float:
    """What iperf3 receives through one link."""
    client = ["iperf3", "--client", "{coordinator.address}", "--format", "k"]
    client += ["--time", str(MEASURED_S), "--omit", str(WARMED_UP_S)]
    found = {"match": r"(?P<goodput_bps>[\d.]+) Kbits/sec +receiver", "times": {"goodput_bps": 1000}}
    link = {"rate": rate, "delay": "5 ms", "queue": "100 ms"}
    scenario: dict[str, object] = {
        "name": "goodput",
        "stop_after": "90 s",
        "devices": [{"group": "pi", "count": 1, "profile": "raspberry_pi_4", "link": link}],
        "workload": {
            "ends": "devices",
            "coordinator": [{"run": ["iperf3", "--server"], "ready": {"port": 5201}}],
            "devices": [{"run": client, "patterns": [found]}],
            "metrics": {"goodput_bps": {}},
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        out = run(scenario, Path(folder), "--shaper", shaper)
        value: float = json.loads((out / "result.json").read_text())["summary"]["program.goodput_bps"]
        return value


def figures(shapers: tuple[str, ...]) -> Iterator[Figure]:
    """Each rate by each shaper, one after the other."""
    for rate, bps in RATES.items():
        for shaper in shapers:
            found, ideal = goodput_bps(rate, shaper), TCP_SHARE * bps
            beside = f"{found / 1e6:.3f} Mbit/s, ideal {ideal / 1e6:.3f} Mbit/s"
            off_percent = 100 * abs(found / ideal - 1)
            yield Figure(f"iperf3 through {rate} of {shaper}: off TCP's ideal", off_percent, "%", 2.0, beside=beside)


def main() -> None:
    """All shapers that this kernel has; a line says which kernel that is, and how busy."""
    works, why = netem.available()
    load = f"load {os.getloadavg()[0]:.0f} of {os.cpu_count()} cores"
    sys.stdout.write(f"        iperf3 on Linux {platform.release()}, {load}\n")
    if not works:
        sys.stdout.write(f"        tc is left out: {why}\n")
    for each in figures(("delay_line", "netem") if works else ("delay_line",)):
        show(each)


if __name__ == "__main__":
    main()
