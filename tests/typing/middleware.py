"""How type checkers see the middleware's keywords: these lines are checked, never run.

``# type: ignore[...]`` marks what must be refused: mypy complains of one that it did not need.
"""

from __future__ import annotations

from datetime import timedelta

from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware

from sojourn import Cookie, JSONCodec, express
from sojourn.asgi import SessionMiddleware as ASGISessions
from sojourn.fastapi import SessionMiddleware as FastAPISessions
from sojourn.options import OptionsDict
from sojourn.starlette import SessionMiddleware as StarletteSessions
from sojourn.stores import AsyncMemoryStore, MemoryStore
from sojourn.wsgi import SessionMiddleware as WSGISessions
from tests.typing.apps import asgi_app, wsgi_app

# What is meant to be written.
ASGISessions(asgi_app, secret="s")
WSGISessions(wsgi_app, secret=b"s")
ASGISessions(asgi_app, secret=["new", b"old"], store=AsyncMemoryStore(), idle_timeout=60, absolute_timeout=None)
WSGISessions(wsgi_app, secret=("new",), store="sqlite:///s.db", idle_timeout=timedelta(days=1), touch_after=0.5)
WSGISessions(wsgi_app, secret="s", store=MemoryStore(), cookie=Cookie(samesite="strict", secure=True, max_age=60))
ASGISessions(asgi_app, secret="s", cookie=lambda request: Cookie(path=request["root_path"]), unset="keep", lazy=True)
ASGISessions(asgi_app, secret="s", trust_proxy=None, exclude=["/static"], on_store_error="anonymous", rolling=True)
ASGISessions(asgi_app, secret="s", codec=JSONCodec(), exclusive=lambda request: request["path"] == "/pay")
WSGISessions(wsgi_app, **express(secret="s", store=MemoryStore(), unset="destroy"))

options: OptionsDict = {"secret": "s", "rolling": True}
ASGISessions(asgi_app, **options)

# Through the frameworks.
FastAPI().add_middleware(FastAPISessions, secret="s", store="memory://")
FastAPI().add_middleware(FastAPISessions, **express(secret="s", store=AsyncMemoryStore()))
Starlette().add_middleware(StarletteSessions, secret=["new", "old"], cookie=Cookie(max_age=60), lazy=True)
Starlette(middleware=[Middleware(StarletteSessions, secret="s", idle_timeout=60)])
StarletteSessions(Starlette(), **options)

# What must not pass.
FastAPI().add_middleware(FastAPISessions, secret=5)  # type: ignore[arg-type]
Starlette().add_middleware(StarletteSessions, secrett="s")  # type: ignore[call-arg]
ASGISessions(asgi_app, secret=5)  # type: ignore[arg-type]
ASGISessions(asgi_app, secret="s", rollling=True)  # type: ignore[call-arg]
ASGISessions(asgi_app, secret="s", rolling="yes")  # type: ignore[arg-type]
ASGISessions(asgi_app, secret="s", unset="destory")  # type: ignore[arg-type]
ASGISessions(asgi_app, secret="s", on_store_error="ignore")  # type: ignore[arg-type]
ASGISessions(asgi_app, secret="s", idle_timeout="1 day")  # type: ignore[arg-type]
ASGISessions(asgi_app, secret="s", trust_proxy="yes")  # type: ignore[arg-type]
ASGISessions(asgi_app, secret="s", cookie={"path": "/"})  # type: ignore[arg-type]
ASGISessions(asgi_app, secret="s", generate_id=lambda: "id")  # type: ignore[arg-type, misc]
ASGISessions(wsgi_app, secret="s")  # type: ignore[arg-type]
WSGISessions(asgi_app, secret="s")  # type: ignore[arg-type]
WSGISessions(wsgi_app, secret="s", exclude="/static", lazy=1)  # type: ignore[arg-type]
express(secret="s", maxAge=60)  # type: ignore[call-arg]
Cookie(samesite="Lax")  # type: ignore[arg-type]
Cookie(priority="urgent")  # type: ignore[arg-type]
Cookie("/")  # type: ignore[call-arg]
