"""The form of an objective: reading and checking the mapping, without any registration.

`rcn_tf.losses.objective` says what an objective is and evaluates it.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rcn_tf.losses.schedule import Decay
from rcn_tf.losses.terms import (
    FLOW,
    IMAGES,
    LABELS,
    LANDMARKS,
    MAP_PAIR,
    PAIR,
    REFERENCE,
    TERMS,
    Term,
)

FINAL, REVERSED = "final", "reversed"
_KINDS = ("affine", "dense")  # parts that are allowed even if the model has no such stage
_SCHEDULE = ("kind", *(field.name for field in dataclasses.fields(Decay)))


@dataclasses.dataclass(frozen=True)
class Weighted:
    """A term of an objective as it was read.

    Attributes:
        name: as in the objective.
        weight: a number; a term with weight 0 is not computed.
        parameters: of the term's function, and `total` of affine terms.
        schedule: of the weight, or None if it is constant.
    """

    name: str
    weight: float
    parameters: Mapping[str, Any]
    schedule: Decay | None = None

    @property
    def term(self) -> Term:
        """The term's function and the inputs that it takes."""
        return TERMS[self.name]


def check_weights(objective: Mapping) -> None:
    """Raises ValueError if `objective` does not have the form in `rcn_tf.losses.objective`.

    `check_stages` checks whether its parts fit a model.
    """
    if not isinstance(objective, Mapping):
        raise ValueError(f"loss weights must map parts to terms; got {objective!r}.")
    for part, value in objective.items():
        if part == REVERSED:
            _check_reversed(value)
            continue
        for entry in _entries(part, value):
            read_terms(part, entry)


def needs(objective: Mapping) -> frozenset[str]:
    """Further inputs of the weighted terms: "labels", "landmarks", "reference_flow", "reversed".

    "reversed" is the output of the same model with the images exchanged.
    """
    found = set()
    for part, value in objective.items():
        if part == REVERSED:
            inside = needs(value)
            if any(term.weight for term in _all_terms(value)):
                found |= {REVERSED, *inside}
    kinds = {term.term.takes for term in _all_terms(objective) if term.weight}
    found |= kinds & {LABELS, LANDMARKS, REFERENCE}
    return frozenset(found | ({REVERSED} if kinds & {PAIR, MAP_PAIR} else set()))


def check_stages(objective: Mapping, stages: Sequence[tuple[str, str]]) -> None:
    """Raises ValueError if an objective does not fit a model's stages.

    Args: objective: see `rcn_tf.losses.objective`. stages: (name, kind) of every stage, from
        `rcn_tf.models.model.stages_of`.
    """
    check_weights(objective)
    directions = [("", objective), (f"{REVERSED}.", objective.get(REVERSED, {}))]
    weighted = []
    for prefix, parts in directions:
        for terms in [*stage_terms(parts, stages, prefix), final_terms(parts)]:
            weighted += [term for term in terms.values() if term.weight]
    if not weighted:
        raise ValueError("the loss weights leave no term for this network.")


def stage_terms(
    objective: Mapping, stages: Sequence[tuple[str, str]], prefix: str = ""
) -> list[dict[str, Weighted]]:
    """The terms of every stage: those of its kind, of its name before "/", and of its full name.

    A term of a later part replaces one of an earlier part.

    Raises: ValueError: a list does not fit, or a part belongs to no stage.
    """
    cascades = _cascades(stages)
    _check_parts(objective, stages, cascades, prefix)
    found = []
    for name, kind in stages:
        terms: dict[str, Weighted] = {}
        for part in dict.fromkeys((kind, _cascade(name), name)):
            if part in (FINAL, REVERSED) or part not in objective:
                continue
            value = objective[part]
            if isinstance(value, (list, tuple)):
                value = value[cascades[kind].index(_cascade(name))]
            terms.update(read_terms(part, value))
        found.append(terms)
    return found


def final_terms(objective: Mapping) -> dict[str, Weighted]:
    """The terms of the end result."""
    return read_terms(FINAL, objective.get(FINAL, {}))


def for_one_more_stage(objective: Mapping) -> dict[str, dict[str, Any]]:
    """The part of a training's objective that applies to one more dense stage.

    It has the image terms and regularity of "dense" (the last entry of a list) and "final". Without
    a part "dense", the regularity of the last other part is taken. Schedules, and terms that need
    more than the pair, are left out. It is empty if no image term remains, as after a supervised
    training.
    """
    parts = {name: _last(value) for name, value in objective.items() if name != REVERSED}
    others = [name for name in parts if name not in (FINAL, "affine")]
    dense = "dense" if "dense" in parts else (others or ["dense"])[-1]
    chosen = {
        "dense": _kept(parts.get(dense, {}), (IMAGES, FLOW) if dense == "dense" else (FLOW,)),
        FINAL: _kept(parts.get(FINAL, {}), (IMAGES, FLOW)),
    }
    images = [n for terms in chosen.values() for n in terms if TERMS[n].takes == IMAGES]
    return chosen if images else {}


def read_terms(part: str, entry: Any) -> dict[str, Weighted]:
    """{name: Weighted} of one part.

    Raises: ValueError: the entry does not have the form.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"loss weights: {part!r} must map terms to numbers; got {entry!r}.")
    return {name: _read_term(part, name, value) for name, value in entry.items()}


def _read_term(part, name, value):
    known = [key for key, term in TERMS.items() if term.fits(part)]
    if name not in known:
        raise ValueError(f"loss weights: unknown term {name!r} in {part!r}; {_near(name, known)}")
    where = f"{part}.{name}"
    if not isinstance(value, Mapping):
        _check_number(where, value, " or an object")
        return Weighted(name, value, {})
    defaults = TERMS[name].parameters
    for key in value:
        if key not in ("weight", "schedule", *defaults):
            near = _near(key, ["weight", "schedule", *defaults])
            raise ValueError(f"loss weights: unknown parameter {key!r} of {where}; {near}")
    weight = value.get("weight", 1.0)
    _check_number(f"{where}.weight", weight)
    parameters = {
        key: _read_parameter(f"{where}.{key}", value[key], default)
        for key, default in defaults.items()
        if key in value
    }
    return Weighted(name, weight, parameters, _read_schedule(where, value.get("schedule")))


def _read_parameter(where, value, default):
    """A parameter of its default's type; numbers other than a seed must be positive."""
    if isinstance(default, tuple):
        if not isinstance(value, (list, tuple)) or not all(map(_is_positive, value)):
            raise ValueError(f"loss weights: {where} must be a list of numbers; got {value!r}.")
        return tuple(value)
    if isinstance(default, (bool, str)):
        if not isinstance(value, type(default)):
            wanted = "true or false" if isinstance(default, bool) else "a string"
            raise ValueError(f"loss weights: {where} must be {wanted}; got {value!r}.")
        return value
    whole = isinstance(default, int)
    least_is_met = _is_positive(value) or (value == 0 and where.endswith(".seed"))
    if isinstance(value, bool) or not least_is_met or (whole and value != int(value)):
        wanted = "a positive whole number" if whole else "a positive number"
        raise ValueError(f"loss weights: {where} must be {wanted}; got {value!r}.")
    return int(value) if whole else float(value)


def _read_schedule(where, value):
    if value is None or value == "constant":
        return None
    where = f"{where}.schedule"
    if not isinstance(value, Mapping) or value.get("kind") != "decay":
        raise ValueError(
            f"loss weights: {where} must be 'constant' or an object of kind 'decay'; got {value!r}."
        )
    for key, number in value.items():
        if key not in _SCHEDULE:
            near = _near(key, _SCHEDULE)
            raise ValueError(f"loss weights: unknown key {key!r} of {where}; {near}")
        if key != "kind" and not (_is_positive(number) or _is_number(number) and number == 0):
            raise ValueError(f"loss weights: {where}.{key} must be a number; got {number!r}.")
    numbers = {key: number for key, number in value.items() if key != "kind"}
    steps = numbers.get("steps_per_epoch")
    if not _is_positive(steps) or steps != int(steps) or not numbers.get("rate", 1):
        raise ValueError(
            f"loss weights: {where} needs `steps_per_epoch`, a whole number, and a rate above 0."
        )
    return Decay(**{**numbers, "steps_per_epoch": int(steps)})


def _check_reversed(value):
    if not isinstance(value, Mapping) or REVERSED in value:
        raise ValueError(f"loss weights: 'reversed' must map parts to terms; got {value!r}.")
    check_weights(value)
    for term in _all_terms(value):
        if term.term.takes in (PAIR, MAP_PAIR, REFERENCE):
            raise ValueError(f"loss weights: {term.name!r} is not allowed in 'reversed'.")


def _check_parts(objective, stages, cascades, prefix):
    kinds = {kind for _, kind in stages}
    names = {part for name, _ in stages for part in (name, _cascade(name))}
    for part, value in objective.items():
        if part in (*_KINDS, FINAL, REVERSED) and part not in kinds:
            continue
        if part not in kinds | names:
            known = sorted({*kinds, *names, FINAL, REVERSED})
            raise ValueError(f"loss weights: unknown part {prefix + part!r}; {_near(part, known)}")
        if isinstance(value, (list, tuple)) and len(value) != len(cascades.get(part, ())):
            stages_there = len(cascades.get(part, ()))
            raise ValueError(
                f"loss weights: {len(value)} {prefix}{part} entries do not fit {stages_there} "
                "stages (repeats of a stage share its entry)."
            )


def _cascades(stages):
    """{kind: names before "/" of its stages, in order}; a list has one entry for each of them."""
    found: dict[str, list[str]] = {}
    for name, kind in stages:
        names = found.setdefault(kind, [])
        if _cascade(name) not in names:
            names.append(_cascade(name))
    return found


def _cascade(name):
    return name.partition("/")[0]


def _entries(part, value) -> Iterable:
    return value if isinstance(value, (list, tuple)) and part != FINAL else [value]


def _all_terms(objective):
    return [
        term
        for part, value in objective.items()
        if part != REVERSED
        for entry in _entries(part, value)
        for term in read_terms(part, entry).values()
    ]


def _last(value):
    if isinstance(value, (list, tuple)):
        return value[-1] if value else {}
    return value


def _kept(terms, kinds):
    """The weighted terms that take one of `kinds`, without their schedules."""
    kept = {}
    for name, value in terms.items():
        constant = (
            {key: inner for key, inner in value.items() if key != "schedule"}
            if isinstance(value, Mapping)
            else value
        )
        weight = value.get("weight", 1.0) if isinstance(value, Mapping) else value
        if weight and TERMS[name].takes in kinds:
            kept[name] = constant
    return kept


def _near(name, known):
    """Hint that ends the message about an unknown name."""
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}."


def _check_number(where, value, otherwise=""):
    if not _is_number(value):
        raise ValueError(f"loss weights: {where} must be a number{otherwise}; got {value!r}.")


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < math.inf


def _is_positive(value):
    return _is_number(value) and value > 0
