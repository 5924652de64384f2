"""Comparing outcomes."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.differential.scenario import Json
from tests.differential.worlds import Id

__all__ = ["comparable", "first_difference"]

_COMPARED: Final = ("failed", "handled", "status", "body", "cookies", "vary", "cache", "seen", "stored")


def comparable(outcome: list[Json]) -> list[Json]:
    """An outcome with its ids named in the order of their appearance, and without what is only for looking at.

    Of an answer that failed on the way, and of one that says that the store is down, only what the store holds afterwards counts.
    """
    if any("refused" in answer for answer in outcome):
        return outcome
    names: dict[str, str] = {}
    return [_named(_reduced(answer), names) for answer in outcome]


def _reduced(answer: Json) -> Json:
    if answer.get("failed"):
        return {"failed": True, "stored": answer["stored"]}
    reduced = {name: answer.get(name) for name in _COMPARED}
    if answer["status"] == 503:
        reduced |= {"body": None, "cache": None}
    return reduced


def _named(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, Id):
        return names.setdefault(value, f"#{len(names)}")
    if isinstance(value, dict):
        return {key: _named(item, names) for key, item in value.items()}
    if isinstance(value, list):
        if value and all(isinstance(item, dict) and ("lifetime" in item or "broken" in item) for item in value):
            # Records: those known already in the order of their names, others by what they hold.
            value = sorted(
                value, key=lambda item: (names.get(item["id"], "~"), json.dumps({**item, "id": ""}, sort_keys=True))
            )
        return [_named(item, names) for item in value]
    return value


def first_difference(left: Any, right: Any, at: str = "") -> str | None:
    """Where two outcomes differ first, as text; None where they are equal."""
    if type(left) is not type(right):
        return f"{at}: {left!r} != {right!r}"
    if isinstance(left, dict):
        for key in left | right:
            if key not in left or key not in right:
                return f"{at}.{key}: only in {'the second' if key in right else 'the first'}"
            if found := first_difference(left[key], right[key], f"{at}.{key}"):
                return found
        return None
    if isinstance(left, list):
        for index, (one, other) in enumerate(zip(left, right, strict=False)):
            if found := first_difference(one, other, f"{at}[{index}]"):
                return found
        return None if len(left) == len(right) else f"{at}: {left!r} != {right!r}"
    return None if left == right else f"{at}: {left!r} != {right!r}"
