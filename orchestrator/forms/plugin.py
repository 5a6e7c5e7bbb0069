"""Plug-ins that a scenario names (algorithm, model, rule, task, partition): checked against the node image's registry.

Parameters are written without the unit in their name (`rejoin_after: 20 s` sets `rejoin_after_s`) and kept in base
units, with every default filled in, so that the plan says all.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainSerializer, ValidationError

from node_image import registry
from node_image.data.arrival import ARRIVALS
from node_image.parameters import REQUIRED, ParameterSpec
from node_image.spec import Chosen, TaskSpec
from orchestrator.forms.base import (
    Mistake,
    Reading,
    mistakes_of,
    read_by,
    read_path,
    refusal,
    shown,
    unknown,
    written_name,
)
from orchestrator.units import DURATION, PER_SECOND, SHARE, SIZE, Quantity

_QUANTITIES: dict[str, Quantity] = {"s": DURATION, "bytes": SIZE, "per_s": PER_SECOND, "ratio": SHARE}


def quantity_of(unit: str) -> Quantity | None:
    """How a parameter of that base unit is written; None for bare numbers and words."""
    return _QUANTITIES.get(unit)


def choose(kind: registry.Kind, value: Any, *, key: str = "name") -> Chosen:
    """A plug-in from its name alone or `{name: ..., parameter: ...}`; ValidationError holds every mistake."""
    written = {key: value} if isinstance(value, str) else value
    if not isinstance(written, Mapping):
        raise refusal([((), f"must be a name or a mapping with a {key}{shown(value)}")])
    if key not in written:
        raise refusal([((key,), f"is required; known: {', '.join(registry.known(kind))}")])
    name = written[key]
    if name not in registry.known(kind):
        raise refusal([((key,), unknown(kind, name, registry.known(kind)))])
    specs = {written_name(spec.name): spec for spec in registry.parameters(kind, name).values()}
    mistakes: list[Mistake] = []
    parameters: dict[str, Any] = {}
    for word in written:
        if word != key and word not in specs:
            mistakes.append(((word,), unknown("key", word, (key, *specs))))
    for word, spec in specs.items():
        try:
            parameters[spec.name] = _value(spec, written.get(word, spec.default), given=word in written)
        except ValueError as error:
            text = str(error)
            mistakes.append(((word,), text if "(found" in text or word not in written else text + shown(written[word])))
    if not mistakes:
        try:
            registry.check(kind, name, parameters)  # what stands between them
        except ValueError as error:
            mistakes.append(((), str(error)))
    if mistakes:
        raise refusal(mistakes)
    return Chosen(name, parameters)


def _value(spec: ParameterSpec, value: Any, *, given: bool) -> Any:
    if value is REQUIRED:
        raise ValueError(f"is required ({spec.about})")
    quantity = quantity_of(spec.unit)
    # A ratio is a bare number in papers (alpha = 0.6): both ways of writing it are taken.
    if given and quantity is not None and (isinstance(value, str) or spec.unit != "ratio"):
        value = spec.type(quantity.parse(value))
    if spec.choices and value not in spec.choices:
        raise ValueError(unknown("word", value, spec.choices))
    if (problem := spec.problem(value)) is not None:
        raise ValueError(problem)
    return spec.type(value)


def write(kind: registry.Kind, chosen: Chosen, *, key: str = "name") -> dict[str, Any]:
    """The mapping that `choose` reads back as the same."""
    written: dict[str, Any] = {key: chosen.name}
    for name, spec in registry.parameters(kind, chosen.name).items():
        quantity, value = quantity_of(spec.unit), chosen.parameters[name]
        written[written_name(name)] = quantity.write(value) if quantity else value
    return written


OF_ANY_TASK = ("partition", "stream", "arrival", "classes", "public", "drift")


def read_task(value: Any, _: Reading) -> TaskSpec:
    """A task: its own parameters beside those that any task has.

    `partition` (iid unless said), `stream` (all data there from the start), `arrival`, `classes` (all), `public`,
    `drift`.
    """
    written = {"name": value} if isinstance(value, str) else value
    if not isinstance(written, Mapping):
        raise refusal([((), f"must be a name or a mapping with a name{shown(value)}")])
    mistakes: list[Mistake] = []
    task = Chosen("", {})
    partition = Chosen("iid")
    stream_per_s: float | None = None
    try:
        task = choose("task", {word: each for word, each in written.items() if word not in OF_ANY_TASK})
    except ValidationError as error:
        mistakes += mistakes_of(error)
    try:
        partition = choose("partition", written.get("partition", "iid"), key="kind")
    except ValidationError as error:
        mistakes += [(("partition", *path), text) for path, text in mistakes_of(error)]
    try:
        stream_per_s = PER_SECOND.parse(written["stream"]) if "stream" in written else None
        if stream_per_s == 0:
            raise ValueError("must be more than 0 samples/s")
    except ValueError as error:
        mistakes.append((("stream",), f"{error}{shown(written['stream'])}"))
    arrival: Any = written.get("arrival", "as_split")
    classes: Any = written.get("classes", [])
    public: Any = written.get("public", 0)
    if arrival not in ARRIVALS:
        mistakes.append((("arrival",), unknown("word", arrival, ARRIVALS)))
    if not isinstance(classes, list) or not all(_is_count(each) for each in classes):
        mistakes.append((("classes",), f"must be a list of class numbers, from 0{shown(classes)}"))
    elif len(classes) == 1 or len(set(classes)) < len(classes):
        mistakes.append((("classes",), f"must be two or more different classes{shown(classes)}"))
    if not _is_count(public):
        mistakes.append((("public",), f"must be a number of samples{shown(public)}"))
    drifts = _read_drifts(written.get("drift", []), mistakes)
    if mistakes:
        raise refusal(mistakes)
    return TaskSpec(
        task.name,
        task.parameters,
        partition,
        stream_per_s,
        arrival=arrival,
        classes=tuple(classes),
        public=public,
        drift=drifts,
    )


def _read_drifts(value: Any, mistakes: list[Mistake]) -> tuple[Chosen, ...]:
    if not isinstance(value, list):
        mistakes.append((("drift",), f"must be a list of drifts, each with a kind{shown(value)}"))
        return ()
    drifts = []
    for index, each in enumerate(value):
        try:
            drifts.append(choose("drift", each, key="kind"))
        except ValidationError as error:
            mistakes += [(("drift", index, *path), text) for path, text in mistakes_of(error)]
    return tuple(drifts)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def write_task(task: TaskSpec) -> dict[str, Any]:
    """The mapping that `read_task` reads back as the same."""
    written = write("task", Chosen(task.name, task.parameters))
    written["partition"] = write("partition", task.partition, key="kind")
    if task.stream_per_s is not None:
        written["stream"] = PER_SECOND.write(task.stream_per_s)
    if task.arrival != "as_split":
        written["arrival"] = task.arrival
    if task.classes:
        written["classes"] = list(task.classes)
    if task.public:
        written["public"] = task.public
    if task.drift:
        written["drift"] = [write("drift", each, key="kind") for each in task.drift]
    return written


def with_shared(chosen: Any, other: Any) -> dict[str, Any]:
    """Another algorithm as `compare` names it: parameters of `chosen` that it has too hold for it, unless it says.

    So a comparison keeps what the algorithms have in common (local steps, say) equal.
    """
    written = dict(other) if isinstance(other, Mapping) else {"name": other}
    algorithms = registry.known("algorithm")
    if not isinstance(chosen, Mapping) or chosen.get("name") not in algorithms or written.get("name") not in algorithms:
        return written
    # The same word may stand for another thing (`evaluate_every` rounds, or seconds): registered names tell.
    has, knows = (registry.parameters("algorithm", each["name"]) for each in (chosen, written))
    shared = {written_name(name) for name in has if name in knows}
    return {**{word: value for word, value in chosen.items() if word in shared}, **written}


def _field(kind: registry.Kind) -> tuple[Any, ...]:
    return (
        read_by(lambda value, _: choose(kind, value), str | dict[str, Any]),
        PlainSerializer(lambda chosen: write(kind, chosen), return_type=dict[str, Any]),
    )


Algorithm = Annotated[Chosen, *_field("algorithm")]
Model = Annotated[Chosen, *_field("model")]
Rule = Annotated[Chosen, *_field("rule")]
Selection = Annotated[Chosen, *_field("selection")]


def _find_weights(written: str, folder: Path) -> str:
    path = (folder / written).resolve()
    if not path.is_file():
        raise ValueError(f"there is no such file (looked for {path}); edgebed pretrain makes one")
    return str(path)


WeightsFile = Annotated[str, read_path("a safetensors file", _find_weights)]
Task = Annotated[
    TaskSpec,
    read_by(read_task, str | dict[str, Any]),
    PlainSerializer(write_task, return_type=dict[str, Any]),
]
