"""Libraries that keep their things in ``request.session`` keep them in ours (docs/frameworks/starlette-contract.md)."""

import warnings
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sojourn.starlette import SessionMiddleware, session_of
from sojourn.testing import read_session, write_session
from tests.doors.starlette_clients import SECRET, Store, client_of


@pytest.fixture
def store() -> Store:
    return Store()


def oauth_app(store: Store) -> Starlette:
    with warnings.catch_warnings(record=True):  # it prefers another client, too
        from authlib.integrations.starlette_client import OAuth  # type: ignore[import-untyped, unused-ignore]

    def issue(request: httpx.Request) -> httpx.Response:
        code = parse_qs(request.content.decode())["code"][0]
        return httpx.Response(200, json={"access_token": f"token for {code}", "token_type": "Bearer"})

    oauth = OAuth()
    oauth.register(
        "shop",
        client_id="id",
        client_secret="secret",
        authorize_url="https://auth.test/authorize",
        access_token_url="https://auth.test/token",
        client_kwargs={"transport": httpx.MockTransport(issue), "code_challenge_method": "S256"},
    )

    both = anyio.Event()
    waiting: list[Request] = []

    async def login(request: Request) -> Response:
        waiting.append(request)
        if len(waiting) == 2:
            both.set()
        await both.wait()
        redirect: Response = await oauth.shop.authorize_redirect(request, "http://testserver/callback")
        return redirect

    async def callback(request: Request) -> Response:
        token = await oauth.shop.authorize_access_token(request)
        session_of(request).login("ann", keep_data=True)
        return JSONResponse(token["access_token"])

    return Starlette(
        routes=[Route("/login", login), Route("/callback", callback)],
        middleware=[Middleware(SessionMiddleware, secret=SECRET, store=store)],
    )


# starlette contract 30
@pytest.mark.anyio
async def test_authlib_keeps_the_state_of_parallel_logins_and_takes_each_once(store: Store) -> None:
    transport = httpx.ASGITransport(oauth_app(store), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        states: list[str] = []

        async def begin() -> None:
            answer = await client.get("/login")
            states.extend(parse_qs(urlsplit(answer.headers["location"]).query)["state"])

        async def end(state: str) -> httpx.Response:
            return await client.get("/callback", params={"code": "1", "state": state})

        await write_session(client, {"n": 1})
        async with anyio.create_task_group() as group:
            group.start_soon(begin)
            group.start_soon(begin)
        assert sorted(await read_session(client)) == sorted(["n", *(f"_state_shop_{state}" for state in states)])
        assert [(await end(state)).json() for state in states] == ["token for 1", "token for 1"]
        assert await read_session(client) == {"n": 1}
        assert (await end(states[0])).status_code == 500  # it was used


# starlette contract 33
def test_sqladmins_login_is_kept_in_the_session(store: Store) -> None:
    from sqladmin import Admin, ModelView
    from sqladmin.authentication import AuthenticationBackend
    from sqlalchemy import StaticPool, create_engine
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class UserAdmin(ModelView, model=User):
        column_list = [User.id, User.name]  # noqa: RUF012

    class Backend(AuthenticationBackend):
        def __init__(self) -> None:
            super().__init__(secret_key="")
            self.middlewares = []  # in place of Starlette's own sessions, which it would add

        async def login(self, request: Request) -> bool:
            form = await request.form()
            session_of(request).login(str(form["username"]))
            request.session["token"] = "a token"
            return True

        async def logout(self, request: Request) -> bool:
            request.session.clear()
            return True

        async def authenticate(self, request: Request) -> bool:
            return "token" in request.session

    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    app = Starlette(middleware=[Middleware(SessionMiddleware, secret=SECRET, store=store)])
    Admin(app, engine, authentication_backend=Backend()).add_view(UserAdmin)
    client: Any = client_of(app)
    try:
        assert client.get("/admin/user/list").status_code == 302
        assert client.post("/admin/login", data={"username": "ann", "password": "x"}).status_code == 302
        assert client.get("/admin/user/list").status_code == 200 and read_session(client) == {"token": "a token"}
        client.get("/admin/logout")
        assert client.get("/admin/user/list").status_code == 302 and not client.cookies
    finally:
        engine.dispose()
