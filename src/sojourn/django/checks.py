"""System checks: what ``manage.py check`` says of settings that are wrong, or that contradict each other.

They are registered where ``sojourn.django`` is imported, and so are always run where it is in ``INSTALLED_APPS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as Theirs
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register
from django.utils.module_loading import import_string

from ..errors import ConfigurationError
from ..options import Options
from .colours import both_colours
from .config import SETTING, options_of
from .engine import SessionStore
from .middleware import SessionMiddleware

__all__ = ["check_settings"]

_OF_COOKIE: Final = tuple(f"SESSION_COOKIE_{name}" for name in ("DOMAIN", "PATH", "HTTPONLY", "SECURE", "SAMESITE"))
_JSON: Final = "django.contrib.sessions.serializers.JSONSerializer"


@register(Tags.security)
def check_settings(**_of_check: Any) -> list[CheckMessage]:
    """What is wrong with the settings that concern sessions. Nothing where neither our engine nor our middleware is in use."""
    middleware = [kind for path in settings.MIDDLEWARE if (kind := _imported(path)) is not None]
    ours = any(issubclass(kind, SessionMiddleware) for kind in middleware)
    engine = _imported(f"{settings.SESSION_ENGINE}.SessionStore")
    is_engine = engine is not None and issubclass(engine, SessionStore)
    if not ours and not is_engine:
        return []
    return [*_of_options(), *_of_middleware(middleware, ours=ours, is_engine=is_engine), *_of_names()]


def _imported(path: str) -> type[Any] | None:
    """The class of this path; None for a function, and for what Django itself will say cannot be imported."""
    try:
        found = import_string(path)
    except ImportError:
        return None
    return found if isinstance(found, type) else None


def _of_options() -> Iterator[CheckMessage]:
    given: Any = getattr(settings, SETTING, {})
    if not isinstance(given, Mapping):
        yield Error(f"{SETTING} is a {type(given).__name__}.", hint="Give a dict of options.", id="sojourn.E001")
        return
    try:
        Options.of(options_of(given))
        if given.get("store") is not None:
            both_colours(given["store"])
    except ConfigurationError as error:
        yield Error(f"{error.option}: got {error.given}.", hint=error.remedy, id="sojourn.E001")
    if given.get("store") is None:
        yield checks.Warning(
            "Sessions are kept in the memory of each process, and forgotten when it ends.",
            hint=f'Give {SETTING} = {{"store": "redis://..."}}, or say "memory://".',
            id="sojourn.W001",
        )


def _of_middleware(middleware: list[type[Any]], *, ours: bool, is_engine: bool) -> Iterator[CheckMessage]:
    if ours and not is_engine:
        yield Error(
            f"sojourn.django.SessionMiddleware cannot work on SESSION_ENGINE {settings.SESSION_ENGINE!r}.",
            hint='Set SESSION_ENGINE = "sojourn.django", or to a module with a subclass of its SessionStore.',
            id="sojourn.E002",
        )
    if sum(issubclass(kind, Theirs) for kind in middleware) > 1:
        yield Error(
            "MIDDLEWARE has more than one SessionMiddleware.",
            hint="Keep the one of sojourn.django, or without it the one of Django.",
            id="sojourn.E003",
        )


def _of_names() -> Iterator[CheckMessage]:
    """Settings that have no effect."""
    given: Any = getattr(settings, SETTING, {})
    options = given if isinstance(given, Mapping) else {}
    if "cookie" in options:
        for name in _OF_COOKIE:
            if settings.is_overridden(name):
                yield Error(
                    f"{name} has no effect, as {SETTING} has a cookie.", hint="Say it in one place.", id="sojourn.E004"
                )
    if settings.SESSION_SERIALIZER != _JSON:
        yield checks.Warning(
            "SESSION_SERIALIZER has no effect on what is stored.",
            hint=f'Give {SETTING} = {{"codec": sojourn.codecs.JSONCodec()}} for more types than JSON has.',
            id="sojourn.W002",
        )
