"""`Sojourn`: the extension."""

from __future__ import annotations

from typing import ClassVar, Unpack

from flask import Flask

from ..errors import ConfigurationError
from ..options import Options, OptionsDict
from . import logins
from .config import warn_of_names
from .door import Streams
from .interface import SessionInterface

__all__ = ["Sojourn"]

_NAME = "sojourn"
_PLACEHOLDER = "a secret in the place of one that is not known yet"


class Sojourn:
    """Keeps ``flask.session`` in a store.

    Example::

        sessions = Sojourn(store="redis://localhost")

        def create_app():
            app = Flask(__name__)
            app.config.from_prefixed_env()
            sessions.init_app(app)
            return app

    The secret is ``app.secret_key``, with ``SECRET_KEY_FALLBACKS``; cookie and lifetimes are what ``app.config`` says, unless an option
    does. Several applications may be given to one.

    Args:
        app: the application; or give it to `init_app` later.
        confirm_view: the endpoint of the page that asks for the password again; see `fresh_required`.
        options: see `sojourn.options.Options`.

    Raises:
        ConfigurationError: an option is wrong; it names the option, what was given, and what would be right.
    """

    interface_class: ClassVar[type[SessionInterface]] = SessionInterface
    """What is made the applications' session interface."""

    def __init__(
        self, app: Flask | None = None, *, confirm_view: str | None = None, **options: Unpack[OptionsDict]
    ) -> None:
        Options.of({**options, "secret": _PLACEHOLDER})
        self._options = options
        self._confirm_view = confirm_view
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Give an application its sessions, as its configuration says.

        Raises:
            ConfigurationError: something of it is wrong, or it has sessions of Sojourn's already.
        """
        interface = self.make_interface(app)
        app.wsgi_app = Streams(app.wsgi_app)  # type: ignore[method-assign]  # as Flask documents it
        app.before_request(interface.load)
        logins.connect(app)

    def make_interface(self, app: Flask) -> SessionInterface:
        """The application's session interface."""
        if _NAME in app.extensions:
            raise ConfigurationError(
                "app", "an application that has its sessions from Sojourn already", "call this once"
            )
        warn_of_names(app, self._options)
        interface = self.interface_class(self._options)
        interface.confirm_view = self._confirm_view
        if type(interface) is SessionInterface:  # another's may ask the request
            interface.door(app)
        app.extensions[_NAME] = app.session_interface = interface
        return interface
