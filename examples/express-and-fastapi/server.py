"""The Python side: the cart, and the profile. `python run.py` starts both sides."""

import json
import os
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates
from starlette.middleware.base import RequestResponseEndpoint

from sojourn import AsyncSession, Cookie, express
from sojourn.asgi import SessionMiddleware

HERE = Path(__file__).parent
PRODUCTS = json.loads((HERE / "products.json").read_text(encoding="utf-8"))
EXPRESS_URL = os.environ.get("EXPRESS_URL", "")  # empty where a proxy puts both sides under one address

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    **express(
        secret=os.environ["SESSION_SECRET"],
        store=os.environ["REDIS_URL"],
        cookie=Cookie(secure="auto", samesite="lax"),
        trust_proxy=True if os.environ.get("BEHIND_PROXY") else None,
        exclude=("/style.css",),
    ),
)
templates = Jinja2Templates(HERE / "templates")


@app.middleware("http")
async def refuse_forms_of_other_sites(request: Request, call_next: RequestResponseEndpoint) -> Response:
    # as on the other side, which says why
    if request.method == "POST" and request.headers.get("sec-fetch-site") == "cross-site":
        return PlainTextResponse("This form came from another site.", status_code=403)
    return await call_next(request)


def session_of(request: Request) -> AsyncSession:
    session: AsyncSession = request.scope["session"]
    return session


# Both sides agree on what is in a session: `user` is a name, `cart` counts products.
CurrentSession = Annotated[AsyncSession, Depends(session_of)]


def page(request: Request, template: str, **values: Any) -> Response:
    session = session_of(request)
    values |= {"session": session, "flashes": session.flashes(), "express": EXPRESS_URL}
    return templates.TemplateResponse(request, template, values)


def back_to_cart() -> Response:
    return RedirectResponse("/cart", status_code=303)


@app.get("/style.css")
async def style() -> FileResponse:
    return FileResponse(HERE / "style.css")


@app.get("/cart")
async def cart(request: Request, session: CurrentSession) -> Response:
    lines = [(key, PRODUCTS[key], count) for key, count in session.get("cart", {}).items() if key in PRODUCTS]
    total = sum(product["price"] * count for _, product, count in lines)
    return page(request, "cart.html", lines=lines, total=total)


@app.post("/cart/add/{key}")
async def add(session: CurrentSession, key: str) -> Response:
    if key not in PRODUCTS:
        raise HTTPException(404)
    counts = session.setdefault("cart", {})
    counts[key] = counts.get(key, 0) + 1  # a change within is seen, too
    session.flash(f"{PRODUCTS[key]['name']}: in your cart.")
    return back_to_cart()


@app.post("/cart/remove/{key}")
async def remove(session: CurrentSession, key: str) -> Response:
    session.get("cart", {}).pop(key, None)
    return back_to_cart()


@app.get("/profile")
async def profile(request: Request, session: CurrentSession) -> Response:
    if "user" not in session:
        return RedirectResponse(f"{EXPRESS_URL}/", status_code=303)
    return page(request, "profile.html")


@app.post("/logout")
async def logout(session: CurrentSession) -> Response:
    session.logout()
    return RedirectResponse(f"{EXPRESS_URL}/", status_code=303)
