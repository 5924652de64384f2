"""Sessions in aiohttp. Run it:  python aiohttp_app.py"""

import os

from aiohttp import web

from sojourn.aiohttp import get_session, new_session, setup

routes = web.RouteTableDef()


@routes.get("/set")
async def set_value(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)  # or request["session"]
    session[request.query["key"]] = request.query["value"]
    return web.json_response({"set": request.query["key"]})


@routes.get("/get")
async def get_value(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    return web.json_response({request.query["key"]: session.get(request.query["key"])})


@routes.get("/counter")
async def counter(request: web.Request) -> web.StreamResponse:
    # increment() instead of += 1: two requests at once both count
    session = await get_session(request)
    return web.json_response({"visits": session.increment("visits")})


@routes.get("/login")
async def login(request: web.Request) -> web.StreamResponse:
    # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
    session, name = await get_session(request), request.query["name"]
    session.login(name, keep_data=True)  # but nothing of somebody else's
    raise web.HTTPSeeOther("/dashboard")  # the session is saved before the redirect leaves


@routes.get("/dashboard")
async def dashboard(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    if session.owner is None:
        return web.Response(text="Please log in.", status=401)
    return web.Response(text=f"Hello, {session.owner}.")


@routes.get("/logout")
async def logout(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    session.logout()
    return web.json_response({"logged_out": True})


@routes.get("/destroy")
async def destroy(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    session.destroy()
    return web.json_response({"destroyed": True})


@routes.get("/begin")
async def begin(request: web.Request) -> web.StreamResponse:
    session = await new_session(request)  # empty, under a new id: the old one has ended
    session["visits"] = 100
    return web.json_response({"began": True})


@routes.get("/stream")
async def stream(request: web.Request) -> web.StreamResponse:
    session = await get_session(request)
    session.increment("visits")
    response = web.StreamResponse()
    await response.prepare(request)  # the session is saved, and its cookie leaves
    await response.write(b"a long text")
    session["streamed"] = True  # saved when the stream ends
    return response


@routes.get("/count")
async def count(request: web.Request) -> web.StreamResponse:
    # What a WebSocket changes is saved when it ends, merged with what others have changed meanwhile; or at once, by save().
    session = await get_session(request)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for _message in socket:
        session.increment("visits")
        await session.save()
        await socket.send_str(str(session["visits"]))
    return socket


async def make_app() -> (
    web.Application
):  # gunicorn calls it, too: gunicorn aiohttp_app:make_app -k aiohttp.GunicornWebWorker
    app = web.Application()
    setup(
        app,
        secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
        store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
    )
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ.get("PORT", "8080")))
