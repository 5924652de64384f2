"""A part of the session as a model, under Litestar (docs/frameworks/litestar-contract.md)."""

import dataclasses
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

import anyio
import attrs
import msgspec
import pytest
from litestar import Request, WebSocket, get, post, websocket
from litestar.di import Provide
from litestar.exceptions import ClientException
from pydantic import BaseModel, Field

from sojourn import ConfigurationError
from sojourn.litestar import SessionDep, session_data
from sojourn.testing.litestar import read_session, write_session
from tests.doors.litestar_apps import Store, app_of, client_of, cookies_of, plugin_of

NOW = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("sojourn.logs._said", set())
    return Store()


class PydanticCart(BaseModel):
    items: dict[str, int] = {}
    since: datetime = NOW
    coupon: str | None = Field(default=None, alias="the-coupon")


class StructCart(msgspec.Struct):
    items: dict[str, int] = {}
    since: datetime = NOW
    coupon: str | None = None


@dataclasses.dataclass
class DataCart:
    items: dict[str, int] = dataclasses.field(default_factory=dict)
    since: datetime = NOW
    coupon: str | None = None


@attrs.define
class AttrsCart:
    items: dict[str, int] = attrs.Factory(dict)
    since: datetime = NOW
    coupon: str | None = None


KINDS = (PydanticCart, StructCart, DataCart, AttrsCart)


def handlers_of(kind: Any, **options: Any) -> list[Any]:
    """Routes that add something to the model, that do so and raise, and that only look at it."""
    dependencies = {"cart": Provide(session_data(kind, **options))}

    async def add(cart: Any, request: Request[Any, Any, Any]) -> int:
        sku = request.query_params["sku"]
        cart.items[sku] = cart.items.get(sku, 0) + 1
        if "fail" in request.query_params:
            raise ClientException(status_code=409)
        return sum(cart.items.values())

    async def show(cart: Any) -> int:
        return sum(cart.items.values())

    made = []
    for path, method, function in (("/add", post, add), ("/show", get, show)):
        function.__annotations__["cart"] = Annotated[kind, "dependency"]
        made.append(method(path, dependencies=dependencies)(function))
    return made


@pytest.mark.parametrize("kind", KINDS)
# litestar contract 26
def test_a_model_is_loaded_and_its_changes_are_saved_unless_the_handler_raises(store: Store, kind: type) -> None:
    with client_of(app_of(plugin_of(store), *handlers_of(kind))) as client:
        assert client.get("/show").json() == 0 and store.writes == [], "defaults are no session"
        assert [client.post("/add?sku=tent").json() for _ in range(2)] == [1, 2]
        refused = client.post("/add?sku=map&fail=1")
        assert refused.status_code == 409 and not cookies_of(refused)
        assert client.get("/show").json() == 2
        assert read_session(client) == {kind.__name__: {"items": {"tent": 2}}}


@pytest.mark.parametrize("kind", KINDS)
# litestar contract 10
def test_what_no_longer_fits_begins_anew_or_is_an_error_and_what_is_unknown_stays(
    store: Store, kind: type, caplog: pytest.LogCaptureFixture
) -> None:
    with client_of(app_of(plugin_of(store), *handlers_of(kind, key="cart"))) as client:
        write_session(client, {"cart": {"items": {"tent": 1}, "newer": [1]}})
        client.post("/add?sku=map")
        assert read_session(client) == {"cart": {"items": {"tent": 1, "map": 1}, "newer": [1]}}
        write_session(client, {"cart": {"items": "the data"}})
        assert client.get("/show").json() == 0 and "the model begins anew" in caplog.text
        assert "the data" not in caplog.text
    with client_of(app_of(plugin_of(store), *handlers_of(kind, key="cart", strict=True))) as client:
        write_session(client, {"cart": {"items": 5}})
        assert client.get("/show").status_code == 500


class Comparable(msgspec.Struct):
    items: dict[str, int] = {}


# litestar contract 10
def test_what_a_model_is_changed_to_must_fit_it(store: Store) -> None:
    @get("/wrong", dependencies={"cart": Provide(session_data(Comparable))})
    async def wrong(cart: Annotated[Comparable, "dependency"]) -> None:
        cart.items = 5  # type: ignore[assignment]

    @get("/unwritable", dependencies={"cart": Provide(session_data(Comparable))})
    async def unwritable(cart: Annotated[Comparable, "dependency"]) -> None:
        cart.items = {"x": object()}  # type: ignore[dict-item]

    with client_of(app_of(plugin_of(store), wrong, unwritable)) as client:
        assert [client.get(path).status_code for path in ("/wrong", "/unwritable")] == [500, 500]
        assert read_session(client) == {}


# litestar contract 26
def test_two_dependencies_share_a_model_and_parallel_changes_of_its_fields_merge(store: Store) -> None:
    one, two = (Provide(session_data(StructCart)) for _ in range(2))

    @get("/", dependencies={"one": one, "two": two})
    async def both(
        one: Annotated[StructCart, "dependency"], two: Annotated[StructCart, "dependency"], session: SessionDep
    ) -> bool:
        one.coupon = "x"
        assert session.id
        return one is two

    with client_of(app_of(plugin_of(store), both)) as client:
        assert client.get("/").json() is True
        assert read_session(client) == {"StructCart": {"coupon": "x"}}


# litestar contract 8
def test_a_websocket_has_the_model_too(store: Store) -> None:
    @websocket("/ws", dependencies={"cart": Provide(session_data(StructCart))})
    async def socket(socket: WebSocket[Any, Any, Any], cart: Annotated[StructCart, "dependency"]) -> None:
        cart.items["tent"] = 1
        await socket.accept()
        await socket.send_json(cart.items)
        await socket.close()

    with client_of(app_of(plugin_of(store), socket)) as client, client.websocket_connect("/ws") as peer:
        assert peer.receive_json() == {"tent": 1}
    assert anyio.run(store.count) == 1


class TypedCart(TypedDict, total=False):
    items: dict[str, int]


class Required(msgspec.Struct):
    items: dict[str, int]


@pytest.mark.parametrize("kind", [Required, int, TypedCart, dict, dict[str, int]])
def test_what_is_no_model_whose_fields_all_have_defaults_is_refused(kind: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"session_data: got .*; give a"):
        session_data(kind)
