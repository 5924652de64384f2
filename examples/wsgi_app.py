"""Sessions in plain WSGI. Run it:  python wsgi_app.py  (or any WSGI server: gunicorn wsgi_app:app)"""

import json
import os
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.simple_server import make_server

from sojourn import Session
from sojourn.wsgi import SessionMiddleware

Answer = tuple[str, Any]


def set_value(session: Session, query: dict[str, str]) -> Answer:
    session[query["key"]] = query["value"]
    return "200 OK", {"set": query["key"]}


def get_value(session: Session, query: dict[str, str]) -> Answer:
    return "200 OK", {query["key"]: session.get(query["key"])}


def counter(session: Session, _query: dict[str, str]) -> Answer:
    # increment() instead of += 1: two requests at once both count
    return "200 OK", {"visits": session.increment("visits")}


def login(session: Session, query: dict[str, str]) -> Answer:
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    name = query["name"]
    session.login(name, keep_data=True)  # but nothing of somebody else's
    return "303 See Other", None


def dashboard(session: Session, _query: dict[str, str]) -> Answer:
    if session.owner is None:
        return "401 Unauthorized", "Please log in."
    return "200 OK", f"Hello, {session.owner}."


def logout(session: Session, _query: dict[str, str]) -> Answer:
    session.logout()
    return "200 OK", {"logged_out": True}


def destroy(session: Session, _query: dict[str, str]) -> Answer:
    session.destroy()
    return "200 OK", {"destroyed": True}


def not_found(_session: Session, _query: dict[str, str]) -> Answer:
    return "404 Not Found", "There is nothing here."


ROUTES: dict[str, Callable[[Session, dict[str, str]], Answer]] = {
    "/set": set_value,
    "/get": get_value,
    "/counter": counter,
    "/login": login,
    "/dashboard": dashboard,
    "/logout": logout,
    "/destroy": destroy,
}


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    handler = ROUTES.get(environ["PATH_INFO"], not_found)
    status, answer = handler(environ["sojourn.session"], dict(parse_qsl(environ["QUERY_STRING"])))
    text = answer if isinstance(answer, str) else json.dumps(answer)
    kind = "text/plain" if isinstance(answer, str) else "application/json"
    headers = [("Content-Type", f"{kind}; charset=utf-8")]
    if status.startswith("303"):
        headers.append(("Location", "/dashboard"))
    start_response(status, headers)
    return [text.encode()]


app = SessionMiddleware(
    application,
    secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
    store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
)

if __name__ == "__main__":
    with make_server("127.0.0.1", 8000, app) as server:
        print("http://127.0.0.1:8000/counter")
        server.serve_forever()
