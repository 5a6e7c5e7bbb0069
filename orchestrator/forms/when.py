"""How a scenario says when a fault acts, beside a plain `at`: again and again, by chance, or after something else."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, PlainSerializer, model_validator

from node_image.records import METRICS
from orchestrator.forms.base import Count, Form, Reading, one_of, read_by, read_path, unknown
from orchestrator.spells import SpellsFile, find_spells
from orchestrator.units import Duration, Share

Mean = Annotated[Duration, Field(gt=0)]


class Repeat(Form):
    """The fault comes again `every` so often (from beginning to beginning), so many `times` in all, or to the end."""

    every_s: Mean
    times: Annotated[int, Field(ge=2, strict=True)] | None = None


class OnOff(Form):
    """Each victim is `up` and `down` by turns, each for a random time with that mean.

    The times are exponential (a Markov chain with two states), or with a `shape` k Weibull: below 1 short times and
    very long ones are common.
    """

    process: Literal["on_off"]
    up_s: Mean
    down_s: Mean
    shape: Annotated[float, Field(ge=0.2, le=10)] = 1.0


class Bernoulli(Form):
    """At every instant of a grid each victim is hit with a `probability`, for the fault's `for`, unless it still is."""

    process: Literal["bernoulli"]
    every_s: Mean
    probability: Annotated[Share, Field(gt=0)]


class Outage(Form):
    """Outages come at random, `every` so often in the mean (Poisson), and hit many at once for the fault's `for`.

    Either a random `share` of the victims, or (`region: group`) all victims of one random group.
    """

    process: Literal["outage"]
    every_s: Mean
    share: Annotated[Share, Field(gt=0)] = 1.0
    region: Literal["any", "group"] = "any"


class Diurnal(Form):
    """The share of victims that are up swings between `least` and `most` like a cosine, highest at the beginning.

    Which they are is drawn anew `every` so often.
    """

    process: Literal["diurnal"]
    period_s: Mean
    every_s: Mean
    least: Share
    most: Share = 1.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError("least is more than most")
        return self


PROCESSES: dict[str, type[Form]] = {"bernoulli": Bernoulli, "diurnal": Diurnal, "on_off": OnOff, "outage": Outage}
AnyProcess = Bernoulli | Diurnal | OnOff | Outage


def _read_process(value: Any, reading: Reading) -> Any:
    return one_of(PROCESSES, value, reading, key="process")


Process = Annotated[AnyProcess, read_by(_read_process, Annotated[AnyProcess, Field(discriminator="process")])]


Spells = Annotated[
    SpellsFile, read_path("a CSV file", find_spells), PlainSerializer(lambda file: file.path, return_type=str)
]


class Trigger(Form):
    """The first time that something has come: a `round`, so many `updates` aggregated, a metric's value, or a fault.

    `metric` with `at_least` or `at_most`: of whichever node; counters count from the beginning, over all nodes.
    `after`: when the fault at that place of the list (from 0) has begun. Then `plus` so long.
    """

    round: Count | None = None
    updates: Count | None = None
    metric: str | None = None
    at_least: float | None = None
    at_most: float | None = None
    after: Annotated[int, Field(ge=0, strict=True)] | None = None
    plus_s: Duration = 0.0

    @model_validator(mode="after")
    def _one(self) -> Self:
        said = [name for name in ("round", "updates", "metric", "after") if getattr(self, name) is not None]
        if len(said) != 1:
            raise ValueError(f"say one of round, updates, metric or after (found {', '.join(said) or 'none'})")
        if (self.metric is not None) != (self.at_least is not None or self.at_most is not None):
            raise ValueError("metric goes with at_least or at_most, and they with it")
        if self.metric is not None and self.metric not in METRICS:
            raise ValueError(unknown("metric", self.metric, METRICS))
        return self

    def condition(self) -> tuple[str | None, float | None, float | None]:
        """(metric, at least, at most); no metric where it waits for a fault."""
        if self.round is not None:
            return "round", float(self.round), None
        if self.updates is not None:
            return "aggregated_updates", float(self.updates), None
        return self.metric, self.at_least, self.at_most
