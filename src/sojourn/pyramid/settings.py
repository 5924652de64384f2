"""What the settings ``sojourn.*`` come to: texts from an .ini file, or values that were given in code, as options."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from typing import Any, Final, cast

from pyramid.settings import aslist

from ..cookie import Cookie
from ..errors import ConfigurationError
from ..guard import GuardOptions
from ..options import OptionsDict
from ..profiles import express

__all__ = ["CONFIRM_ROUTE", "GUARD", "PREFIX", "guard_options_in", "options_in"]

PREFIX: Final = "sojourn."
CONFIRM_ROUTE: Final = "sojourn.confirm_route"
"""A setting that is no option; see `setup`."""
GUARD: Final = "sojourn.guard."
_COOKIE: Final = "cookie."
_FROM_ENVIRONMENT: Final = "env:"
_is_dotted_name: Final = re.compile(r"[A-Za-z_][\w.]*[.:][A-Za-z_]\w*", re.ASCII).fullmatch

_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}

Read = Callable[[Any, str, str], Any]
"""Makes a value of a configurator, a setting's name, and its text."""


def _refuse(name: str, text: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(name, repr(text), remedy)


def _text(_config: Any, _name: str, text: str) -> str:
    return text


def _flag(_config: Any, name: str, text: str) -> bool:
    value = _WORDS.get(text.lower())
    if value is None:
        raise _refuse(name, text, "give true or false")
    return value


def _flag_or(**others: Any) -> Read:
    """True or false, or another word."""

    def read(_config: Any, name: str, text: str) -> Any:
        words = _WORDS | others
        if text.lower() not in words:
            raise _refuse(name, text, f"give true, false or {' or '.join(others)}")
        return words[text.lower()]

    return read


def _word(_config: Any, _name: str, text: str) -> str:
    return text.lower()


def _duration(_config: Any, name: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise _refuse(name, text, "give a number of seconds")
    return seconds


def _duration_or_none(config: Any, name: str, text: str) -> float | None:
    if text.lower() == "none":
        return None
    try:
        return _duration(config, name, text)
    except ConfigurationError:
        raise _refuse(name, text, "give a number of seconds, or none") from None


def _integer(_config: Any, name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _refuse(name, text, "give a whole number") from None


def _date(_config: Any, name: str, text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise _refuse(name, text, "give a date with a time zone, such as 2030-01-01T00:00:00+00:00") from None


def _list(_config: Any, _name: str, text: str) -> list[str]:
    listed: list[str] = aslist(text)
    return listed


def _page(config: Any, name: str, text: str) -> Any:
    """HTML, or by its dotted name a function, where the text can be nothing else."""
    return _dotted(config, name, text) if _is_dotted_name(text) else _text(config, name, text)


def _dotted(config: Any, name: str, text: str) -> Any:
    try:
        return config.maybe_dotted(text)
    except (ImportError, AttributeError, ValueError):
        raise _refuse(name, text, "give the dotted name of something that can be imported") from None


def _kept_secret(name: str, text: str) -> str:
    """A text, or what the environment has under the name that it gives."""
    if not text.startswith(_FROM_ENVIRONMENT):
        return text
    variable = text.removeprefix(_FROM_ENVIRONMENT)
    value = os.environ.get(variable)
    if not value:
        raise ConfigurationError(name, f"the environment variable {variable!r}, which is not set", "set it")
    return value


def _secrets(_config: Any, name: str, text: str) -> list[str]:
    return [_kept_secret(name, line.strip()) for line in text.splitlines() if line.strip()]


def _store(_config: Any, name: str, text: str) -> str:
    return _kept_secret(name, text)


_READ: Final[dict[str, Read]] = {
    "secret": _secrets,
    "store": _store,
    "name": _text,
    "cookie": _dotted,
    "transports": _dotted,
    "idle_timeout": _duration_or_none,
    "absolute_timeout": _duration_or_none,
    "rolling": _flag,
    "resave": _flag,
    "save_uninitialized": _flag,
    "unset": _word,
    "generate_id": _dotted,
    "trust_proxy": _flag_or(none=None),
    "hash_ids": _flag,
    "codec": _dotted,
    "touch_after": _duration_or_none,
    "lazy": _flag,
    "exclude": _list,
    "on_store_error": _word,
    "store_error_page": _page,
    "signature_cache": _integer,
    "exclusive": _dotted,
    "fresh": _dotted,
    "close_on_end": _flag,
    "connect_flash": _flag,
    "describe": _dotted,
    "on_event": _dotted,
    "clear_site_data": _list,
    "passport": _flag_or(int=int),
    "profile": _word,
    "clock": _dotted,
}
"""How the text of each option is read."""
_READ_COOKIE: Final[dict[str, Read]] = {
    "path": _text,
    "httponly": _flag,
    "secure": _flag_or(auto="auto"),
    "samesite": _word,
    "max_age": _duration_or_none,
    "domain": _text,
    "partitioned": _flag,
    "priority": _word,
    "expires": _date,
}
"""The same of each attribute of the cookie."""
_READ_GUARD: Final[dict[str, Read]] = {
    "trusted_origins": _list,
    "exclude": _list,
    "strict": _flag,
    "trust_proxy": _flag_or(none=None),
}
"""The same of each option of the guard."""
_PROFILES: Final = ("native", "express")


def options_in(config: Any) -> OptionsDict:
    """The options that a configurator's settings give.

    Raises:
        ConfigurationError: a setting is unknown, or its text is not right; it names the setting.
    """
    options: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    for setting, given in config.registry.settings.items():
        if not setting.startswith(PREFIX) or setting == CONFIRM_ROUTE or setting.startswith(GUARD):
            continue
        name = setting.removeprefix(PREFIX)
        into, table, key = options, _READ, name
        if name.startswith(_COOKIE):
            into, table, key = attributes, _READ_COOKIE, name.removeprefix(_COOKIE)
        if key not in table:
            known = [*_READ, CONFIRM_ROUTE.removeprefix(PREFIX), *(_COOKIE + attribute for attribute in _READ_COOKIE)]
            raise ConfigurationError(setting, "an unknown setting", f"after {PREFIX!r} comes one of {', '.join(known)}")
        into[key] = _value(config, setting, given, table[key])
    if attributes:
        options["cookie"] = _cookie(options, attributes)
    return _with_profile(options)


def guard_options_in(config: Any) -> GuardOptions:
    """The same for the guard, whose settings are ``sojourn.guard.*``."""
    options: dict[str, Any] = {}
    for setting, given in config.registry.settings.items():
        if setting.startswith(GUARD):
            name = setting.removeprefix(GUARD)
            if name not in _READ_GUARD:
                remedy = f"after {GUARD!r} comes one of {', '.join(_READ_GUARD)}"
                raise ConfigurationError(setting, "an unknown setting", remedy)
            options[name] = _value(config, setting, given, _READ_GUARD[name])
    return cast("GuardOptions", options)


def _value(config: Any, setting: str, given: Any, read: Read) -> Any:
    return read(config, setting, given.strip()) if isinstance(given, str) else given


def _cookie(options: dict[str, Any], attributes: dict[str, Any]) -> Cookie:
    if "cookie" in options:
        raise ConfigurationError(f"{PREFIX}cookie", "attributes of it as well", "give one of the two")
    if options.get("profile") == "express":  # whose cookie has defaults of its own
        default = cast("Cookie", express()["cookie"])
        attributes = {one.name: getattr(default, one.name) for one in fields(Cookie) if one.init} | attributes
    try:
        return Cookie(**attributes)
    except ConfigurationError as error:
        raise ConfigurationError(PREFIX + error.option, error.given, error.remedy) from None


def _with_profile(options: dict[str, Any]) -> OptionsDict:
    profile = options.get("profile")
    if isinstance(profile, str):
        if profile not in _PROFILES:
            raise _refuse(f"{PREFIX}profile", profile, f"give {' or '.join(_PROFILES)}")
        del options["profile"]
        if profile == "express":
            return express(**cast("OptionsDict", options))
    return cast("OptionsDict", options)
