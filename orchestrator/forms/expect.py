"""How an expectation is written in YAML: a figure of the run's summary and its bounds, in the figure's own unit."""

import re
from typing import Any, Self

from pydantic import ValidationInfo, field_serializer, field_validator, model_validator

from node_image.records import METRICS
from orchestrator.forms.base import Form, unknown
from orchestrator.plan import Expectation
from orchestrator.quantities import unit_of
from orchestrator.units import DURATION, ENERGY, RATE, SHARE, SIZE, Quantity

_QUANTITIES: dict[str, Quantity] = {"J": ENERGY, "bytes": SIZE, "ratio": SHARE, "s": DURATION, "bit/s": RATE}
_DERIVED = re.compile(
    r"program\.[a-z0-9_]+|wire_bytes|(measured_energy_joules|energy_missing_s)\.[a-z0-9_-]+|time_to_accuracy_\d{1,2}_s|test_top_\d+|test_accuracy_(last_fifth_mean|own_mean|own_min)|spectral_gap(_in_clusters)?"
)
_STATISTIC = re.compile(r"(_device)?_(mean|min|max|p50|p95)(?=$|\.)|\.[a-z_]+$")
_ALSO_KNOWN = ("wire_bytes", "time_to_accuracy_70_s", "test_top_3")


def known_metric(metric: str) -> str:
    """The metric as it is; ValueError if no summary can have it."""
    if _DERIVED.fullmatch(metric) or _STATISTIC.sub("", metric) in METRICS:
        return metric
    raise ValueError(unknown("metric", metric, (*METRICS, *_ALSO_KNOWN)))


def quantity_of_metric(metric: str) -> Quantity | None:
    """How values of a metric are written; None for plain numbers."""
    return _QUANTITIES.get(unit_of(metric))


class Expect(Form):
    """`metric` is a name of `records.METRICS`, or of the summary (`round_s_p95`, `sent_payload_bytes.update`)."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        return known_metric(metric)

    @field_validator("at_least", "at_most", mode="before", json_schema_input_type=str | float | None)
    @classmethod
    def _in_base_units(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None or "metric" not in info.data:
            return None
        quantity = quantity_of_metric(info.data["metric"])
        if quantity is not None:
            return quantity.parse(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise ValueError(f"{info.data['metric']} has no unit that is written; write a plain number")

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("give at_least, at_most or both")
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError("at_least is more than at_most")
        return self

    @field_serializer("at_least", "at_most")
    def _write(self, value: float | None) -> str | float | None:
        quantity = quantity_of_metric(self.metric)
        return quantity.write(value) if quantity and value is not None else value

    def _written(self) -> tuple[str | float | None, str | float | None]:
        return self._write(self.at_least), self._write(self.at_most)

    def expectation(self) -> Expectation:
        """As the plan holds it, with the words for the table of verdicts."""
        least, most = (f"{each:g}" if isinstance(each, float) else each for each in self._written())
        bounds = [f"at least {least}"] if least is not None else []
        bounds += [f"at most {most}"] if most is not None else []
        return Expectation(self.metric, self.at_least, self.at_most, f"{self.metric} {' and '.join(bounds)}")
