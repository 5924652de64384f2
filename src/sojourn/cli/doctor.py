"""``sojourn doctor``: builds an application, and says what in it would fail in production."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from ..admin import Finding
from ..errors import SojournWarning
from ..logs import log
from ..middleware.base import Middleware
from .diagnosis import Deployment, diagnose, layers_of
from .output import Out
from .place import with_json

__all__ = ["COMMANDS"]

_STYLES: Final = {"error": "bold red", "warning": "yellow", "note": "dim"}
_WORKERS: Final = "WEB_CONCURRENCY"
"""By which uvicorn and gunicorn take the number of their workers."""


@click.command
@click.argument("app", metavar="MODULE:APP")
@click.option("--host", help="The host that browsers ask for, as in shop.example.com.")
@click.option("--proxy/--no-proxy", default=None, help="Whether TLS ends at a proxy before the application.")
@click.option("--workers", type=click.IntRange(1), help="How many processes serve it; WEB_CONCURRENCY unless given.")
@with_json
def doctor(app: str, host: str | None, proxy: bool | None, workers: int | None, out: Out) -> int:
    """Build an application, and say what of its sessions would fail in production.

    MODULE:APP is what the server is given, as in shop.main:app, or shop.main:make_app() for a function that makes it. The module is imported, with
    all that this does; no request is served, and the store is not asked. Exits with 1 where something would fail.
    """
    if workers is None and os.environ.get(_WORKERS, "").isdecimal():
        workers = int(os.environ[_WORKERS])
    with _collecting() as said:
        before = _middlewares()
        built, problem = _built(app)
        middlewares = [one for one in _middlewares() if not any(one is other for other in before)]
        how = Deployment(host=host, proxy=proxy, workers=workers)
        found = (
            [problem] if problem is not None else [*diagnose(built, layers_of(built), middlewares, how), *_of_django()]
        )
    found += [Finding("warning", text, "see the documentation of the option") for text in said]
    if out.as_json:
        out.json({"findings": found, "middlewares": len(middlewares)})
    else:
        for finding in found:
            out.line(f"{finding.level}: {finding.problem}; {finding.remedy}", _STYLES[finding.level])
        if not found:
            out.line("Nothing speaks against it.")
    return int(any(finding.level == "error" for finding in found))


def _built(given: str) -> tuple[Any, Finding | None]:
    """The application, or what keeps it from being built.

    Raises:
        click.BadParameter: it is none.
    """
    module, colon, name = given.partition(":")
    calls = name.endswith("()")
    if not module or not colon or not name:
        raise click.BadParameter(f"{given!r} is none: give it as in shop.main:app", param_hint="MODULE:APP")
    if "" not in sys.path:
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as Python itself has it there
    try:
        found: Any = importlib.import_module(module)
        for part in name.removesuffix("()").split("."):
            found = getattr(found, part)
        if calls:
            found = found()
        layers_of(found)
        _open_doors(found)
    except (ModuleNotFoundError, AttributeError) as error:
        if isinstance(error, AttributeError) or (error.name and f"{module}.".startswith(f"{error.name}.")):
            raise click.BadParameter(f"{given!r} is not there: {error}", param_hint="MODULE:APP") from None
        return None, Finding("error", f"the application cannot be built: {error}", "install what it needs")
    except Exception as error:  # noqa: BLE001 - whatever the application raises is what is to be told
        return None, Finding(
            "error", f"the application cannot be built: {type(error).__name__}: {error}", "mend that first"
        )
    return found, None


def _open_doors(app: Any) -> None:
    """Have those middlewares made that would be at the first request."""
    door = getattr(getattr(app, "session_interface", None), "door", None)  # of Flask and Quart
    if callable(door):
        door(app)
    django: Any = sys.modules.get("sojourn.django.config")
    if django is not None:
        django.current()


def _middlewares() -> list[Middleware]:
    """All that there are: each door has one, wherever it keeps it."""
    return [one for one in gc.get_objects() if issubclass(type(one), Middleware)]


def _of_django() -> Iterator[Finding]:
    """What Django's own checks say of sessions."""
    conf: Any = sys.modules.get("django.conf")
    if conf is None or not conf.settings.configured or "django.apps" not in sys.modules:
        return
    from django.core import checks  # noqa: PLC0415 - it is loaded already

    if conf.settings.DEBUG:
        yield Finding("error", "DEBUG is on: error pages show code and data to whoever asks", "switch it off")
    for message in checks.run_checks(tags=[checks.Tags.security], include_deployment_checks=True):
        if str(message.id).startswith("sojourn.") or any(
            word in str(message.msg) for word in ("SESSION", "SECRET_KEY")
        ):
            text, hint = str(message.msg), str(message.hint or f"see {message.id}")
            yield Finding("error" if message.is_serious() else "warning", text, hint)


class _Saying(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def _collecting() -> Iterator[list[str]]:
    """What Sojourn warns of while the block runs."""
    said: list[str] = []
    handler = _Saying(said)
    log.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
        said += [str(one.message) for one in caught if issubclass(one.category, SojournWarning)]
    finally:
        log.removeHandler(handler)


COMMANDS: Final = (doctor,)
