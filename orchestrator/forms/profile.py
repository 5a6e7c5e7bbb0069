"""How a device profile is written in YAML: whole, or a base with changes."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, PrivateAttr

from node_image.spec import ComputeSpeed
from orchestrator.devices import DeviceProfile, Power
from orchestrator.forms.base import PRESETS, Count, Flag, Form, Reading, name_of, read_by
from orchestrator.forms.radio import NO_RADIO, RadioChoice, RadioForm, SourcedForm
from orchestrator.units import Duration, Energy, MacRate, Size
from orchestrator.units import Power as Watts


class SpeedForm(SourcedForm):
    """See `node_image.spec.ComputeSpeed`; one thread."""

    macs_per_s: Annotated[MacRate, Field(gt=0)]
    op_overhead_s: Duration


class PowerForm(SourcedForm):
    """See `devices.Power`."""

    base_w: Watts
    cpu_dyn_w: Watts


class ProfileForm(Form):
    """A type of device, with everything said; see `devices.DeviceProfile`."""

    name: str
    about: str = ""
    cores: Count
    memory_bytes: Annotated[Size, Field(gt=0)]
    speed: SpeedForm
    power: PowerForm | None = None
    radio: RadioChoice = NO_RADIO
    slowed: Flag = True
    battery_joules: Energy | None = None
    _radio_chosen: bool = PrivateAttr(default=False)  # by the scenario itself, not by the profile's file

    def on_link(self, radio: RadioForm | str | None) -> "ProfileForm":
        """This profile behind a link that names its radio; one that the scenario chose for the device stays."""
        if radio is None or self._radio_chosen:
            return self
        return self.model_copy(update={"radio": radio})

    def profile(self) -> DeviceProfile:
        """The profile as the plan holds it."""
        power = self.power
        return DeviceProfile(
            name=self.name,
            about=self.about,
            cores=self.cores,
            memory_bytes=round(self.memory_bytes),
            speed=ComputeSpeed(self.speed.macs_per_s, self.speed.op_overhead_s),
            speed_provenance=self.speed.provenance(),
            power=Power(power.base_w, power.cpu_dyn_w, power.provenance()) if power else None,
            radio=self.radio.radio() if isinstance(self.radio, RadioForm) else None,
            slowed=self.slowed,
            battery_joules=self.battery_joules,
        )


class ProfileChanges(Form):
    """As a scenario may write it: the name of a profile and what is different here. For the JSON Schema alone."""

    base: str = Field(json_schema_extra={PRESETS: "devices"})
    name: str | None = None
    about: str | None = None
    cores: Count | None = None
    memory_bytes: Size | None = None
    speed: dict[str, Any] | None = None
    power: dict[str, Any] | None = None
    radio: RadioChoice = None
    slowed: Flag | None = None
    battery_joules: Energy | None = None


def _read_profile(value: Any, reading: Reading) -> ProfileForm:
    presets = reading.presets
    if isinstance(value, str):
        return presets.profile(value)
    chosen = isinstance(value, Mapping) and "radio" in value
    if isinstance(value, Mapping) and isinstance(value.get("base"), str):
        value = with_changes(presets.written_profile(value["base"]), value)
    form = ProfileForm.model_validate(value, context=reading)
    form._radio_chosen = chosen
    return form


def with_changes(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A profile as written, with changes. Figures that change lose the source that the old ones had."""
    said = {key: value for key, value in changes.items() if key != "base"}
    profile = {**base, "name": "+".join([base["name"], *(key for key in said if key != "name")]), **said}
    for block in ("speed", "power"):
        if isinstance(base.get(block), Mapping) and isinstance(said.get(block), Mapping):
            unsourced = {"source": f"the scenario, over {base['name']}", "quality": "assumed", "error": None}
            profile[block] = {**base[block], **unsourced, **said[block]}
    return profile


AnyProfile = Annotated[ProfileForm, read_by(_read_profile, name_of("devices") | ProfileChanges | ProfileForm)]
