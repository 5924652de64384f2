"""The shop itself: what an application does with its session."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import FastAPI, Form, Request, WebSocket
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from ..asgi import Scope, SessionMiddleware
from ..core.session import AsyncSession
from ..dashboard import ASGIDashboard
from ..ids import mask_id
from ..stores import AsyncSQLiteStore

__all__ = ["make_app"]

_TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")


@dataclass(frozen=True)
class Product:
    """Something to put into the cart."""

    name: str
    price: int


PRODUCTS = {
    "tent": Product("Tent for two", 189),
    "boots": Product("Walking boots", 129),
    "lantern": Product("Lantern", 35),
    "map": Product("Map of the hills", 12),
}
"""Their pictures are in templates/pictures.html."""

_PAUSE: Final = 0.5
"""Seconds for which a request of the page with two windows holds what it has loaded, so that another one meets it."""


_BROWSERS = {
    "Edg": "Edge",
    "OPR/": "Opera",
    "Firefox/": "Firefox",
    "Chrome/": "Chrome",
    "Safari/": "Safari",
}  # the first that is named
_SYSTEMS = {
    "iPhone": "an iPhone",
    "iPad": "an iPad",
    "Android": "Android",
    "Windows": "Windows",
    "Mac OS": "a Mac",
    "Linux": "Linux",
}


def describe(scope: Scope) -> dict[str, str | None]:
    """What the list of devices says of the one that logs in: its browser and system, and neither the whole User-Agent nor an address."""
    agent = dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1")
    browser = next((name for mark, name in _BROWSERS.items() if mark in agent), "A browser")
    system = next((f" on {name}" for mark, name in _SYSTEMS.items() if mark in agent), "")
    return {"label": browser + system}


def operator(scope: Scope) -> str | None:
    """Who may see all sessions: in the demo, whoever is logged in on this very machine."""
    host, _port = scope.get("client") or ("", 0)
    return scope["session"].owner if host in ("127.0.0.1", "::1") else None


def make_app(*, secret: str, database: Path) -> FastAPI:
    """The demo as an ASGI application, its sessions in a SQLite file."""
    app = FastAPI(title="Sojourn demo", docs_url=None, redoc_url=None, openapi_url=None)
    store = AsyncSQLiteStore(database)
    board = ASGIDashboard(operator=operator, secret=secret, store=store, describe=describe)
    app.mount("/operator", board)
    app.add_middleware(
        SessionMiddleware,
        secret=secret,
        store=store,
        describe=describe,
        close_on_end=True,
        on_event=board.on_event,  # what its charts show
    )

    @app.get("/")
    async def front(request: Request) -> HTMLResponse:
        session = _session(request)
        visits = session.increment("visits")
        session.setdefault("first visit", datetime.now(UTC).replace(microsecond=0))  # comes back as a datetime
        return _page(request, "front.html", visits=visits)

    @app.get("/two-windows")
    async def two_windows(request: Request) -> HTMLResponse:
        return _page(request, "two_windows.html")

    @app.post("/two-windows")
    async def change(request: Request, item: Annotated[str, Form(max_length=60)]) -> dict[str, dict[str, Any]]:
        """Change a counter and a list, after a pause in which another request loads the same; returns what was loaded, sent and kept."""
        session = _session(request)
        loaded = _counted(session)
        session.increment("clicks")
        session.setdefault("list", []).append(item)
        sent = _counted(session)
        await asyncio.sleep(_PAUSE)
        await session.save()  # otherwise it would be saved with the response, and there would be nothing to tell
        return {"loaded": loaded, "sent": sent, "kept": _counted(session)}

    @app.post("/two-windows/empty")
    async def empty(request: Request) -> Response:
        session = _session(request)
        session.pop("clicks", None)
        session.pop("list", None)
        return _to("/two-windows")

    @app.post("/login")
    async def login(request: Request, name: Annotated[str, Form(max_length=60)] = "") -> Response:
        session = _session(request)
        if not name.strip():
            session.flash("Please tell us your name.", "error")
            return _to("/")
        # A new id whenever privileges change; the cart that the visitor filled before comes along.
        name = name.strip()
        session.login(name, keep_data=True)  # but nothing of somebody else's
        session.flash(f"Welcome, {session.owner}. Your session has a new id now.")
        return _to("/dashboard")

    @app.get("/dashboard")
    async def dashboard(request: Request) -> Response:
        session = _session(request)
        if session.owner is None:
            session.flash("The dashboard is for those who are logged in.", "error")
            return _to("/")
        return _page(
            request, "dashboard.html", sessions=await session.sessions.count(), devices=await session.devices()
        )

    @app.post("/devices/end")
    async def end_device(request: Request, handle: Annotated[str, Form()] = "") -> Response:
        session = _session(request)
        device = next((one for one in await session.devices() if one.handle == handle), None)
        if device is not None and not device.is_current and await session.end(handle):
            session.flash(f"{device.label} is logged out.")
        return _to("/dashboard")

    @app.post("/devices/end-others")
    async def end_others(request: Request) -> Response:
        session = _session(request)
        ended = await session.end_others()
        session.flash(f"{ended} other device{' is' if ended == 1 else 's are'} logged out.")
        return _to("/dashboard")

    @app.post("/logout")
    async def logout(request: Request) -> Response:
        _session(request).logout()
        return _to("/")

    @app.websocket("/live")
    async def live(socket: WebSocket) -> None:
        """A socket that every page of somebody who is logged in keeps open: it is closed when the session ends, and the page says so."""
        await socket.accept()
        if _session(socket).owner is None:  # it ended while the page was not connected
            await socket.close(1008)  # pragma: no cover - a page that connects again after an outage, say
        async for _ in socket.iter_text():
            pass  # pragma: no cover - the page sends nothing

    @app.post("/cart/add/{product}")
    async def add(request: Request, product: str) -> Response:
        session = _session(request)
        if product in PRODUCTS:
            cart = session.setdefault("cart", {})
            cart[product] = cart.get(product, 0) + 1  # a change within is seen, too
            session.setdefault("looked at", set()).add(product)
            session["total"] = sum(
                (Decimal(PRODUCTS[key].price) * count for key, count in cart.items()), Decimal("0.00")
            )
            session.flash(f"{PRODUCTS[product].name} is in your cart.")
        return _to("/")

    @app.post("/cart/remove/{product}")
    async def remove(request: Request, product: str) -> Response:
        session = _session(request)
        if session.get("cart", {}).pop(product, None) is not None:
            session.flash(f"{PRODUCTS[product].name} is back on the shelf.")
        return _to("/")

    return app


def _session(request: Request | WebSocket) -> AsyncSession:
    session: Any = request.session
    assert isinstance(session, AsyncSession)
    return session


def _counted(session: AsyncSession) -> dict[str, Any]:
    """What the page with two windows changes, as it is now."""
    return {"clicks": session.get("clicks", 0), "list": list(session.get("list", ()))}


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, status_code=303)


def _page(request: Request, template: str, **values: Any) -> HTMLResponse:
    session = _session(request)
    cart = [(key, PRODUCTS[key], count) for key, count in session.get("cart", {}).items() if key in PRODUCTS]
    context = {
        "session": session,
        "flashes": session.flashes(),
        "masked": mask_id(session.id),
        "products": PRODUCTS,
        "cart": cart,
        "values": [(key, type(value).__name__, value) for key, value in session.items()],
        "total": sum(product.price * count for _key, product, count in cart),
        **values,
    }
    return _TEMPLATES.TemplateResponse(request, template, context)
