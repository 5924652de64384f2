"""A diary behind a login: the tutorial for Django, a project in one file. Run it:  python django_diary.py runserver"""

import os
import sys

from django.conf import settings

secret, *fallbacks = os.environ["SESSION_SECRET"].split(",")
if not settings.configured:  # a test runner reads this file twice
    settings.configure(
        DEBUG=True,  # for your machine alone
        SECRET_KEY=secret,
        SECRET_KEY_FALLBACKS=fallbacks,
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("DATABASE", "users.db")}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.messages",
            "sojourn.django",
        ],
        MIDDLEWARE=[
            "sojourn.django.SessionMiddleware",  # in the place of Django's
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        SESSION_ENGINE="sojourn.django",
        SOJOURN={"store": os.environ.get("SESSION_STORE", "sqlite:///sessions.db")},
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {"context_processors": ["django.contrib.messages.context_processors.messages"]},
            }
        ],
        LOGIN_URL="/login/",
        LOGIN_REDIRECT_URL="/diary/",
        LOGOUT_REDIRECT_URL="/",
    )

import django

django.setup()

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView, LogoutView
from django.core.management import execute_from_command_line
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template import engines
from django.urls import path

from sojourn.django import session_of

PAGE = engines["django"].from_string("""<!doctype html><html lang="en"><title>Diary</title>
{% for message in messages %}<p role="status">{{ message }}</p>{% endfor %}
{% if form %}<h1>Log in</h1><form method="post">{% csrf_token %}{{ form.as_p }}<button>Log in</button></form>
{% else %}<h1>{{ user }}'s diary</h1><ul>{% for line in lines %}<li>{{ line }}</li>{% endfor %}</ul>
<form method="post">{% csrf_token %}<label>Line <input name="line"></label> <button>Write</button></form>
<form method="post" action="/logout/">{% csrf_token %}<button>Log out</button></form>{% endif %}</html>""")


class Login(LoginView):
    def render_to_response(self, context: dict[str, object], **_more: object) -> HttpResponse:
        return HttpResponse(PAGE.render(context, self.request))


def front(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"visits": session_of(request).increment("visits")})


@login_required
def diary(request: HttpRequest) -> HttpResponse:
    if request.method == "POST":
        request.session.setdefault("lines", []).append(request.POST["line"])  # seen without modified = True
        messages.success(request, "Written.")
        return redirect("/diary/")
    return HttpResponse(PAGE.render({"user": request.user, "lines": request.session.get("lines", [])}, request))


urlpatterns = [
    path("", front),
    path("login/", Login.as_view()),
    path("logout/", LogoutView.as_view()),
    path("diary/", diary),
]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
