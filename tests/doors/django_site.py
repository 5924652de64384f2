"""A Django site: what the tests visit in this process, and servers serve in others.

Its settings can be given once in a process, so that all tests share them and override what they need otherwise.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import django
from asgiref.sync import async_to_sync
from django.conf import settings

SECRET = "a secret that is long enough for everybody"

if not settings.configured:
    folder = os.environ.get("SITE_FOLDER")
    if folder is None:
        kept = tempfile.TemporaryDirectory()
        atexit.register(kept.cleanup)
        folder = kept.name
    settings.configure(
        **{
            "SECRET_KEY": SECRET,
            "ALLOWED_HOSTS": ["*"],
            "ROOT_URLCONF": "tests.doors.django_site",
            "DATABASES": {
                "default": {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(Path(folder, "site.db")),
                    "OPTIONS": {"timeout": 20},
                }
            },
            "INSTALLED_APPS": [
                "django.contrib.admin",
                "django.contrib.auth",
                "django.contrib.contenttypes",
                "django.contrib.messages",
                "allauth.usersessions",
                "sojourn.django",
            ],
            "MIDDLEWARE": [
                "sojourn.django.SessionMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware",
            ],
            "TEMPLATES": [
                {
                    "BACKEND": "django.template.backends.django.DjangoTemplates",
                    "APP_DIRS": True,
                    "OPTIONS": {
                        "context_processors": [
                            "django.template.context_processors.request",
                            "django.contrib.auth.context_processors.auth",
                            "django.contrib.messages.context_processors.messages",
                        ]
                    },
                }
            ],
            "SESSION_ENGINE": "sojourn.django",
            "SOJOURN": {"store": os.environ.get("SESSION_STORE", "memory://")},
            "USE_TZ": True,
            "LOGIN_URL": "/login",
            "LOGIN_REDIRECT_URL": "/",
            "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
            "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
            "STATIC_URL": "/static/",
            "LOGGING_CONFIG": None,
            **json.loads(os.environ.get("SITE_SETTINGS", "{}")),
        }
    )
    django.setup()

from allauth.usersessions.models import UserSession  # noqa: E402
from django.contrib import admin, messages  # noqa: E402 - once there are settings
from django.contrib.auth import (  # noqa: E402
    alogin,
    alogout,
    authenticate,
    get_user_model,
    login,
    logout,
    update_session_auth_hash,
)
from django.contrib.auth.decorators import login_required  # noqa: E402
from django.contrib.auth.views import PasswordResetConfirmView  # noqa: E402
from django.core.handlers.asgi import ASGIHandler  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import path  # noqa: E402
from django.views import View  # noqa: E402

from sojourn import StoreUnavailable  # noqa: E402
from sojourn.django import SessionStore, session_of  # noqa: E402
from sojourn.django.auth import FreshRequiredMixin, fresh_required  # noqa: E402
from sojourn.django.config import current  # noqa: E402


def prepare() -> None:
    """Make the tables, and a user for each name that is asked for."""
    call_command("migrate", verbosity=0)
    users: Any = get_user_model()
    for name in ("anna", "boris"):
        if not users.objects.filter(username=name).exists():
            users.objects.create_superuser(name, password="secret")


def show(request: HttpRequest) -> HttpResponse:
    return JsonResponse(dict(request.session.items()))


def put(request: HttpRequest) -> HttpResponse:
    """Put what the query says into the session."""
    for name, value in _of_query(request).items():
        request.session[name] = value
    if "forget" in request.GET:
        request.session.modified = False
    return _done(request)


async def aput(request: HttpRequest) -> HttpResponse:
    for name, value in request.GET.items():
        request.session[name] = json.loads(str(value))  # without awaiting: it was loaded before
    return HttpResponse("done")


def _of_query(request: HttpRequest) -> dict[str, Any]:
    return {name: json.loads(str(value)) for name, value in request.GET.items() if name not in _ABOUT}


_ABOUT = ("status", "forget", "save", "flush", "say", "fail")


def _done(request: HttpRequest, text: str = "done") -> HttpResponse:
    return HttpResponse(text, status=int(request.GET.get("status", "200")))


def plain(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("plain")


def flush(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    request.session.update(_of_query(request)) if _of_query(request) else None
    return _done(request)


def cycle(request: HttpRequest) -> HttpResponse:
    request.session.cycle_key()
    return _done(request)


def clear(request: HttpRequest) -> HttpResponse:
    request.session.clear()
    request.session.update(_of_query(request))
    return _done(request)


def create(request: HttpRequest) -> HttpResponse:
    if "flush" in request.GET:
        request.session.flush()
    request.session.create()
    return _done(request, str(session_of(request).exists(request.session.session_key or "")))


def save(request: HttpRequest) -> HttpResponse:
    request.session.update(_of_query(request))
    request.session.save()
    return _done(request, str(session_of(request).exists(request.session.session_key or "")))


def within(request: HttpRequest) -> HttpResponse:
    cart = request.session["cart"]
    cart["tents"] = cart.get("tents", 0) + 1
    return _done(request)


def lose(request: HttpRequest) -> HttpResponse:
    """Meanwhile the session is ended by another request."""
    request.session.update(_of_query(request))
    SessionStore(request.session.session_key).delete()
    if "save" in request.GET:
        request.session.save()
    return _done(request)


def meanwhile(request: HttpRequest) -> HttpResponse:
    """Another request of the session comes while this one is handled."""
    request.session.update(_of_query(request))
    request.META["sojourn.test.meanwhile"]()
    return _done(request)


def unstorable(request: HttpRequest) -> HttpResponse:
    request.session["b"] = object()
    return _done(request)


def count(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(session_of(request).increment("n")))


async def acount(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(await session_of(request).aincrement("n")))


def whoami(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.user.get_username() or "nobody")


async def awhoami(request: HttpRequest) -> HttpResponse:
    return HttpResponse((await request.auser()).get_username() or "nobody")


def log_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.GET["name"], password="secret")
    assert user is not None
    login(request, user)
    return HttpResponse(request.session.session_key or "", status=int(request.GET.get("status", "200")))


async def alog_in(request: HttpRequest) -> HttpResponse:
    user = await get_user_model().objects.aget(username=request.GET["name"])
    await alogin(request, user, "django.contrib.auth.backends.ModelBackend")
    return HttpResponse(request.session.session_key or "", status=int(request.GET.get("status", "200")))


def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    messages.info(request, "goodbye") if "say" in request.GET else None
    return HttpResponse("out", status=int(request.GET.get("status", "200")))


async def alog_out(request: HttpRequest) -> HttpResponse:
    await alogout(request)
    return HttpResponse("out")


def password(request: HttpRequest) -> HttpResponse:
    """The user changes the password, and stays logged in."""
    user: Any = request.user
    user.set_password("another")
    user.save()
    update_session_auth_hash(request, user)
    return _done(request)


def remember(request: HttpRequest) -> HttpResponse:
    """As allauth does at a login."""
    UserSession.objects.create_from_request(request)
    return _done(request)


def devices(request: HttpRequest) -> HttpResponse:
    mine = session_of(request)
    listed = list(mine.sessions.by_owner(str(request.user.pk)))
    return JsonResponse({"all": len(listed), "this": sum(view.key == mine.key for view in listed)})


def end_others(request: HttpRequest) -> HttpResponse:
    mine = session_of(request)
    ended = [
        mine.sessions.destroy(view) for view in mine.sessions.by_owner(str(request.user.pk)) if view.key != mine.key
    ]
    return HttpResponse(str(len(ended)))


async def aend_others(request: HttpRequest) -> HttpResponse:
    mine, ended = session_of(request), 0
    async for view in mine.asessions.by_owner(mine.owner or ""):
        if view.key != mine.key:
            ended += await mine.asessions.destroy(view)
    return HttpResponse(str(ended))


@fresh_required(timedelta(minutes=15), login_url="confirm")
def danger(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("danger")


@fresh_required()
async def adanger(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("danger")


class Danger(FreshRequiredMixin, View):
    """Whoever is not fresh is refused."""

    raise_exception = True

    def get(self, _request: HttpRequest) -> HttpResponse:
        return HttpResponse("danger")


class ADanger(Danger):
    """The same in the async colour."""

    async def get(self, _request: HttpRequest) -> HttpResponse:  # type: ignore[override]
        return HttpResponse("danger")


def confirm(request: HttpRequest) -> HttpResponse:
    session_of(request).confirm()
    return HttpResponse(str(request.GET.get("next")))


async def aconfirm(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    await session.aconfirm()
    assert session.is_fresh(1) and await session.ais_fresh(1)
    return HttpResponse(str(request.GET.get("next")))


def begin(request: HttpRequest) -> HttpResponse:
    session_of(request).begin_login(get_user_model().objects.get(username=request.GET["name"]))
    return _done(request)


async def abegin(request: HttpRequest) -> HttpResponse:
    user = await get_user_model().objects.aget(username=request.GET["name"])
    await session_of(request).abegin_login(user, within=60)
    return _done(request)


def complete(request: HttpRequest) -> HttpResponse:
    """The second factor was right."""
    pending = session_of(request).pending_owner
    if pending is None:
        return HttpResponse("begin again", status=400)
    login(request, get_user_model().objects.get(pk=pending), "django.contrib.auth.backends.ModelBackend")
    session_of(request).note_sid("idp")
    return _done(request)


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        for _ in range(3):
            yield f"{session_of(request).increment('n')} "
        if "fail" in request.GET:
            raise RuntimeError("in the midst of a stream")

    return StreamingHttpResponse(body())


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0)
            yield f"{await session_of(request).aincrement('n')} "
        if "fail" in request.GET:
            raise RuntimeError("in the midst of a stream")

    return StreamingHttpResponse(body())


def file(request: HttpRequest) -> FileResponse:
    session_of(request).increment("n")
    return FileResponse(Path(__file__).open("rb"), content_type="text/plain")


def message(request: HttpRequest) -> HttpResponse:
    messages.info(request, request.GET["text"])
    return HttpResponse("done")


def read_messages(request: HttpRequest) -> HttpResponse:
    return HttpResponse(" ".join(str(one) for one in messages.get_messages(request)))


def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse("posted" if request.method == "POST" else get_token(request))


def wrong(request: HttpRequest) -> HttpResponse:
    request.session["n"] = 1
    raise RuntimeError("the view fails")


def down(request: HttpRequest) -> HttpResponse:
    """The next write finds the store down."""
    for store in current().stores:

        def refuse(*_args: object, store: Any = store, **_kwargs: object) -> None:
            del vars(store)["replace"]  # once
            raise StoreUnavailable("down")

        async def arefuse(*args: object, **kwargs: object) -> None:
            refuse(*args, **kwargs)

        vars(store)["replace"] = arefuse if type(store).__name__.startswith("Async") else refuse
    request.session["n"] = 100
    return HttpResponse("never sent")


@login_required
def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse("for you")


urlpatterns = [
    path("", show),
    path("put", put),
    path("aput", aput),
    path("plain", plain),
    path("flush", flush),
    path("cycle", cycle),
    path("clear", clear),
    path("create", create),
    path("save", save),
    path("within", within),
    path("lose", lose),
    path("meanwhile", meanwhile),
    path("unstorable", unstorable),
    path("count", count),
    path("acount", acount),
    path("whoami", whoami),
    path("awhoami", awhoami),
    path("login", log_in),
    path("alogin", alog_in),
    path("logout", log_out),
    path("alogout", alog_out),
    path("password", password),
    path("remember", remember),
    path("devices", devices),
    path("reset/<uidb64>/<token>/", PasswordResetConfirmView.as_view(success_url="/plain"), name="reset"),
    path("end-others", end_others),
    path("aend-others", aend_others),
    path("danger", danger),
    path("adanger", adanger),
    path("class", Danger.as_view()),
    path("aclass", ADanger.as_view()),
    path("confirm", confirm, name="confirm"),
    path("aconfirm", aconfirm),
    path("begin", begin),
    path("abegin", abegin),
    path("complete", complete),
    path("stream", stream),
    path("astream", astream),
    path("file", file),
    path("message", message),
    path("messages", read_messages),
    path("form", form),
    path("wrong", wrong),
    path("down", down),
    path("private", private),
    path("admin/", admin.site.urls),
]


def wsgi() -> WSGIHandler:
    return WSGIHandler()


def asgi() -> ASGIHandler:
    return ASGIHandler()


def __getattr__(name: str) -> Any:
    """What servers ask for; in this process nobody does, as the middleware is made with it."""
    if name in ("application", "asgi_application"):
        return wsgi() if name == "application" else asgi()
    raise AttributeError(name)


__all__ = ["asgi", "async_to_sync", "prepare", "wsgi"]
