"""The site of `django_before` after the move: with our engine and middleware. Served under WSGI or ASGI, with what it needs as JSON in ``TOLD``."""

from __future__ import annotations

import json
import os
from datetime import datetime
from typing import Any

import django
from django.conf import settings
from django.contrib.auth import get_user
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from sojourn.transports import CookieTransport, OldCookieTransport

TOLD: dict[str, Any] = json.loads(os.environ["TOLD"])


def show(request: HttpRequest) -> JsonResponse:
    session: Any = request.session
    named = session.session_key  # before it is loaded
    user = get_user(request)
    return JsonResponse(
        {
            "user": user.get_username(),
            "owner": session.owner,
            "data": {name: value for name, value in session.items() if not name.startswith("_auth")},
            "keys": [named, session.session_key],
            "age": session.get_expiry_age(),
            "devices": len(list(session.sessions.by_owner(session.owner))) if session.owner else 0,
        }
    )


def ignore(_request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


until = datetime.fromisoformat(TOLD.get("until", "2199-01-01T00:00:00+00:00"))
settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    SECRET_KEY=TOLD["secret"],
    DATABASES={"default": TOLD["database"]},
    ROOT_URLCONF=__name__,
    SESSION_ENGINE="sojourn.django",
    MIDDLEWARE=["sojourn.django.SessionMiddleware"],
    SOJOURN={
        "store": TOLD["store"],
        "transports": [CookieTransport(), OldCookieTransport(library="django", name="sessionid", until=until)],
    },
)
django.setup()
urlpatterns = [path("", show), path("ignore", ignore)]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
