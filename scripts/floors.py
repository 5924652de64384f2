"""The floors of the package: which module may import which. A module imports from its own floor and from those below.

The one table of floors; `tests/test_floors.py` holds the package to it and `scripts/coverage_gate.py` takes the core from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

__all__ = ["CORE", "FLOORS", "PACKAGE", "floor_of", "module_name", "sources"]

PACKAGE: Final = Path(__file__).resolve().parent.parent / "src" / "sojourn"

FLOORS: Final[dict[str, int]] = {
    # 0 ground: the standard library alone
    "aio": 0,
    "chance": 0,
    "clock": 0,
    "cookie": 0,
    "cookie_parser": 0,
    "errors": 0,
    "events": 0,
    "guard": 0,
    "ids": 0,
    "logs": 0,
    "options": 0,
    "transports": 0,
    "wire": 0,
    # 1 core: time and values; the profiles choose a codec
    "codecs": 1,
    "core": 1,
    "profiles": 1,
    # 2 stores: a driver each; bytes and milliseconds, never a session
    "stores": 2,
    # 3 middleware: what every door shares. "" is the package itself, which names what is in the floors below
    "": 3,
    "middleware": 3,
    # what an operator asks of a store: below the doors, as a door shows it
    "admin": 3,
    # 4 doors: a protocol or a framework each
    "aiohttp": 4,
    "asgi": 4,
    "django": 4,
    "driver": 4,
    "fastapi": 4,
    "flask": 4,
    "health": 4,
    "pyramid": 4,
    "litestar": 4,
    "quart": 4,
    "starlette": 4,
    "wsgi": 4,
    # and, beside the doors, what listens to events
    "otel": 4,
    "prometheus": 4,
    # 5 tools: they know everything
    "__main__": 5,
    "cli": 5,
    "dashboard": 5,
    "demo": 5,
    "migrate": 5,
    "testing": 5,
}
"""Module, or package with all that is in it, to floor. Names are relative to the package."""

CORE: Final = frozenset(name for name, floor in FLOORS.items() if floor <= 1) - {"aio"}
"""Modules and packages whose every branch is covered. ``aio`` waits on event loops."""


def floor_of(module: str) -> int | None:
    """The floor of a module such as ``"stores.redis"``: its own entry or that of its package; None if unknown."""
    return FLOORS.get(module, FLOORS.get(module.partition(".")[0]))


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """``stores/redis.py`` is ``"stores.redis"``, ``stores/__init__.py`` is ``"stores"``, the package itself ``""``."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module of the package with its file."""
    return {module_name(path, package): path for path in sorted(package.rglob("*.py"))}
