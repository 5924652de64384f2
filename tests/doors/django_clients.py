"""Visitors of the Django site in this process, by its WSGI handler or its ASGI one."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.http import HttpResponse
from django.test import AsyncClient, Client

from tests.doors import django_site as site  # first, as it gives the settings

__all__ = ["KINDS", "Visitor", "made", "site"]

KINDS = ("wsgi", "asgi")


class Visitor:
    """A browser. Its requests are as real ones, but that they come by no network."""

    def __init__(self, kind: str = "wsgi", **options: Any) -> None:
        self.kind = kind
        self.client: Any = (Client if kind == "wsgi" else AsyncClient)(raise_request_exception=False, **options)

    def get(self, path: str, **more: Any) -> Any:
        return self._ask(self.client.get, path, **more)

    def post(self, path: str, *data: Any, **more: Any) -> Any:
        return self._ask(self.client.post, path, *data, **more)

    def _ask(self, method: Any, *args: Any, **more: Any) -> Any:
        response = method(*args, **more) if self.kind == "wsgi" else async_to_sync(method)(*args, **more)
        if response.streaming:
            response.body = self._body(response)
            response.close()
        else:
            response.body = response.content
        return response

    def _body(self, response: Any) -> bytes | None:
        try:
            if not response.is_async:
                return b"".join(response.streaming_content)
            return async_to_sync(_joined)(response)
        except RuntimeError:  # of the view's own
            return None

    @property
    def cookie(self) -> str | None:
        """The session cookie's value."""
        morsel = self.client.cookies.get(settings.SESSION_COOKIE_NAME)
        return morsel.value if morsel is not None and morsel.value else None

    @cookie.setter
    def cookie(self, value: str) -> None:
        self.client.cookies[settings.SESSION_COOKIE_NAME] = value

    @property
    def data(self) -> dict[str, Any]:
        """What is in the session, as the site shows it."""
        return dict(self.get("/").json())


async def _joined(response: Any) -> bytes:
    return b"".join([part async for part in response.streaming_content])


def made(response: HttpResponse) -> str:
    """The session cookie that a response sets, as it goes out; an empty text for none."""
    sent = response.cookies.get(settings.SESSION_COOKIE_NAME)
    return "" if sent is None else sent.OutputString()
