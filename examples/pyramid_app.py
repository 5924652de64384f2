"""Sessions in Pyramid. Run it:  python pyramid_app.py  (or any WSGI server: gunicorn pyramid_app:app)"""

import os
from typing import Any
from wsgiref.simple_server import make_server

from pyramid.config import Configurator
from pyramid.httpexceptions import HTTPForbidden, HTTPSeeOther
from pyramid.security import forget, remember
from pyramid.view import view_config

from sojourn.pyramid import LoginHelper


class SecurityPolicy:
    """Who is logged in: the session's owner. A login changes the session's id, a logout ends the session."""

    def __init__(self) -> None:
        self.helper = LoginHelper()

    def identity(self, request: Any) -> str | None:
        return self.authenticated_userid(request)

    def authenticated_userid(self, request: Any) -> str | None:
        return self.helper.authenticated_userid(request)

    def permits(self, request: Any, context: Any, permission: str) -> bool:
        return self.identity(request) is not None

    def remember(self, request: Any, userid: str, **kw: Any) -> list[tuple[str, str]]:
        return self.helper.remember(request, userid, **kw)

    def forget(self, request: Any, **kw: Any) -> list[tuple[str, str]]:
        return self.helper.forget(request, **kw)


@view_config(route_name="set", renderer="json")
def set_value(request: Any) -> dict[str, Any]:
    request.session[request.params["key"]] = request.params["value"]
    return {"set": request.params["key"]}


@view_config(route_name="get", renderer="json")
def get_value(request: Any) -> dict[str, Any]:
    key = request.params["key"]
    return {key: request.session.get(key)}


@view_config(route_name="counter", renderer="json")
def counter(request: Any) -> dict[str, Any]:
    # increment() instead of += 1: two requests at once both count
    return {"visits": request.session.increment("visits")}


@view_config(route_name="login")
def login(request: Any) -> HTTPSeeOther:
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    headers = remember(request, request.params["name"])
    return HTTPSeeOther(request.route_path("dashboard"), headers=headers)


@view_config(route_name="dashboard", renderer="string", permission="view")
def dashboard(request: Any) -> str:
    return f"Hello, {request.authenticated_userid}."


@view_config(context=HTTPForbidden, renderer="string")
def log_in_first(request: Any) -> str:
    request.response.status_code = 401
    return "Please log in."


@view_config(route_name="logout", renderer="json")
def logout(request: Any) -> dict[str, Any]:
    forget(request)
    request.session.flash("Goodbye.")
    return {"logged_out": True}


@view_config(route_name="messages", renderer="json")
def messages(request: Any) -> dict[str, Any]:
    return {"messages": request.session.pop_flash()}


@view_config(route_name="destroy", renderer="json")
def destroy(request: Any) -> dict[str, Any]:
    request.session.invalidate()
    return {"destroyed": True}


def main(_global_config: Any = None, **settings: Any) -> Any:
    """What `pserve` calls with the settings of an .ini file."""
    settings.setdefault("sojourn.secret", os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"))
    settings.setdefault("sojourn.store", os.environ.get("SESSION_STORE", "sqlite:///sessions.db"))
    with Configurator(settings=settings) as config:
        config.include("sojourn.pyramid")
        config.set_security_policy(SecurityPolicy())
        for name in ("set", "get", "counter", "login", "dashboard", "logout", "messages", "destroy"):
            config.add_route(name, f"/{name}")
        config.scan(__name__)
        return config.make_wsgi_app()


app = main()

if __name__ == "__main__":
    with make_server("127.0.0.1", int(os.environ.get("PORT", "8000")), app) as server:
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
