"""Sessions in Tornado. Run it:  python tornado_app.py"""

import asyncio
import os

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado_sessions import SessionHandler

from sojourn.driver import AsyncSessionDriver


class SetValue(SessionHandler):
    def get(self) -> None:
        key = self.get_argument("key")
        self.session[key] = self.get_argument("value")
        self.write({"set": key})


class GetValue(SessionHandler):
    def get(self) -> None:
        key = self.get_argument("key")
        self.write({key: self.session.get(key)})


class Counter(SessionHandler):
    def get(self) -> None:
        # increment() instead of += 1: two requests at once both count
        self.write({"visits": self.session.increment("visits")})


class Login(SessionHandler):
    def get(self) -> None:
        # A new id whenever privileges change, so that nobody who knew the old one gets in (session fixation).
        name = self.get_argument("name")
        self.session.login(name, keep_data=True)  # but nothing of somebody else's
        self.redirect("/dashboard", status=303)


class Dashboard(SessionHandler):
    def get(self) -> None:
        owner = self.session.owner
        self.set_status(200 if owner else 401)
        self.write(f"Hello, {owner}." if owner else "Please log in.")


class Logout(SessionHandler):
    def get(self) -> None:
        self.session.logout()
        self.write({"logged_out": True})


class Destroy(SessionHandler):
    def get(self) -> None:
        self.session.destroy()
        self.write({"destroyed": True})


async def main() -> None:
    sessions = AsyncSessionDriver(
        secret=os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes"),
        store=os.environ.get("SESSION_STORE", "sqlite:///sessions.db"),
    )
    routes = {
        "/set": SetValue,
        "/get": GetValue,
        "/counter": Counter,
        "/login": Login,
        "/dashboard": Dashboard,
        "/logout": Logout,
        "/destroy": Destroy,
    }
    server = HTTPServer(Application(list(routes.items()), sessions=sessions))
    sockets = bind_sockets(int(os.environ.get("PORT", "8000")), "127.0.0.1")
    server.add_sockets(sockets)
    print(f"http://127.0.0.1:{sockets[0].getsockname()[1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
