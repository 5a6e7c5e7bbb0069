"""How a radio's energy figures are written in YAML, every set with its source."""

from typing import Annotated, Any

from pydantic import PlainValidator, ValidationInfo

from orchestrator.devices import Quality, Radio, Sourced
from orchestrator.forms import Form, reading
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


class RadioForm(SourcedForm):
    """See `devices.Radio`."""

    name: str
    about: str = ""
    idle_w: Power = 0.0
    active_w: Power = 0.0
    tx_j_per_mbit: EnergyPerMbit = 0.0
    rx_j_per_mbit: EnergyPerMbit = 0.0
    promotion_s: Duration = 0.0
    promotion_w: Power = 0.0
    tail_s: Duration = 0.0
    tail_w: Power = 0.0

    def radio(self) -> Radio:
        """The radio as the plan holds it."""
        figures = self.model_dump(exclude={"name", "about", "source", "quality", "error"})
        return Radio(name=self.name, provenance=self.provenance(), **figures)


def _read_radio(value: Any, info: ValidationInfo) -> RadioForm | str | None:
    if value is None or value == NO_RADIO:
        return NO_RADIO
    if isinstance(value, str):
        return reading(info).presets.radio(value)
    return RadioForm.model_validate(value, context=info.context)


# None: nothing was said; NO_RADIO: said that there is none.
RadioChoice = Annotated[
    RadioForm | str | None, PlainValidator(_read_radio, json_schema_input_type=str | RadioForm | None)
]
