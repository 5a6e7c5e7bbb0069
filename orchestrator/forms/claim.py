"""How a claim is written in YAML: a figure of one arm of a comparison, by itself or against another arm's."""

from typing import Any, Literal, Self

from pydantic import ValidationInfo, field_serializer, field_validator, model_validator

from orchestrator.forms.base import Form
from orchestrator.forms.expect import known_metric, quantity_of_metric


class Claim(Form):
    """What the comparison should show.

    With `against`, the bounds are on the `difference` (arm minus other) or the `ratio` (arm over other) of the metric,
    in pairs of the same setting and seed. `where` names words of labels (`seed=1`) that the runs must have.
    """

    metric: str
    arm: str
    against: str | None = None
    by: Literal["difference", "ratio"] = "difference"
    where: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        return known_metric(metric)

    @field_validator("at_least", "at_most", mode="before", json_schema_input_type=str | float | None)
    @classmethod
    def _in_base_units(cls, value: Any, info: ValidationInfo) -> Any:
        metric, against = info.data.get("metric"), info.data.get("against")
        if value is None or metric is None:
            return None
        quantity = quantity_of_metric(metric)
        if quantity is None or (against is not None and info.data.get("by") == "ratio"):
            if isinstance(value, int | float) and not isinstance(value, bool):
                return float(value)
            raise ValueError("write a plain number")
        if against is not None and isinstance(value, str) and value.lstrip().startswith("-"):
            return -quantity.parse(value.lstrip()[1:])
        return quantity.parse(value)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("give at_least or at_most")
        if self.arm == self.against:
            raise ValueError(f"{self.arm} against itself says nothing")
        return self

    @field_serializer("at_least", "at_most")
    def _write(self, value: float | None) -> str | float | None:
        quantity = quantity_of_metric(self.metric)
        if value is None or quantity is None or (self.against is not None and self.by == "ratio"):
            return value
        return quantity.write(value) if value >= 0 else f"-{quantity.write(-value)}"
