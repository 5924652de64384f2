"""Sessions in Starlette. Run it:  uvicorn starlette_app:app"""

import os

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

# request.session would do as well; this way the editor knows its methods
from sojourn.starlette import SessionMiddleware, session_of


async def set_value(request: Request) -> Response:
    key = request.query_params["key"]
    session_of(request)[key] = request.query_params["value"]
    return JSONResponse({"set": key})


async def get_value(request: Request) -> Response:
    key = request.query_params["key"]
    return JSONResponse({key: session_of(request).get(key)})


async def counter(request: Request) -> Response:
    # increment() instead of += 1: two requests at once both count
    return JSONResponse({"visits": session_of(request).increment("visits")})


async def login(request: Request) -> Response:
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    session, name = session_of(request), request.query_params["name"]
    session.login(name, keep_data=True)  # but nothing of somebody else's
    return RedirectResponse("/dashboard", status_code=303)


async def dashboard(request: Request) -> Response:
    owner = session_of(request).owner
    if owner is None:
        return PlainTextResponse("Please log in.", status_code=401)
    return PlainTextResponse(f"Hello, {owner}.")


async def logout(request: Request) -> Response:
    session_of(request).logout()
    return JSONResponse({"logged_out": True})


async def destroy(request: Request) -> Response:
    session_of(request).destroy()
    return JSONResponse({"destroyed": True})


app = Starlette(
    routes=[
        Route("/set", set_value),
        Route("/get", get_value),
        Route("/counter", counter),
        Route("/login", login),
        Route("/dashboard", dashboard),
        Route("/logout", logout),
        Route("/destroy", destroy),
    ],
    middleware=[
        Middleware(
            SessionMiddleware,
            secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
            store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
        )
    ],
)
