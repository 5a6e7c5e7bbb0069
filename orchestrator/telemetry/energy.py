"""Energy of a device, modelled: board, CPU and radio in joules, from its profile, its busy time and its traffic.

    E_base = base_w * time on
    E_cpu  = cpu_dyn_w * busy seconds / cores            (one thread keeps one core busy)
    E_radio = idle_w * time on + active_w * time with packets + slopes * Mbit + wake-ups + tails
              (states of Huang et al., MobiSys 2012: idle -> promotion -> active -> tail -> idle)

Every joule here is modelled (`source: model`) and never added to a measured one. Traffic comes as bins of 0.1 s: a
burst shorter than a bin counts as one bin of activity, which overstates `active_w` time by up to 0.1 s a burst.
"""

from dataclasses import dataclass
from math import floor

from orchestrator.devices import DeviceProfile, Radio

BIN_S = 0.1
BITS_PER_MBIT = 1e6

Bins = list[tuple[int, int, int]]  # (bin index, bytes sent, bytes received), increasing, bins with traffic only


@dataclass(frozen=True)
class RadioEnergy:
    """Joules of a radio by what it did."""

    idle: float = 0.0
    active: float = 0.0
    tx: float = 0.0
    rx: float = 0.0
    promotion: float = 0.0
    tail: float = 0.0


def radio_energy(radio: Radio, bins: Bins, on_s: float, end_s: float) -> RadioEnergy:
    """Energy of one radio that was on for `on_s` seconds of a run that is `end_s` seconds old.

    A tail ends early when the next burst comes before it is over, and then no promotion is paid for that burst.
    """
    sent = sum(tx for _, tx, _ in bins)
    received = sum(rx for _, _, rx in bins)
    tail_s = 0.0
    promotions = 0
    previous_end: float | None = None
    for index, _, _ in bins:
        start = index * BIN_S
        if previous_end is None:
            promotions += 1
        else:
            gap = start - previous_end
            tail_s += min(radio.tail_s, gap)
            promotions += gap > radio.tail_s + 1e-9
        previous_end = start + BIN_S
    if previous_end is not None:
        # A burst may yet come in the bin of now: what is told of the tail ends where that bin begins.
        tail_s += min(radio.tail_s, max(0.0, floor(end_s / BIN_S) * BIN_S - previous_end))
    return RadioEnergy(
        idle=radio.idle_w * on_s,
        active=radio.active_w * BIN_S * len(bins),
        tx=radio.tx_j_per_mbit * sent * 8 / BITS_PER_MBIT,
        rx=radio.rx_j_per_mbit * received * 8 / BITS_PER_MBIT,
        promotion=radio.promotion_w * radio.promotion_s * promotions,
        tail=radio.tail_w * tail_s,
    )


def device_energy(profile: DeviceProfile, on_s: float, busy_s: float, bins: Bins, end_s: float) -> dict[str, float]:
    """Joules by component of a device that was on for `on_s` s of `end_s` s, computed for `busy_s` s, had this traffic.

    Empty for a profile without power figures: unknown is not zero.
    """
    joules: dict[str, float] = {}
    if profile.power is not None:
        joules["base"] = profile.power.base_w * on_s
        joules["cpu"] = profile.power.cpu_dyn_w * busy_s / profile.cores
    if profile.radio is not None:
        radio = radio_energy(profile.radio, bins, on_s, end_s)
        joules["radio_idle"] = radio.idle
        joules["radio_active"] = radio.active
        joules["radio_tx"] = radio.tx
        joules["radio_rx"] = radio.rx
        joules["radio_promotion"] = radio.promotion
        joules["radio_tail"] = radio.tail
    return joules
