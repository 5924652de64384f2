"""What a row of the matrix is, and what its rows share. The rows themselves are in `scripts.matrix` and in a ``*_rows`` of each family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

__all__ = ["KILLED", "Row", "Scene", "again", "clock", "our_clock"]

KILLED: Final = "the server is killed, and started again"


class Scene(NamedTuple):
    """A row's servers, which run."""

    url: str
    """What the processes use."""
    versions: str
    """Of the servers."""
    strike: Callable[[], object] | None = None
    """What goes wrong, after a third of the time."""
    environments: Sequence[dict[str, str]] = ({},)
    """Variables of the processes, in turn: of the two colours one each, then the next."""
    processes: int = 8
    kills: int = 0
    """How many of the processes are killed when it goes wrong."""
    after: Callable[[], str] | None = None
    """Looks at what is left, and says what it found."""


class Row(NamedTuple):
    """A line of the table."""

    name: str
    what: str
    """What goes wrong."""
    scene: Callable[[ExitStack], Scene]
    """Starts the servers, which the stack stops."""
    package: str = ""
    """Debian's, each with the program of this name, between spaces."""
    loses: str = ""
    """What the server's own settings let it lose of what it has confirmed; empty for nothing."""
    family: str = ""
    """Whose table in the documentation it is in."""


def again(server: Any, **settings: object) -> None:
    """Kill a server, and start it again."""
    server.kill()
    server.start(**settings)


def _shifted(file: Path, shift: str) -> Callable[[str], None]:
    def set_to(shift: str) -> None:
        fresh = file.with_suffix(".new")
        fresh.write_text(f"{shift}\n")
        fresh.replace(file)

    set_to(shift)
    return set_to


def our_clock(folder: Path, shift: str) -> tuple[dict[str, str], Callable[[str], None]]:
    """The variables of a process of the load whose clock is shifted (``"+3600"``), and what shifts it anew.

    It shifts its clock itself: under libfaketime Python's ``time.sleep`` fails, or lasts as long as the shift.
    """
    file = folder / "ours"
    return {"SOJOURN_LOAD_CLOCK": str(file)}, _shifted(file, shift)


_FAKETIME: Final = "faketime/libfaketime.so.1"


def clock(folder: Path, name: str, shift: str) -> tuple[dict[str, str], Callable[[str], None]]:
    """The variables of a process whose clock is shifted (``"+3600"``), and what shifts it anew. Its monotonic clock is the machine's."""
    found = [path for path in Path("/usr/lib").glob(f"*/{_FAKETIME}") if path.exists()]
    if not found:
        pytest.skip("there is no libfaketime; on Debian it comes with the package faketime")
    file = folder / name
    set_to = _shifted(file, shift)
    variables = {
        "LD_PRELOAD": str(found[0]),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_CACHE_DURATION": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    return variables, set_to
