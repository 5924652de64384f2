"""A part of the session as a model, under FastAPI (docs/frameworks/starlette-contract.md)."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, TypedDict
from uuid import UUID

import anyio
import msgspec
import pytest
import typing_extensions
from fastapi import Depends, FastAPI, HTTPException, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, computed_field

from sojourn import ConfigurationError, SessionDecodeError, SessionEncodeError, express
from sojourn.fastapi import SessionData, SessionDep, SessionMiddleware, session_model
from sojourn.testing import log_in, read_session, write_session
from tests.doors.starlette_clients import SECRET, Store, TestClient, client_of


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sojourn.logs._said", set())
    return Store()


class Cart(BaseModel):
    items: dict[str, int] = {}
    coupon: str | None = None


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", validate_assignment=False)

    items: dict[str, int] = {}
    coupon: str | None = None
    since: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    day: date = date(2026, 1, 1)
    price: Decimal = Decimal("1.50")
    ids: set[UUID] = Field(default_factory=set)
    page: HttpUrl = HttpUrl("https://shop.test/")
    renamed: int = Field(default=1, alias="other-name")

    @computed_field
    def count(self) -> int:
        return sum(self.items.values())


@dataclasses.dataclass
class DataCart:
    items: dict[str, int] = dataclasses.field(default_factory=dict)
    coupon: str | None = None


class StructCart(msgspec.Struct):
    items: dict[str, int] = {}
    coupon: str | None = None
    by_number: dict[int, date] = {}


class DictCart(TypedDict, total=False):
    items: dict[str, int]
    coupon: str | None


class OtherDictCart(typing_extensions.TypedDict, total=False):
    items: dict[str, int]
    coupon: str | None


KINDS = [Cart, Strict, DataCart, StructCart, DictCart, OtherDictCart]


def items_of(cart: Any) -> dict[str, int]:
    items: dict[str, int] = cart.setdefault("items", {}) if isinstance(cart, dict) else cart.items
    return items


CART = Annotated[Cart, SessionData("cart")]


def app_of(store: Any, parameter: Any = CART, **options: Any) -> FastAPI:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store, **options)

    @app.get("/add")
    async def add(cart: parameter, sku: str) -> Any:
        items = items_of(cart)
        items[sku] = items.get(sku, 0) + 1
        return items

    @app.get("/sync")
    def sync(cart: parameter, sku: str) -> Any:
        items = items_of(cart)
        items[sku] = items.get(sku, 0) + 1
        return items

    @app.get("/look")
    async def look(cart: parameter) -> Any:
        return cart.get("items", {}) if isinstance(cart, dict) else cart.items

    @app.get("/fail")
    async def fail(cart: parameter, session: SessionDep) -> None:
        items_of(cart)["failed"] = 1
        session["seen"] = True
        raise HTTPException(400)

    return app


# starlette contract 23, 24
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("declare", [lambda _kind: SessionData("cart"), lambda kind: session_model(kind, "cart")])
def test_a_part_of_the_session_is_a_model_whose_changes_are_saved(store: Store, kind: Any, declare: Any) -> None:
    client = client_of(app_of(store, Annotated[kind, declare(kind)]))
    assert client.get("/look").json() == {} and store.writes == [] and not client.cookies
    assert client.get("/add", params={"sku": "pear"}).json() == {"pear": 1} and client.cookies
    assert client.get("/sync", params={"sku": "pear"}).json() == {"pear": 2}
    assert client.get("/look").json() == {"pear": 2} and store.writes == ["create", "replace"]
    assert read_session(client)["cart"]["items"] == {"pear": 2}


# starlette contract 23
def test_a_model_adds_nothing_to_the_openapi_document(store: Store) -> None:
    document = app_of(store).openapi()
    assert "parameters" not in document["paths"]["/look"]["get"]
    assert "requestBody" not in document["paths"]["/look"]["get"]


# starlette contract 23
def test_what_a_handler_that_raises_changed_in_a_model_is_not_saved(store: Store) -> None:
    client = client_of(app_of(store))
    client.get("/add", params={"sku": "pear"})
    assert client.get("/fail").status_code == 400
    assert read_session(client) == {"cart": {"items": {"pear": 1}}, "seen": True}


# starlette contract 23
def test_a_model_of_a_lazy_session_is_loaded(store: Store) -> None:
    client = client_of(app_of(store, lazy=True))
    assert [client.get("/add", params={"sku": "a"}).json() for _ in range(2)] == [{"a": 1}, {"a": 2}]


# starlette contract 23
def test_a_model_is_saved_in_the_express_profile(store: Store) -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, **express(secret=SECRET, store=store))

    @app.get("/")
    async def route(cart: Annotated[Strict, SessionData("cart")]) -> Any:
        before = cart.since.year, sorted(cart.ids)
        cart.since = cart.since.replace(year=cart.since.year + 1)
        cart.ids.add(UUID(int=5))
        return before

    client = client_of(app)
    assert client.get("/").json() == [2026, []] and client.get("/").json() == [2027, [str(UUID(int=5))]]
    assert read_session(client)["cart"] == {"since": "2028-01-01T00:00:00Z", "ids": [str(UUID(int=5))]}


# starlette contract 24
def test_the_key_is_the_class_name_unless_it_is_given(store: Store) -> None:
    client = client_of(app_of(store, Annotated[Cart, SessionData()]))
    client.get("/add", params={"sku": "a"})
    assert read_session(client) == {"Cart": {"items": {"a": 1}}}


# starlette contract 24
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", [{"items": {"a": "secret-value"}}, {"items": 5}, "text", [1], 5])
def test_a_stored_value_that_no_longer_fits_begins_anew(
    store: Store, kind: Any, stored: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(app_of(store, Annotated[kind, SessionData("cart")]))
    write_session(client, {"cart": stored, "n": 1})
    assert client.get("/look").json() == {}
    assert f"does not fit its model {kind.__name__}" in caplog.text and "secret-value" not in caplog.text
    assert read_session(client) == {"cart": stored, "n": 1}  # as long as nothing is changed
    assert client.get("/add", params={"sku": "a"}).json() == {"a": 1}
    assert read_session(client)["cart"]["items"] == {"a": 1}


# starlette contract 24
def test_a_stored_value_that_no_longer_fits_is_an_error_where_that_is_asked_for(store: Store) -> None:
    app = app_of(store, Annotated[Cart, SessionData("cart", strict=True)])
    client = TestClient(app)
    write_session(client, {"cart": {"items": 5}})
    with pytest.raises(SessionDecodeError, match=r"'cart' does not fit Cart \(items: dict_type\)"):
        client.get("/look")
    assert client_of(app, cookies=dict(client.cookies)).get("/look").status_code == 500  # and never a 422


# starlette contract 25
def test_only_the_fields_that_changed_are_written_and_unknown_ones_stay(store: Store) -> None:
    client = client_of(app_of(store))
    write_session(client, {"cart": {"items": {"a": 1}, "from a newer version": [1]}})
    client.get("/add", params={"sku": "b"})
    assert read_session(client) == {"cart": {"items": {"a": 1, "b": 1}, "from a newer version": [1]}}


# starlette contract 25
@pytest.mark.anyio
async def test_parallel_requests_that_change_other_fields_both_count(store: Store) -> None:
    import httpx

    app, both = FastAPI(), anyio.Event()
    app.add_middleware(SessionMiddleware, secret=SECRET, store=store)
    inside = 0

    @app.get("/")
    async def route(cart: Annotated[Cart, SessionData("cart")], sku: str = "", coupon: str = "") -> None:
        nonlocal inside
        inside += 1
        if inside == 2:
            both.set()
        await both.wait()
        if sku:
            cart.items[sku] = 1
        if coupon:
            cart.coupon = coupon

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop.test") as client:
        await write_session(client, {"cart": {"items": {"a": 1}}})
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: client.get("/", params={"sku": "b"}))
            group.start_soon(lambda: client.get("/", params={"coupon": "x"}))
        assert await read_session(client) == {"cart": {"items": {"a": 1, "b": 1}, "coupon": "x"}}


def test_a_request_has_one_model_for_one_value_however_often_it_is_asked_for(store: Store) -> None:
    app = app_of(store)

    async def first(cart: Annotated[Cart, SessionData("cart")]) -> Cart:
        cart.items["first"] = 1
        return cart

    @app.get("/twice")
    async def twice(cart: Annotated[Cart, SessionData("cart")], same: Annotated[Cart, Depends(first)]) -> bool:
        cart.coupon = "x"
        return cart is same

    client = client_of(app)
    assert client.get("/twice").json() is True
    assert read_session(client) == {"cart": {"items": {"first": 1}, "coupon": "x"}}


def test_what_is_changed_in_a_model_after_the_response_has_begun_is_saved_for_a_session_that_exists(
    store: Store,
) -> None:
    app = app_of(store)

    @app.get("/stream")
    async def stream(cart: Annotated[Cart, SessionData("cart")]) -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "0"
            cart.items["late"] = 1

        return StreamingResponse(chunks())

    client = client_of(app)
    write_session(client, {"n": 1})
    client.get("/stream")
    assert read_session(client) == {"n": 1, "cart": {"items": {"late": 1}}}


def test_a_websocket_has_models_too(store: Store) -> None:
    app = app_of(store)

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, cart: CART) -> None:
        await websocket.accept()
        cart.items[await websocket.receive_text()] = 1
        await websocket.close()

    client = client_of(app)
    write_session(client, {"cart": {"items": {"a": 1}}})
    with client.websocket_connect("/ws") as peer:
        peer.send_text("b")
        with pytest.raises(WebSocketDisconnect):
            peer.receive_text()
    assert read_session(client) == {"cart": {"items": {"a": 1, "b": 1}}}


def test_save_writes_a_models_changes(store: Store) -> None:
    app = app_of(store)

    @app.get("/save")
    async def save(cart: Annotated[Cart, SessionData("cart")], session: SessionDep) -> Any:
        cart.items["a"] = 1
        await session.save()
        cart.items["b"] = 1
        return session["cart"]

    client = client_of(app)
    assert client.get("/save").json() == {"items": {"a": 1}}
    assert store.writes == ["create", "replace"] and read_session(client) == {"cart": {"items": {"a": 1, "b": 1}}}


@pytest.mark.parametrize(
    ("end", "left"),
    [
        ("login", {"cart": {"items": {"a": 1, "before": 1, "after": 1}}}),
        ("clear", {"cart": {"items": {"a": 1, "before": 1, "after": 1}}}),
    ],
)
def test_after_a_new_beginning_what_a_model_is_changed_to_is_what_is_stored(
    store: Store, end: str, left: dict[str, Any]
) -> None:
    app = app_of(store)

    @app.get("/{end}")
    async def route(cart: Annotated[Cart, SessionData("cart")], session: SessionDep, *, change: bool) -> None:
        cart.items["before"] = 1
        cart.coupon = "x"
        session.login("ann") if end == "login" else session.clear()
        if change:
            cart.items["after"] = 1

    client = client_of(app)
    write_session(client, {"cart": {"items": {"a": 1}}})
    client.get(f"/{end}", params={"change": False})
    assert read_session(client) == {}
    write_session(client, {"cart": {"items": {"a": 1}}})
    client.get(f"/{end}", params={"change": True})
    assert read_session(client) == left


def test_a_reload_discards_what_was_changed_in_a_model(store: Store) -> None:
    app = app_of(store)

    @app.get("/reload")
    async def reload(cart: Annotated[Cart, SessionData("cart")], session: SessionDep) -> None:
        cart.items["lost"] = 1
        await session.reload()
        cart.coupon = "kept"

    client = client_of(app)
    write_session(client, {"cart": {"items": {"a": 1}}})
    client.get("/reload")
    assert read_session(client) == {"cart": {"items": {"a": 1}, "coupon": "kept"}}


def test_a_logout_ends_the_session_whatever_a_model_holds(store: Store) -> None:
    app = app_of(store)

    @app.get("/logout")
    async def logout(cart: Annotated[Cart, SessionData("cart")], session: SessionDep) -> None:
        cart.items["a"] = 2
        session.logout()

    client = client_of(app)
    log_in(client, "ann")
    client.get("/logout")
    assert not client.cookies and store.writes[-1] == "delete"


def test_a_field_that_is_taken_out_of_a_typed_dict_is_taken_out_of_what_is_stored(store: Store) -> None:
    app = app_of(store)

    @app.get("/drop")
    async def drop(cart: Annotated[OtherDictCart, SessionData("cart")]) -> None:
        del cart["coupon"]

    client = client_of(app)
    write_session(client, {"cart": {"items": {"a": 1}, "coupon": "x", "other": 1}})
    client.get("/drop")
    assert read_session(client) == {"cart": {"items": {"a": 1}, "other": 1}}


class Hidden(BaseModel):
    password: SecretStr = SecretStr("")
    left_out: int = Field(0, exclude=True)


class Doubled(BaseModel):
    n: int = 1
    shown: int = Field(default=1, validation_alias="given", serialization_alias="told")


@pytest.mark.parametrize(
    ("kind", "field", "value", "reason"),
    [
        (Cart, "items", {"a": "many"}, "items.a: int_parsing"),
        (Cart, "coupon", object(), "does not fit"),
        (StructCart, "items", {"a": "many"}, "does not fit"),
        (StructCart, "coupon", object(), "does not fit"),
        (Doubled, "shown", 2, "come back as something else"),
        (Hidden, "password", SecretStr("hunter2"), "come back as something else"),  # it is written as stars
        (Hidden, "left_out", 5, "come back as something else"),
    ],
)
def test_what_does_not_fit_the_model_is_not_stored(
    store: Store, kind: Any, field: str, value: Any, reason: str
) -> None:
    app = app_of(store)

    @app.get("/spoil")
    async def spoil(model: Annotated[kind, SessionData("cart")]) -> None:
        setattr(model, field, value)

    client = TestClient(app)
    with pytest.raises(SessionEncodeError, match=reason) as caught:
        client.get("/spoil")
    assert caught.value.path == "cart" and store.writes == []


def test_a_field_that_the_codec_refuses_is_named(store: Store) -> None:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, **express(secret=SECRET, store=store))

    @app.get("/")
    async def route(cart: CART) -> None:
        cart.items["a"] = 2**60

    with pytest.raises(SessionEncodeError, match=r"cart\.items\.a"):
        TestClient(app).get("/")


class Required(BaseModel):
    n: int


class Row(msgspec.Struct, array_like=True):
    n: int = 1


@pytest.mark.parametrize("kind", [Required, Row, int, list[int]])
def test_a_type_that_is_no_model_with_defaults_is_refused_when_it_is_declared(kind: Any) -> None:
    app = FastAPI()

    async def handle(model: Annotated[kind, SessionData("cart")]) -> None: ...

    with pytest.raises(ConfigurationError, match="whose fields all have defaults"):
        app.get("/")(handle)


def test_sync_yield_dependencies_and_models_go_together(store: Store) -> None:
    app = app_of(store)

    def counted(cart: Annotated[Cart, SessionData("cart")]) -> Iterator[int]:
        yield len(cart.items)

    @app.get("/count")
    def count(n: Annotated[int, Depends(counted)], cart: Annotated[Cart, SessionData("cart")]) -> int:
        cart.items[str(n)] = 1
        return n

    client = client_of(app)
    assert [client.get("/count").json() for _ in range(3)] == [0, 1, 2]
