"""Django's own applications on our sessions: logins, messages, the admin, CSRF tokens, the test clients, and allauth's list of sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth import authenticate, get_user_model, login, update_session_auth_hash
from django.contrib.auth.tokens import default_token_generator
from django.http import HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from sojourn import ConfigurationError, NotLoggedIn
from sojourn.django import SessionMiddleware, SessionStore, session_of
from sojourn.django.auth import fresh_required
from sojourn.stores import MemoryStore
from sojourn.testing.clock import ManualClock
from tests.doors.django_clients import KINDS, Visitor, made, site

USERS: Any = get_user_model()
MIDDLEWARE = "django.contrib.auth.middleware"


@pytest.fixture(scope="module", autouse=True)
def tables() -> None:
    site.prepare()


@pytest.fixture(autouse=True)
def passwords() -> Iterator[None]:
    yield
    for user in USERS.objects.all():
        if not user.check_password("secret"):
            user.set_password("secret")
            user.save()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def store(clock: ManualClock) -> Iterator[MemoryStore]:
    store = MemoryStore(clock=clock)
    with override_settings(SOJOURN={"store": store, "clock": clock}):
        yield store


@pytest.fixture
def tested() -> Iterator[None]:
    """What a test runner sets up."""
    setup_test_environment()
    yield
    teardown_test_environment()


@pytest.fixture(params=KINDS)
def visitor(request: pytest.FixtureRequest) -> Visitor:
    return Visitor(request.param)


LOGINS = pytest.mark.parametrize("path", ["/login", "/alogin"])


# django contract 62, 63, 66
@LOGINS
def test_a_login_keeps_what_was_gathered_under_a_new_key(path: str, visitor: Visitor, store: MemoryStore) -> None:
    visitor.get("/put?cart=[1]")
    anonymous = visitor.cookie
    key = visitor.get(f"{path}?name=anna").body.decode()
    assert visitor.cookie is not None and visitor.cookie.startswith(key) and visitor.cookie != anonymous
    data = visitor.data
    assert data["cart"] == [1] and set(data) == {"cart", "_auth_user_id", "_auth_user_backend", "_auth_user_hash"}
    assert isinstance(data["_auth_user_id"], str) and visitor.get("/whoami").body == b"anna"
    assert visitor.get("/awhoami").body == b"anna" and store.count() == 1
    thief = Visitor(visitor.kind)
    thief.cookie = anonymous or ""
    assert thief.get("/whoami").body == b"nobody"


# django contract 63
@LOGINS
def test_another_user_gets_nothing_of_the_one_before(path: str, visitor: Visitor, store: MemoryStore) -> None:
    visitor.get(f"{path}?name=anna")
    visitor.get("/put?secret=1")
    before = visitor.cookie
    visitor.get(f"{path}?name=boris")
    assert visitor.get("/whoami").body == b"boris" and "secret" not in visitor.data
    assert visitor.cookie != before and store.count() == 1 and list(store.by_owner(pk("anna"))) == []


# django contract 63
@LOGINS
def test_the_same_user_keeps_the_key_and_the_moment_is_noted(path: str, visitor: Visitor, clock: ManualClock) -> None:
    visitor.get(f"{path}?name=anna")
    before, then = visitor.cookie, SessionStore(visitor.cookie).authenticated_at
    clock.advance(60_000)
    visitor.get(f"{path}?name=anna")
    again = SessionStore(visitor.cookie)
    assert visitor.cookie == before and then is not None and again.authenticated_at is not None
    assert (again.authenticated_at - then).total_seconds() == 60 and again.owner == pk("anna")


def pk(name: str) -> str:
    return str(USERS.objects.get(username=name).pk)


# django contract 64, 66
@pytest.mark.parametrize("path", ["/logout", "/alogout"])
def test_a_logout_ends_the_session(path: str, visitor: Visitor, store: MemoryStore) -> None:
    visitor.get("/login?name=anna")
    kept = visitor.cookie
    assert "Max-Age=0" in made(visitor.get(path)) and store.count() == 0
    visitor.cookie = kept or ""
    assert visitor.get("/whoami").body == b"nobody"


# django contract 64
def test_what_is_said_at_a_logout_is_in_the_next_session(visitor: Visitor) -> None:
    with override_settings(MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage"):
        visitor.get("/login?name=anna")
        before = visitor.cookie
        visitor.get("/logout?say=1")
        assert visitor.cookie not in (None, before) and set(visitor.data) == {"_messages"}
        assert visitor.get("/messages").body == b"goodbye"


# django contract 55
@LOGINS
def test_a_login_in_a_response_that_fails_has_not_happened(path: str, visitor: Visitor) -> None:
    visitor.get("/put?cart=[1]")
    assert made(visitor.get(f"{path}?name=anna&status=500")) == ""
    assert visitor.data == {"cart": [1]} and visitor.get("/whoami").body == b"nobody"


# django contract 65
def test_a_password_that_changes_logs_the_others_out(visitor: Visitor, store: MemoryStore) -> None:
    other = Visitor(visitor.kind)
    for one in (visitor, other):
        one.get("/login?name=anna")
    before = visitor.cookie
    assert visitor.get("/password").status_code == 200 and visitor.cookie != before
    assert visitor.get("/whoami").body == b"anna"
    response = other.get("/whoami")
    assert response.body == b"nobody" and "Max-Age=0" in made(response) and store.count() == 1


# django contract 65
def test_a_secret_that_is_exchanged_logs_nobody_out(visitor: Visitor) -> None:
    visitor.get("/login?name=anna")
    before = visitor.cookie
    with override_settings(
        SECRET_KEY="another secret that is as long as the one before", SECRET_KEY_FALLBACKS=[site.SECRET]
    ):
        response = visitor.get("/whoami")
        assert response.body == b"anna" and visitor.cookie != before
        assert visitor.get("/awhoami").body == b"anna" and made(visitor.get("/whoami")) == ""
    assert visitor.get("/whoami").body == b"nobody"


# django contract 65
def test_a_cookie_under_an_older_secret_is_signed_anew(visitor: Visitor) -> None:
    visitor.get("/put?a=1")
    before = visitor.cookie
    with override_settings(
        SECRET_KEY="another secret that is as long as the one before", SECRET_KEY_FALLBACKS=[site.SECRET]
    ):
        assert visitor.get("/put?b=1").status_code == 200
        assert before is not None and visitor.cookie != before and str(visitor.cookie)[:40] == before[:40]
        visitor.cookie = before
        assert visitor.data == {"a": 1, "b": 1} and visitor.cookie != before, "by being read, too"
        assert made(visitor.get("/")) == ""


# django contract 65
def test_the_hash_of_a_login_goes_with_the_key(store: MemoryStore) -> None:
    user = USERS.objects.get(username="anna")
    request = RequestFactory().get("/")
    request.session, request.user = SessionStore(), user
    login(request, user)
    first = request.session.session_key
    update_session_auth_hash(request, user)
    assert request.session.session_key != first and not request.session.exists(first or "")


# django contract 67
def test_a_login_on_a_bare_request_needs_no_middleware(visitor: Visitor) -> None:
    request = RequestFactory().get("/")
    request.session = SessionStore()
    user = authenticate(username="anna", password="secret")
    assert user is not None
    login(request, user)
    request.session.save()
    visitor.cookie = session_of(request).signed_key or ""
    assert visitor.get("/whoami").body == b"anna" and visitor.get("/devices").json() == {"all": 1, "this": 1}


# django contract 67, 73
@pytest.mark.usefixtures("tested")
def test_the_test_clients_log_in_and_out(store: MemoryStore) -> None:
    user = USERS.objects.get(username="anna")
    client = Client()
    client.force_login(user)
    assert client.get("/whoami").content == b"anna" and client.session["_auth_user_id"] == str(user.pk)
    client.logout()
    assert client.get("/whoami").content == b"nobody" and client.login(username="anna", password="secret")
    assert client.get("/whoami").content == b"anna"

    async def visit() -> None:
        other = AsyncClient()
        await other.aforce_login(user)
        assert (await other.get("/awhoami")).content == b"anna"
        await other.alogout()
        assert (await other.get("/awhoami")).content == b"nobody"
        session = await other.asession()
        await session.aset("a", 1)
        await session.asave()
        assert (await other.get("/")).json() == {"a": 1}

    async_to_sync(visit)()


# django contract 73, 74
@pytest.mark.usefixtures("tested")
def test_the_test_clients_session_is_stored_by_being_asked_for(store: MemoryStore) -> None:
    client = Client()
    assert client.session.session_key is not None and store.count() == 1
    session = client.session
    session["a"] = 1
    assert client.session.get("a") is None
    session.save()
    assert client.session["a"] == 1 and client.get("/").json() == {"a": 1} and client.session
    client.get("/put?b=2")
    assert dict(client.session.items()) == {"a": 1, "b": 2}


# django contract 68
@pytest.mark.parametrize(
    ("kind", "path", "more", "status"),
    [
        ("LoginRequiredMiddleware", "/plain", {}, 302),
        ("RemoteUserMiddleware", "/whoami", {"REMOTE_USER": "anna"}, 200),
    ],
)
def test_djangos_other_middlewares(kind: str, path: str, more: dict[str, str], status: int, settings_with: Any) -> None:
    with settings_with(f"{MIDDLEWARE}.{kind}", AUTHENTICATION_BACKENDS=BACKENDS):
        client = Client()
        assert client.get(path, **more).status_code == status  # type: ignore[arg-type]
        if status == 200:
            assert client.get(path, **more).content == b"anna"  # type: ignore[arg-type]
            assert client.get(path).content == b"nobody"


BACKENDS = ["django.contrib.auth.backends.ModelBackend", "django.contrib.auth.backends.RemoteUserBackend"]


@pytest.fixture
def settings_with() -> Any:
    from django.conf import settings

    return lambda path, **more: override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, path], **more)


# django contract 68
def test_a_password_is_reset_by_a_link_that_goes_into_the_session(visitor: Visitor) -> None:
    user = USERS.objects.get(username="boris")
    link = f"/reset/{urlsafe_base64_encode(force_bytes(user.pk))}/{default_token_generator.make_token(user)}/"
    response = visitor.get(link)
    assert response.status_code == 302 and set(visitor.data) == {"_password_reset_token"}
    changed = {"new_password1": "not so secret 1", "new_password2": "not so secret 1"}
    assert visitor.post(response.url, changed).status_code == 302 and visitor.data == {}
    assert authenticate(username="boris", password="not so secret 1") is not None


# django contract 69, 70
@pytest.mark.parametrize("storage", ["session.SessionStorage", "fallback.FallbackStorage", "cookie.CookieStorage"])
def test_messages(storage: str, visitor: Visitor) -> None:
    with override_settings(MESSAGE_STORAGE=f"django.contrib.messages.storage.{storage}"):
        visitor.get("/message?text=one")
        visitor.get("/message?text=two")
        if storage.startswith("session"):
            assert isinstance(visitor.data["_messages"], str)
        assert visitor.get("/messages").body == b"one two" and visitor.get("/messages").body == b""
        long = "x" * 5000
        visitor.get(f"/message?text={long}")
        if not storage.startswith("cookie"):
            assert visitor.get("/messages").body.decode() == long and "_messages" not in visitor.data


# django contract 61, 71
def test_the_admin_is_content_and_works(visitor: Visitor) -> None:
    from django.core.management import call_command

    call_command("check", fail_level="WARNING")
    response = visitor.post("/admin/login/?next=/admin/", {"username": "anna", "password": "secret", "next": "/admin/"})
    assert response.status_code == 302 and response.url == "/admin/"
    assert b"Site administration" in visitor.get("/admin/").body
    saved = visitor.post("/admin/auth/group/add/", {"name": f"group-{visitor.kind}"})
    assert saved.status_code == 302 and b"was added successfully" in visitor.get("/admin/auth/group/").body
    assert visitor.post("/admin/logout/").status_code == 200 and visitor.get("/admin/").status_code == 302


# django contract 72
def test_csrf_tokens_may_be_in_the_session(visitor: Visitor, store: MemoryStore) -> None:
    with override_settings(CSRF_USE_SESSIONS=True):
        strict = Visitor(visitor.kind, enforce_csrf_checks=True)
        token = strict.get("/form").body.decode()
        assert "_csrftoken" in strict.data and made(strict.get("/form")) == ""
        assert strict.post("/form", headers={"x-csrftoken": token}).body == b"posted"
        assert strict.post("/form").status_code == 403
        strict.get("/login?name=anna")
        assert strict.post("/form", headers={"x-csrftoken": token}).status_code == 403


# django contract 36
@pytest.mark.parametrize("path", ["/end-others", "/aend-others"])
def test_a_users_devices_are_listed_and_logged_out(path: str, visitor: Visitor) -> None:
    others = [Visitor("wsgi"), Visitor("asgi")]
    for one in (visitor, *others):
        one.get("/login?name=anna")
    stranger = Visitor()
    stranger.get("/login?name=boris")
    assert visitor.get("/devices").json() == {"all": 3, "this": 1}
    assert visitor.get(path).body == b"2" and visitor.get("/whoami").body == b"anna"
    assert [one.get("/whoami").body for one in others] == [b"nobody"] * 2
    assert stranger.get("/whoami").body == b"boris"


# django contract 25
def test_allauth_lists_sessions_by_their_key_and_ends_them(visitor: Visitor, store: MemoryStore) -> None:
    from allauth.usersessions.models import UserSession

    UserSession.objects.all().delete()
    path = "allauth.usersessions.middleware.UserSessionsMiddleware"
    user = USERS.objects.get(username="anna")
    with override_settings(USERSESSIONS_TRACK_ACTIVITY=True):
        visitor.get("/login?name=anna")
        visitor.get("/remember")
        (kept,) = UserSession.objects.purge_and_list(user)
        assert kept.session_key == str(visitor.cookie)[:40] and kept.exists() and path
        kept.end()
    assert store.count() == 0 and visitor.get("/whoami").body == b"nobody"
    thief = Visitor()
    thief.cookie = kept.session_key
    assert thief.get("/whoami").body == b"nobody", "what another table holds opens nobody's session"


# django contract 62
def test_a_login_of_somebody_who_can_own_nothing_is_kept_without_an_owner(store: MemoryStore) -> None:
    session = SessionStore()
    session["_auth_user_id"] = 7
    session.save()
    assert SessionStore(session.session_key).owner is None


# django contract 58, 70
def test_a_middleware_outside_still_finds_the_session() -> None:
    seen: list[Any] = []

    def within(request: Any) -> HttpResponse:
        request.session.set_expiry(5)
        return HttpResponse("within")

    def outside(request: Any) -> Any:
        response: Any = SessionMiddleware(within)(request)
        seen.append(request.session.get_expiry_age())
        return response

    assert outside(RequestFactory().get("/")).content == b"within" and seen == [5]


# More than Django has


def logged_in(pk: str) -> SessionStore:
    session = SessionStore()
    session["_auth_user_id"] = pk
    session.save()
    return SessionStore(session.session_key)


def test_a_users_devices_are_listed_and_ended_one_by_one_or_all_but_this_one(store: MemoryStore) -> None:
    mine, *others = [logged_in("7") for _ in range(4)]
    logged_in("8")
    devices = mine.devices(limit=3)
    assert devices[0].is_current or devices.next is not None
    assert len(devices) + len(mine.devices(after=devices.next)) == 4
    handle = next(device.handle for device in devices if not device.is_current)
    assert [mine.end(handle), mine.end(handle)] == [True, False]
    assert mine.end_others() == 2
    assert [other.exists(other.session_key) for other in (mine, *others)] == [True, False, False, False]
    (current,) = mine.devices()
    key = mine.session_key
    assert mine.end(current.handle) is True
    assert (mine.exists(key), mine.session_key, dict(mine.items())) == (False, None, {})
    assert store.count() == 1


async def _as_in_async_views() -> None:
    mine, *others = [await sync_to_async(logged_in)("7") for _ in range(4)]
    devices = await mine.adevices()
    assert len(devices) == 4
    handle = next(device.handle for device in devices if not device.is_current)
    assert [await mine.aend(handle), await mine.aend(handle)] == [True, False]
    assert await mine.aend_others() == 2
    assert [await other.aexists(other.session_key) for other in (mine, *others)] == [True, False, False, False]
    (current,) = await mine.adevices()
    assert await mine.aend(current.handle) is True
    assert mine.session_key is None


def test_a_users_devices_in_async_views(store: MemoryStore) -> None:
    async_to_sync(_as_in_async_views)()
    assert store.count() == 0


# -- after the login -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "page"), [("/danger", "/confirm"), ("/adanger", "/login")])
def test_whose_password_was_given_too_long_ago_is_asked_for_it(
    path: str, page: str, visitor: Visitor, clock: ManualClock
) -> None:
    assert visitor.get(path).headers["Location"] == f"{page}?next={path}"
    visitor.get("/login?name=anna")
    assert visitor.get(path).body == b"danger"
    clock.advance(15 * 60_000 + 1)
    sent = visitor.get(f"{path}?a=%20b")
    assert sent.status_code == 303 and sent.headers["Location"] == f"{page}?next={path}%3Fa%3D%2520b"
    assert visitor.post(path).headers["Location"] == page
    visitor.get("/login?name=anna")
    assert visitor.get(path).body == b"danger", "Django's own login page is enough"


@pytest.mark.parametrize("lazy", [None, True])
@pytest.mark.parametrize("path", ["/class", "/aclass", "/adanger"])
def test_a_view_may_be_a_class_and_refuse_and_its_session_lazy(
    path: str, lazy: Any, visitor: Visitor, clock: ManualClock, store: MemoryStore
) -> None:
    with override_settings(SOJOURN={"store": store, "clock": clock, "lazy": lazy}):
        visitor.get("/login?name=anna")
        assert visitor.get(path).body == b"danger"
        clock.advance(15 * 60_000 + 1)
        assert visitor.get(path).status_code == (303 if path == "/adanger" else 403)


@pytest.mark.parametrize("path", ["/confirm", "/aconfirm"])
def test_a_confirmation_gives_another_key_and_the_login_stays(path: str, visitor: Visitor, clock: ManualClock) -> None:
    visitor.get("/login?name=anna")
    before, then = visitor.cookie, SessionStore(visitor.cookie).authenticated_at
    clock.advance(15 * 60_000 + 1)
    assert visitor.get(f"{path}?next=/danger").body == b"/danger" and visitor.get("/danger").body == b"danger"
    session = SessionStore(visitor.cookie)
    assert session.authenticated_at == then and then is not None and session.confirmed_at is not None
    assert session.confirmed_at > then and visitor.cookie != before and visitor.get("/whoami").body == b"anna"


def test_nobody_has_nothing_to_confirm_and_a_duration_is_one(visitor: Visitor) -> None:
    assert visitor.get("/confirm").status_code == 500 and visitor.get("/class").status_code == 403
    with pytest.raises(ConfigurationError, match="within"):
        fresh_required("soon")  # type: ignore[arg-type]


@pytest.mark.parametrize("path", ["/begin", "/abegin"])
def test_a_password_without_its_second_factor_is_nobody_yet(path: str, visitor: Visitor, clock: ManualClock) -> None:
    visitor.get("/put?cart=[1]")
    keys = [visitor.cookie]
    visitor.get(f"{path}?name=anna")
    keys.append(visitor.cookie)
    assert visitor.get("/whoami").body == b"nobody" and SessionStore(visitor.cookie).pending_owner == pk("anna")
    assert SessionStore(visitor.cookie).owner is None
    visitor.get("/complete")
    keys.append(visitor.cookie)
    assert len(set(keys)) == 3 and visitor.get("/whoami").body == b"anna" and visitor.data["cart"] == [1]
    assert SessionStore(visitor.cookie).pending_owner is None
    visitor.get(f"{path}?name=anna")
    assert visitor.get("/whoami").body == b"nobody", "whoever was logged in is not any more"
    clock.advance(10 * 60_000)
    assert visitor.get("/complete").status_code == 400


def test_a_provider_ends_the_session_that_was_made_of_its_own(visitor: Visitor, store: MemoryStore) -> None:
    visitor.get("/begin?name=anna")
    visitor.get("/complete")
    assert SessionStore().sessions.end_sid("idp", pk("anna")) == 1 and visitor.get("/whoami").body == b"nobody"


@LOGINS
def test_a_user_has_so_many_sessions_and_the_oldest_end(path: str, clock: ManualClock, store: MemoryStore) -> None:
    with override_settings(SOJOURN={"store": store, "clock": clock, "max_sessions": 2}):
        visitors = [Visitor("asgi" if path == "/alogin" else "wsgi") for _ in range(3)]
        for one in visitors:
            one.get(f"{path}?name=anna")
            clock.advance(1)
        assert [one.get("/whoami").body for one in visitors] == [b"nobody", b"anna", b"anna"]
        visitors[1].get("/login?name=boris")
        assert visitors[2].get("/whoami").body == b"anna" and visitors[1].get("/whoami").body == b"boris"


def test_a_session_says_what_the_application_noted_of_the_device(store: MemoryStore) -> None:
    visitor = Visitor()
    with override_settings(SOJOURN={"store": store, "describe": lambda request: {"label": request.path}}):
        visitor.get("/login?name=anna")
        assert [device.label for device in SessionStore(visitor.cookie).devices()] == ["/login"]
        alone = SessionStore(visitor.cookie)
        alone["_auth_user_id"] = pk("anna")
        alone.save()  # which knows no request
        assert [device.label for device in SessionStore(visitor.cookie).devices()] == [None]


def test_alone_the_engine_carries_these_out_at_once(store: MemoryStore) -> None:
    session = SessionStore()
    session["cart"] = [1]
    session.begin_login(USERS.objects.get(username="anna"))
    begun = session.session_key
    assert SessionStore(begun).pending_owner == pk("anna")
    session["_auth_user_id"] = pk("anna")
    session.save()
    session.confirm()
    found = SessionStore(session.session_key)
    assert not session.exists(begun or "") and found.is_fresh(60) and found["cart"] == [1] and store.count() == 1

    async def in_async() -> None:
        other = SessionStore(session.session_key)
        await other.abegin_login(await USERS.objects.aget(username="boris"))
        assert await SessionStore(other.session_key).aget("cart") is None
        with pytest.raises(NotLoggedIn):
            await other.aconfirm()
        await other.aset("_auth_user_id", "2")
        await other.aconfirm()
        assert await SessionStore(other.session_key).ais_fresh(60)

    async_to_sync(in_async)()
    assert store.count() == 1
