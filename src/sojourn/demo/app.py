"""The shop itself: what an application does with its session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

from ..asgi import SessionMiddleware
from ..core.session import AsyncSession
from ..ids import mask_id
from ..stores import AsyncSQLiteStore

__all__ = ["make_app"]

_TEMPLATES = Jinja2Templates(directory=Path(__file__).parent / "templates")


@dataclass(frozen=True)
class Product:
    """Something to put into the cart."""

    name: str
    price: int
    picture: str


PRODUCTS = {
    "tent": Product("Tent for two", 189, "⛺"),
    "boots": Product("Walking boots", 129, "🥾"),
    "lantern": Product("Lantern", 35, "🏮"),
    "map": Product("Map of the hills", 12, "🗺️"),
}


def make_app(*, secret: str, database: Path) -> FastAPI:
    """The demo as an ASGI application, its sessions in a SQLite file."""
    app = FastAPI(title="Sojourn demo", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(SessionMiddleware, secret=secret, store=AsyncSQLiteStore(database))

    @app.get("/")
    async def front(request: Request) -> HTMLResponse:
        session = _session(request)
        visits = session.increment("visits")
        return _page(request, "front.html", visits=visits)

    @app.post("/login")
    async def login(request: Request, name: Annotated[str, Form(max_length=60)] = "") -> Response:
        session = _session(request)
        if not name.strip():
            session.flash("Please tell us your name.", "error")
            return _to("/")
        # A new id whenever privileges change; the cart that the visitor filled before comes along.
        name = name.strip()
        session.login(name, keep_data=session.owner in (None, name))  # nothing of somebody else's
        session.flash(f"Welcome, {session.owner}. Your session has a new id now.")
        return _to("/dashboard")

    @app.get("/dashboard")
    async def dashboard(request: Request) -> Response:
        session = _session(request)
        if session.owner is None:
            session.flash("The dashboard is for those who are logged in.", "error")
            return _to("/")
        return _page(request, "dashboard.html", sessions=await session.sessions.count())

    @app.post("/logout")
    async def logout(request: Request) -> Response:
        _session(request).logout()
        return _to("/")

    @app.post("/cart/add/{product}")
    async def add(request: Request, product: str) -> Response:
        session = _session(request)
        if product in PRODUCTS:
            cart = session.setdefault("cart", {})
            cart[product] = cart.get(product, 0) + 1  # a change within is seen, too
            session.flash(f"{PRODUCTS[product].name} is in your cart.")
        return _to("/")

    @app.post("/cart/remove/{product}")
    async def remove(request: Request, product: str) -> Response:
        session = _session(request)
        if session.get("cart", {}).pop(product, None) is not None:
            session.flash(f"{PRODUCTS[product].name} is back on the shelf.")
        return _to("/")

    return app


def _session(request: Request) -> AsyncSession:
    session: Any = request.session
    assert isinstance(session, AsyncSession)
    return session


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
        "total": sum(product.price * count for _key, product, count in cart),
        **values,
    }
    return _TEMPLATES.TemplateResponse(request, template, context)
