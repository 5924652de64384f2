"""What of an application's sessions would fail in production: the rules, on the application as it was built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from ..admin import Finding
from ..cookie import Cookie
from ..middleware.base import Middleware
from ..options import NATIVE, Options
from ..wire.cookies import domain_fits
from .secret import weakness

__all__ = ["Deployment", "diagnose", "layers_of"]

_MOST_LAYERS: Final = 100
_NEXT: Final = ("app", "wsgi_app", "application", "asgi_handler", "_app")
"""Where middlewares keep what they wrap."""
_OTHERS: Final = {
    "starlette.middleware.sessions.SessionMiddleware": "Starlette's own SessionMiddleware",
    "starsessions.middleware.SessionMiddleware": "starsessions' SessionMiddleware",
}
"""Middlewares that put a session of theirs in the same place."""
_NEED_SESSIONS: Final = {
    "starlette.middleware.authentication.AuthenticationMiddleware",
    "sqladmin.authentication.AuthenticationBackend",
}


class Deployment:
    """How the application is to be served.

    Args:
        host: the host that browsers ask for; None if that is not known.
        proxy: whether TLS ends at a proxy before the application; None if that is not known.
        workers: how many processes serve it; None if that is not known.
    """

    def __init__(self, *, host: str | None = None, proxy: bool | None = None, workers: int | None = None) -> None:
        self.host: str | None = host
        self.proxy: bool | None = proxy
        self.workers: int | None = workers


def layers_of(app: object) -> list[Any]:
    """The application with what wraps it, the outermost first."""
    layers: list[Any] = []
    layer: Any = app
    while layer is not None and not any(layer is one for one in layers) and len(layers) < _MOST_LAYERS:
        layers.append(layer)
        build = getattr(type(layer), "build_middleware_stack", None)
        if build is not None:  # Starlette's, and what derives from it: made at the first request otherwise
            if layer.middleware_stack is None:
                layer.middleware_stack = build(layer)
            layer = layer.middleware_stack
        else:
            layer = next((vars(layer)[name] for name in _NEXT if name in getattr(layer, "__dict__", {})), None)
    return layers


def diagnose(app: object, layers: Sequence[Any], middlewares: Sequence[Middleware], how: Deployment) -> list[Finding]:
    """What is to be said of an application, the worst first."""
    found = [*_of_order(layers), *_of_debug(app)]
    if not middlewares:
        found.append(
            Finding(
                "error",
                "no session middleware of Sojourn's was found in the application",
                "see the page of your framework",
            )
        )
    for middleware in middlewares:
        found += _of_store(middleware, how)
        found += _of_cookie(middleware.options, how)
        found += _of_secrets(middleware.options)
        found += _of_rest(middleware.options)
    distinct = list({(finding.level, finding.problem): finding for finding in found}.values())
    return sorted(distinct, key=lambda finding: ("error", "warning", "note").index(finding.level))


def _of_order(layers: Sequence[Any]) -> Iterator[Finding]:
    names = [f"{type(layer).__module__}.{type(layer).__qualname__}" for layer in layers]
    ours = [number for number, layer in enumerate(layers) if isinstance(layer, Middleware)]
    if len(ours) > 1:
        yield Finding(
            "warning",
            "one session middleware is within another",
            "keep one, or give them different names and the inner one paths of its own",
        )
    for number, name in enumerate(names):
        if name in _OTHERS:
            yield Finding(
                "error",
                f"{_OTHERS[name]} is there as well, and both write the request's session",
                "remove it: keep one",
            )
        if name in _NEED_SESSIONS and ours and number < ours[0]:
            yield Finding(
                "error",
                f"{name.rpartition('.')[2]} is outside of the session middleware, and sees no session",
                "add it before the session middleware, if add_middleware() is what adds it: what is added last is outermost",
            )


def _of_debug(app: object) -> Iterator[Finding]:
    if getattr(app, "debug", False) is True:
        yield Finding(
            "error",
            "the application is in debug mode: its error pages show code and data to whoever asks",
            "switch it off",
        )


def _of_store(middleware: Middleware, how: Deployment) -> Iterator[Finding]:
    name = type(middleware.store).__name__
    if name.endswith("MemoryStore"):
        many = how.workers is not None and how.workers > 1
        problem = "sessions are in the memory of each process, and forgotten at every restart"
        if many:
            problem = (
                f"each of the {how.workers} workers has sessions of its own: visitors are logged out and in by turns"
            )
        remedy = "give a store that all share: sqlite:///..., redis://..., postgresql://... or mongodb://..."
        yield Finding("warning" if how.workers == 1 else "error", problem, remedy)
    elif name.endswith("SQLiteStore"):
        yield Finding(
            "note",
            "sessions are in a file of this machine",
            "if the site is on several machines, take a store with a server",
        )
    if middleware.options.on_store_error == "anonymous":
        yield Finding(
            "note",
            "while the store is down, everybody is anonymous",
            'on_store_error="fail" sends a 503, which is no logout',
        )


def _of_cookie(options: Options, how: Deployment) -> Iterator[Finding]:
    cookie, native = options.cookie, options.profile is NATIVE
    if not isinstance(cookie, Cookie):
        yield Finding(
            "note", "the cookie is a function of the request, which nobody but a request can judge", "test it"
        )
        return
    if cookie.secure is False:
        yield Finding(
            "error" if native else "warning",
            "the cookie is not Secure: any http request sends the session's id in the clear",
            'cookie=Cookie(secure="auto"), or True',
        )
    if options.trust_proxy is None and cookie.secure is not False:
        if how.proxy:
            problem = 'over the proxy every request looks like http to the application, and with secure="auto" no cookie is Secure'
            if cookie.secure is True:
                problem = (
                    "over the proxy every request looks like http to the application, and no cookie is sent at all"
                )
            remedy = "trust_proxy=True, or have the server believe the proxy's headers (uvicorn: --forwarded-allow-ips)"
            yield Finding("error", f"{problem}, unless the server itself believes the proxy", remedy)
        elif how.proxy is None:
            yield Finding(
                "note",
                "the scheme is the server's: where TLS ends at a proxy, that may be http",
                "trust_proxy=True behind a proxy that sets X-Forwarded-Proto; say --proxy or --no-proxy here",
            )
    if options.trust_proxy is True and how.proxy is False:
        yield Finding(
            "error",
            "trust_proxy is on, and there is no proxy: anybody may say that a request came over https",
            "leave it out",
        )
    if cookie.domain is not None and how.host is not None and not domain_fits(cookie.domain, how.host):
        yield Finding(
            "error",
            f"browsers drop the cookie: its domain {cookie.domain!r} is not that of {how.host!r}",
            "leave domain out",
        )
    if not cookie.httponly:
        yield Finding("warning", "the cookie is not HttpOnly: any script on a page reads the id", "leave httponly out")


def _of_secrets(options: Options) -> Iterator[Finding]:
    for number, secret in enumerate(options.secrets, 1):
        reason = weakness(secret.decode("utf-8", "backslashreplace"))
        if reason is not None:
            which = "the secret" if len(options.secrets) == 1 else f"secret {number} of {len(options.secrets)}"
            yield Finding("error", f"{which} is weak: {reason}", "`sojourn secret` prints a good one")


def _of_rest(options: Options) -> Iterator[Finding]:
    if not options.hash_ids and options.profile is NATIVE:
        yield Finding(
            "warning",
            "hash_ids is off: whoever reads the store may take over every session in it",
            "leave hash_ids out",
        )
    if options.absolute_timeout is None and options.profile is NATIVE:
        yield Finding(
            "note", "a session that is used never ends: absolute_timeout is None", "give one, as OWASP advises"
        )
