"""Everything around a login, in Django. Run it:  python with_django.py"""

import os
import sys
from collections.abc import Callable
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

import accounts
import django
from accounts import PROVIDER
from django.conf import settings
from django.core.management import execute_from_command_line

REMEMBERED = timedelta(days=30)
FRESH = timedelta(minutes=15)
HERE = Path(__file__).parent


def describe(request: Any) -> dict[str, str | None]:
    """What the list of devices says of this one. Nothing is kept unless this says it."""
    return {"label": request.headers.get("User-Agent", "").split(" ")[0] or "a browser"}


if not settings.configured:  # a whole project in a file; yours has them in settings.py
    settings.configure(
        SECRET_KEY=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
        SESSION_ENGINE="sojourn.django",
        SOJOURN={
            "store": os.environ.get("SESSION_STORE", f"sqlite:///{HERE}/sessions.db"),
            "describe": describe,
            "max_sessions": 5,
        },
        SESSION_COOKIE_AGE=3600,
        SESSION_EXPIRE_AT_BROWSER_CLOSE=True,
        MIDDLEWARE=[
            "sojourn.django.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",  # a session with another password is nobody's
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "sojourn.django",
        ],
        MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
        PASSWORD_HASHERS=["django.contrib.auth.hashers.ScryptPasswordHasher"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": os.environ.get("DATABASE", f"{HERE}/db.sqlite3"),
            }
        },
        ROOT_URLCONF=__name__,
        LOGIN_URL="login",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        USE_TZ=True,
    )
    django.setup()

from django.contrib import messages
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.contrib.auth.base_user import AbstractBaseUser
from django.contrib.auth.decorators import login_required, user_passes_test
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseForbidden, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from sojourn.django import session_of
from sojourn.django.auth import fresh_required

View = Callable[[HttpRequest], HttpResponse]


def sensitive(view: View) -> View:
    """For whoever gave the password a short while ago; all others are asked for it."""
    guarded: View = login_required(fresh_required(FRESH, login_url="confirm")(view))
    return guarded


def for_administrators(view: View) -> View:
    return sensitive(require_POST(user_passes_test(is_administrator)(view)))


def is_administrator(user: Any) -> bool:
    if not user.is_superuser:
        raise PermissionDenied
    return True


# -- logging in -------------------------------------------------------------------------------------------------------


def log_in(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        fields = '<input name="name"> <input name="password" type="password">'
        remember = '<label><input name="remember" type="checkbox" value="true"> Remember me</label>'
        return page(request, "Log in", form(request, f"{fields} {remember}"))
    user = authenticate(request, username=request.POST["name"], password=request.POST["password"])
    if user is None:
        messages.error(request, "That is not right.")
        return redirect(request.get_full_path())
    if code_key_of(user) is None:
        return enter(request, user, next_page(request), remember="remember" in request.POST)
    # A password without its second factor is nobody yet: another key, and request.user stays anonymous.
    session = session_of(request)
    session.begin_login(user)
    session["pending"] = {"remember": "remember" in request.POST, "tries": 0, "next": next_page(request)}
    return redirect("code")


def code(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    user = User.objects.filter(pk=session.pending_owner, is_active=True).first()  # None after ten minutes
    if user is None:
        return redirect("login")
    if request.method != "POST":
        return page(request, "The code on your phone", form(request, '<input name="code" inputmode="numeric">'))
    pending = session["pending"]
    if accounts.USERS[user.username].has_code(request.POST["code"]):
        del session["pending"]
        return enter(request, user, pending["next"], remember=pending["remember"])
    pending["tries"] += 1
    if pending["tries"] == 5:
        session.flush()
        return redirect("login")
    messages.error(request, "That is not right.")
    return redirect("code")


def enter(request: HttpRequest, user: AbstractBaseUser, page: str, *, remember: bool) -> HttpResponse:
    login(request, user)  # Django's own: another key, the user as owner, and the limit of SOJOURN["max_sessions"]
    if remember:
        request.session.set_expiry(int(REMEMBERED.total_seconds()))
    return redirect(page)


@require_POST
def log_out(request: HttpRequest) -> HttpResponse:
    logout(request)  # Django's own; what is put in from here on begins another session, which carries the last words
    messages.info(request, "Goodbye.")
    return redirect("login")


# -- once somebody is logged in ---------------------------------------------------------------------------------------


@never_cache
@login_required
def account(request: HttpRequest) -> HttpResponse:
    return page(request, f"Hello, {escape(request.user.get_username())}", form(request, "", "Log out", "/logout"))


@login_required
def confirm(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return page(request, "Your password once more", form(request, '<input name="password" type="password">'))
    if authenticate(request, username=request.user.get_username(), password=request.POST["password"]) is None:
        messages.error(request, "That is not right.")
        return redirect(request.get_full_path())
    session_of(request).confirm()
    return redirect(next_page(request))


@never_cache
@sensitive
def devices(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    if request.method == "POST":
        ended = session.end_others() if "others" in request.POST else int(session.end(request.POST["handle"]))
        messages.info(request, f"Logged out: {ended}.")
        return redirect("devices")
    rows = "".join(
        f"<li>{escape(device.label or '')}, {device.authenticated_at:%d %B %H:%M}"
        + (" (this one)" if device.is_current else form(request, hidden("handle", device.handle), "Log out"))
        for device in session.devices()
    )
    others = form(request, hidden("others", "1"), "Log out the others")
    return page(request, "Where you are logged in", f"<ul>{rows}</ul>{others}")


@sensitive
def password(request: HttpRequest) -> HttpResponse:
    if request.method != "POST":
        return page(request, "Another password", form(request, '<input name="password" type="password">'))
    user = User.objects.get(pk=request.user.pk)
    user.set_password(request.POST["password"])
    user.save()
    update_session_auth_hash(request, user)  # every other session is nobody's from here on
    session_of(request).end_others()  # and need not wait for it
    messages.info(request, "You have another password now. Your other devices are logged out.")
    return redirect("account")


# -- administrators, and the single sign-on ---------------------------------------------------------------------------


@for_administrators
def disable(request: HttpRequest) -> HttpResponse:
    ended = 0
    for user in User.objects.filter(username=request.POST["name"]):
        user.is_active = False
        user.save()
        ended += session_of(request).sessions.end_owner(str(user.pk))
    return JsonResponse({"ended": ended})


@for_administrators
def log_everybody_out(request: HttpRequest) -> HttpResponse:
    me = session_of(request).owner
    return JsonResponse({"ended": session_of(request).sessions.end_where(lambda view: view.owner not in (None, me))})


def single_sign_on(request: HttpRequest) -> HttpResponse:
    """Where the provider's login ends, once an OpenID client such as Authlib has exchanged the code for the ID token."""
    claims = PROVIDER.id_claims(request.GET["id_token"])
    if claims is None:
        return HttpResponseBadRequest()
    user = User.objects.filter(username=claims["sub"], is_active=True).first()
    if user is None:
        return HttpResponseForbidden()
    login(request, user)
    if "sid" in claims:
        session_of(request).note_sid(claims["sid"])
    return redirect("account")


@csrf_exempt
@require_POST
def backchannel_logout(request: HttpRequest) -> HttpResponse:
    claims = PROVIDER.logout_claims(request.POST["logout_token"])
    if claims is None:
        return HttpResponseBadRequest()
    user = User.objects.filter(username=claims.get("sub")).first()
    owner, sessions = None if user is None else str(user.pk), session_of(request).sessions
    if "sid" in claims:
        sessions.end_sid(claims["sid"], owner)
    elif owner is not None:
        sessions.end_owner(owner)
    return HttpResponse(headers={"Cache-Control": "no-store"})


# -- pages ------------------------------------------------------------------------------------------------------------


def next_page(request: HttpRequest) -> str:
    """Where to go after the login: the page that was asked for before, if it is one of this site."""
    page = request.GET.get("next", "")
    return page if url_has_allowed_host_and_scheme(page, allowed_hosts=None) else "/account"


def form(request: HttpRequest, fields: str, button: str = "Go on", action: str = "") -> str:
    """A form; without an action it goes to the page's own address, with its ?next=."""
    token = hidden("csrfmiddlewaretoken", get_token(request))
    return (
        f'<form method="post"{f" action={action}" if action else ""}>{token}{fields} <button>{button}</button></form>'
    )


def hidden(name: str, value: str) -> str:
    return f'<input type="hidden" name="{name}" value="{escape(value)}">'


def page(request: HttpRequest, title: str, body: str) -> HttpResponse:
    told = "".join(f"<p class={one.tags}>{escape(str(one))}</p>" for one in messages.get_messages(request))
    links = "".join(f'<a href="/{name}">{name}</a> ' for name in ("account", "devices", "password"))
    return HttpResponse(f"<!doctype html><title>{title}</title><nav>{links}</nav>{told}<h1>{title}</h1>{body}")


urlpatterns = [
    path("login", log_in, name="login"),
    path("code", code, name="code"),
    path("logout", log_out),
    path("account", account, name="account"),
    path("confirm", confirm, name="confirm"),
    path("devices", devices, name="devices"),
    path("password", password),
    path("admin/disable", disable),
    path("admin/log-everybody-out", log_everybody_out),
    path("sso", single_sign_on),
    path("backchannel-logout", backchannel_logout),
]


def code_key_of(user: AbstractBaseUser) -> bytes | None:
    """What the app on the phone and we share. In yours it is a column of the user, or in a table of django-otp."""
    return accounts.USERS[user.get_username()].code_key if user.get_username() in accounts.USERS else None


def prepare() -> None:
    """The database, with the users that the other examples have."""
    execute_from_command_line([sys.argv[0], "migrate", "--verbosity", "0"])
    if not User.objects.exists():
        for name, password in (("ann", "pear"), ("bob", "plum"), ("cid", "kiwi")):
            User.objects.create_user(name, password=password)
        User.objects.create_superuser("root", password="fig")


if __name__ == "__main__":
    prepare()
    execute_from_command_line([sys.argv[0], "runserver", os.environ.get("PORT", "8000"), "--noreload"])
