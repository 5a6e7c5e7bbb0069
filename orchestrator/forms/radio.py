"""How a radio's energy figures are written in YAML, every set with its source."""

from typing import Annotated, Any

from orchestrator.devices import Quality, Radio, Sourced
from orchestrator.forms.base import Form, Reading, name_of, read_by
from orchestrator.units import Duration, EnergyPerMbit, Power, Share

NO_RADIO = "none"  # written where a cable takes the place of the device's radio


class SourcedForm(Form):
    """Figures and where they come from."""

    source: str
    quality: Quality
    error: Share | None = None

    def provenance(self) -> Sourced:
        """The source alone."""
        return Sourced(self.source, self.quality, self.error)


class Phase(Form):
    """How long the radio takes to wake up or to fall asleep, and what it draws meanwhile."""

    time_s: Duration = 0.0
    power_w: Power = 0.0


class RadioForm(SourcedForm):
    """See `devices.Radio`."""

    name: str
    about: str = ""
    idle_w: Power = 0.0
    active_w: Power = 0.0
    tx_j_per_mbit: EnergyPerMbit = 0.0
    rx_j_per_mbit: EnergyPerMbit = 0.0
    promotion: Phase = Phase()
    tail: Phase = Phase()

    def radio(self) -> Radio:
        """The radio as the plan holds it."""
        return Radio(
            name=self.name,
            provenance=self.provenance(),
            idle_w=self.idle_w,
            active_w=self.active_w,
            tx_j_per_mbit=self.tx_j_per_mbit,
            rx_j_per_mbit=self.rx_j_per_mbit,
            promotion_s=self.promotion.time_s,
            promotion_w=self.promotion.power_w,
            tail_s=self.tail.time_s,
            tail_w=self.tail.power_w,
        )


def _read_radio(value: Any, reading: Reading) -> RadioForm | str | None:
    if value is None or value == NO_RADIO:
        return NO_RADIO
    if isinstance(value, str):
        return reading.presets.radio(value)
    return RadioForm.model_validate(value, context=reading)


# None: nothing was said; NO_RADIO: said that there is none.
RadioChoice = Annotated[RadioForm | str | None, read_by(_read_radio, name_of("radios") | RadioForm | None)]
