from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from sojourn import SessionView
from sojourn.django import SessionStore, session_of  # request.session, whose methods the editor knows

COLOURS = ("moss", "rust", "slate")


def front(request: HttpRequest) -> HttpResponse:
    # increment() instead of += 1: two requests at once both count
    visits = session_of(request).increment("visits")
    return render(request, "front.html", {"visits": visits, "colours": COLOURS})


async def counter(request: HttpRequest) -> HttpResponse:
    # Under ASGI the session is there before the view is: nothing here waits, and no thread is needed.
    return JsonResponse({"visits": await session_of(request).aincrement("visits")})


@require_POST
def choose_colour(request: HttpRequest) -> HttpResponse:
    colour = request.POST.get("colour")
    if colour in COLOURS:
        # A change within a value is seen: no need for `request.session.modified = True`.
        request.session.setdefault("choices", {})["colour"] = colour
        messages.success(request, f"Your colour is {colour} now.")
    return redirect("front")


class Login(LoginView):
    # Django's own. The session gets a new key and an owner, and what the visitor had chosen before stays.
    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_valid(form)
        messages.success(self.request, f"Welcome, {form.get_user()}.")
        return response


class Logout(LogoutView):
    # Django's own, too. It ends the session; what is put in from here on begins another one, so that there can be a goodbye.
    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = super().post(request, *args, **kwargs)
        messages.info(request, "Goodbye.")
        return response


def others(session: SessionStore) -> list[SessionView]:
    """The other sessions of whoever is logged in: every session knows its owner."""
    return [view for view in session.sessions.by_owner(session.owner or "") if view.key != session.key]


@login_required
def dashboard(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    return render(request, "dashboard.html", {"session": session, "others": others(session)})


@require_POST
@login_required
def end_others(request: HttpRequest) -> HttpResponse:
    session = session_of(request)
    ended = sum(session.sessions.destroy(view) for view in others(session))
    messages.info(request, f"{ended} other {'device is' if ended == 1 else 'devices are'} logged out.")
    return redirect("dashboard")
