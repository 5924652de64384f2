"""Scenarios for sections 6 to 10 of the contract: ids, what is a change, saving, Set-Cookie, Secure and SameSite."""

from __future__ import annotations

import string
from typing import Any, Final

from tests.differential.judge import REFUSED
from tests.differential.scenario import HOUR, MINUTE, START, Json
from tests.differential.written import AGED, LAZY, READ, SAME, View, Written, ask, inside, play, put

__all__ = ["WRITTEN"]

EAGER: Final[Json] = {"resave": False, "saveUninitialized": True}
RESAVE: Final[Json] = {"resave": True, "saveUninitialized": False}
ROLLING: Final[Json] = LAZY | {"rolling": True}
URL_SAFE: Final = set(string.ascii_letters + string.digits + "-_")
BEGUN: Final[Json] = {"x": [1, {"y": 2}], "cookie": 1}
AUTO: Final[Json] = {"secure": "auto", "sameSite": "auto"}


def over(connection: str, *ops: Any, **how: Any) -> Any:
    """A request over http, tls or proxied, or http with an X-Forwarded-Proto."""
    if connection in ("http", "tls", "proxied"):
        return ask(*ops, connection=connection, **how)
    return ask(*ops, forwarded=connection.removeprefix("forwarded "), **how)


def secure(options: Json, connection: str, attributes: str | None, lines: str, *exempt: str, **more: Any) -> Written:
    """A new session's cookie under these options over this connection: how its attributes end, or None for no cookie."""
    return Written(
        lines,
        f"{options} over {connection}",
        play(LAZY | options, over(connection, put())),
        lambda it: it.cookies == ["" if attributes is None else f"connect.sid=~; Path=/; HttpOnly{attributes}"],
        exempt,
        **more,
    )


def changed(lines: str, title: str, *ops: Any, is_change: bool = True, **more: Any) -> Written:
    """What a request does to a stored session, and whether that is a change: what tells is a cookie with an expiry."""
    begin = ask(put("a", 1), put("b", BEGUN), put("c", [1, 2]))
    return Written(
        lines,
        title,
        play(AGED, begin, ask(*ops)),
        lambda it: it.sent == [True, is_change],
        both=lambda it: it.calls[1] == ["get", "set" if is_change else "touch"],
        **more,
    )


def expires_as_stored(it: View) -> bool:
    """The Expires of the last cookie is the stored expiry, to the second."""
    from email.utils import parsedate_to_datetime

    text = it.cookies[-1].partition("Expires=")[2].partition(";")[0]
    expiry = it.expiry[-1]
    return expiry is not None and parsedate_to_datetime(text).timestamp() == expiry // 1000


CONNECTIONS: Final = (
    # proxy, connection, secure
    (None, "http", False, "104"),
    (None, "tls", True, "103"),
    (None, "proxied", True, "107"),
    (None, "forwarded https", False, "107"),
    (True, "http", False, "105"),
    (True, "forwarded https", True, "105, 109"),
    (True, "forwarded http", False, "105"),
    (True, "forwarded https,http", True, "105"),
    (True, "forwarded http,https", False, "105"),
    (True, "forwarded  HTTPS ", True, "105"),
    (True, "forwarded ,https", False, "105"),
    (True, "tls", True, "108"),
    (False, "http", False, "106"),
    (False, "forwarded https", False, "106"),
    (False, "proxied", False, "106"),
    (False, "tls", True, "108"),
)

WRITTEN: Final = (
    # 6. Id generation
    Written("61", "an id is random and URL-safe", play(LAZY, *[ask(put(), cookies=[]) for _ in range(5)]), lambda it: all(len(it.raw_id(n)) == 32 for n in range(5)), both=lambda it: len(set(it.ids)) == 5 and all(len(it.raw_id(n)) >= 32 and set(it.raw_id(n)) <= URL_SAFE for n in range(5))),
    Written("62", "a generator's id is used verbatim, percent-encoded in the cookie, and made with the request", play(LAZY | {"genid": ["é/ü x"]}, ask(put()), ask(READ)), lambda it: it.raw_id(0) == "é/ü x" and it.seen[1][0]["data"] == {"n": 1} and it.raw[0]["asked"] == 1, both=lambda it: it.raw_id(0) == "é/ü x", ours=SAME),
    Written("63", "an id that is taken is not noticed", play(LAZY | {"genid": ["a", "a", "b"]}, ask(put("n", 1)), ask(put("n", 2), cookies=[])), lambda it: it.data == [{"n": 2}], ours=lambda it: sorted(one["n"] for one in it.data) == [1, 2] and it.raw_id(1) == "b"),
    # 7. What counts as modified
    changed("64, 91", "another value is a change", put("a", 2)),
    changed("64", "a new key is one", put("d", None)),
    changed("64", "a key less is one", ["delete", ["a"]]),
    changed("64", "looking is none", READ, is_change=False),
    Written("64, 92", "another id is one", play(LAZY, ask(put()), ask(["regenerate"], put())), lambda it: it.sent == [True, True], exempt=()),
    changed("65", "a nested key called cookie counts", ["set", ["b", "cookie"], 2]),
    changed("66", "nested changes are seen", ["append", ["c"], 3]),
    changed("66", "in objects too", ["set", ["b", "x"], [1, {"y": 3}]]),
    changed("67", "an equal value is no change", put("a", 1), put("b", BEGUN), is_change=False),
    changed("67", "nor is a change and back", put("a", 2), put("a", 1), is_change=False),
    changed("68", "another order is", ["delete", ["a"]], put("a", 1)),
    Written("69", "undefined and functions are no change", play(AGED, ask(put()), ask(["special", "u", "undefined"], ["special", "f", "function"])), lambda it: it.sent == [True, False] and it.calls[1] == ["get", "touch"], ours=lambda it: it.raw[1]["raised"] == "SessionEncodeError" and it.data == [{"n": 1}]),
    Written("70", "a change of the cookie alone is lost to the browser", play(LAZY, ask(put()), ask(["cookie", "httpOnly", False])), lambda it: it.sent == [True, False], ("70",)),
    Written("91, 92, 129", "changed beside the data, without an expiry, too", play(LAZY, ask(put()), ask(put("n", 2), ["cookie", "httpOnly", False])), lambda it: it.sent == [True, False], ("70",)),
    Written("70", "a touch persists it, though", play(LAZY, ask(put()), ask(["cookie", "maxAge", HOUR]), ask(READ)), lambda it: it.stored[0]["lifetime"] == HOUR and it.sent == [True, False, False], ("70",)),
    Written("71", "what JSON has not is an exception at the end", play(LAZY, ask(put()), ask(["special", "it", "bigint"])), lambda it: it.raw[1]["failed"] and it.data == [{"n": 1}], ours=lambda it: it.raw[1]["raised"] == "SessionEncodeError" and it.status[1] == 500 and it.data == [{"n": 1}]),
    Written("72", "dates become text", play(LAZY, ask(["special", "it", "date"]), ask(READ)), lambda it: it.seen[1][0]["data"]["it"].startswith("2025-06-15T"), ours=lambda it: it.raw[0]["raised"] == "SessionEncodeError" and it.stored == []),
    Written("72", "bytes become an object", play(LAZY, ask(["special", "it", "bytes"]), ask(READ)), lambda it: it.seen[1][0]["data"]["it"]["type"] == "Buffer", ours=lambda it: it.raw[0]["raised"] == "SessionEncodeError" and it.stored == []),
    # 8. Whether to save, touch or do nothing
    Written("73, 86, 89", "new, untouched, saveUninitialized", play(EAGER, ask()), lambda it: it.sent == [True] and len(it.stored) == 1, both=lambda it: it.calls == [["set"]]),
    Written("74, 48", "new, untouched, not saveUninitialized", play(LAZY, ask(["touch"]), ask(READ)), lambda it: it.sent == [False, False] and it.stored == [], both=lambda it: it.calls == [[], []]),
    Written("75, 89", "new, modified, not saveUninitialized", play(LAZY, ask(put())), lambda it: it.sent == [True] and len(it.stored) == 1),
    Written("76, 79, 86", "loaded, unmodified, resave", play(RESAVE | {"cookie": {"maxAge": HOUR}}, ask(put()), ask(advance=MINUTE)), lambda it: it.expiry == [START + HOUR, START + MINUTE + HOUR] and it.sent == [True, False], both=lambda it: it.calls[1] == ["get", "set"]),
    Written("77, 81, 158", "loaded, unmodified, not resave", play(AGED, ask(put()), ask(advance=MINUTE), ask(READ, ["touch"])), lambda it: it.expiry == [START + HOUR, START + MINUTE + HOUR, START + MINUTE + HOUR], both=lambda it: it.calls[1:] == [["get", "touch"]] * 2),
    Written("78, 81, 86", "loaded and modified, several times", play(LAZY, ask(put("n", 0)), *[ask(["increment", "n", 1]) for _ in range(3)]), lambda it: it.data == [{"n": 3}] and it.sent == [True, False, False, False], both=lambda it: it.calls[1:] == [["get", "set"]] * 3),
    Written("80, 180", "a store without touch: reading extends nothing", play(AGED, ask(put()), ask(READ, advance=MINUTE), touchless=True), lambda it: it.expiry == [START + HOUR] * 2 and it.calls[1] == ["get"], ours=lambda it: it.expiry == [START + HOUR, START + MINUTE + HOUR] and "touch" in it.calls[1]),
    Written("82", "a session under a new id is not touched", play(AGED, ask(put()), ask(["touch"], ["regenerate"], put())), both=lambda it: it.calls[1] == ["get", "destroy", "set"]),
    Written("83", "the time that remains starts anew at the end", play(AGED, ask(put()), ask(["advance", MINUTE], put("n", 2), advance=MINUTE)), lambda it: it.expiry == [START + HOUR, START + 2 * MINUTE + HOUR]),
    Written("83", "or with the headers, whichever is first", play(AGED | {"rolling": True}, ask(put()), ask(["write", "x"], ["advance", MINUTE], put("n", 2))), lambda it: it.expiry[1] == START + HOUR, ("84, 85, 193",)),
    Written("84", "an explicit save before that stores the older expiry", play(AGED, ask(put()), ask(["save"], ["store"], advance=MINUTE)), lambda it: it.seen[1][1][0]["expires"] == START + HOUR and it.expiry[1] == START + MINUTE + HOUR, ("155, 148",)),
    Written("85", "the stored expiry is the cookie's", play(AGED, ask(put()), ask(put("n", 2), advance=700)), expires_as_stored, both=expires_as_stored),
    Written("87, 155", "after a save the end compares with what was saved", play(LAZY, ask(put("n", 1)), ask(put("n", 2), ["save"], put("n", 1))), lambda it: it.data == [{"n": 1}], both=lambda it: it.calls[1] == ["get", "set", "set"]),
    Written("87, 161", "what was saved and then unset stays, without a cookie", play(LAZY, ask(put(), ["save"], ["unset"])), lambda it: it.sent == [False] and it.data == [{"n": 1}], ("87", "155, 148")),
    Written("87", "but the cookie is decided by what was loaded", play(LAZY, ask(put(), ["save"], ["delete", ["n"]])), lambda it: it.sent == [False] and it.data == [{}], ("155, 148", "87")),
    *(
        Written("88, 172", f"{method} with {status} saves too", play(LAZY, ask(["status", status], put(), method=method, body=None)), lambda it: it.sent == [True] and len(it.stored) == 1)
        for method, status in (("GET", 404), ("GET", 500), ("HEAD", 200), ("POST", 302), ("GET", 304), ("DELETE", 204))
    ),
    # 9. Set-Cookie
    Written("90, 97", "rolling: sent also when unmodified, also without maxAge", play(ROLLING, ask(put()), ask(), ask(READ)), lambda it: it.sent == [True] * 3, both=lambda it: it.calls[1:] == [["get", "touch"]] * 2),
    Written("91", "not rolling: sent when modified and with an expiry", play(AGED, ask(put()), ask(), ask(put("n", 2))), lambda it: it.sent == [True, False, True]),
    Written("92", "a browser-session cookie is sent once", play(LAZY, ask(put()), ask(), ask(put("n", 2)), ask(READ)), lambda it: it.sent == [True, False, False, False]),
    Written("93", "rolling, new, untouched, not saveUninitialized", play(ROLLING, ask()), lambda it: it.sent == [False] and it.stored == []),
    Written("94", "rolling, new, untouched, saveUninitialized", play(EAGER | {"rolling": True}, ask()), lambda it: it.sent == [True] and len(it.stored) == 1),
    Written("95", "rolling, new, modified", play(ROLLING, ask(put())), lambda it: it.sent == [True] and len(it.stored) == 1),
    Written("96", "rolling moves Expires on a later request, with a slow body too", play(AGED | {"rolling": True}, ask(put()), ask(["write", "x"], ["advance", 1000], ["write", "y"], advance=MINUTE)), lambda it: it.expiry[1] == START + MINUTE + HOUR and it.cookies[0] != it.cookies[1] != "", both=expires_as_stored),
    Written("98", "modified after the first byte: a new session is stored, without a cookie", play(LAZY, ask(["write", "x"], put())), lambda it: it.sent == [False] and len(it.stored) == 1, ("98", "167-170")),
    Written("98", "a stored one is saved", play(LAZY, ask(put()), ask(["write", "x"], put("n", 2))), lambda it: it.data == [{"n": 2}]),
    Written("99", "the app's cookies stay, the session's is last", play(LAZY, ask(["ownCookie", "a=1; Path=/"], ["ownCookie", "b=2; Path=/"], put())), lambda it: it.answers[0]["cookies"][:2] == ["a=1; Path=/", "b=2; Path=/"] and len(it.answers[0]["cookies"]) == 3),
    Written("99", "also those given with the status line", play(LAZY, ask(put(), ["writeHead", 201, ["a=1; Path=/", "b=2; Path=/"]])), lambda it: it.status == [201] and len(it.answers[0]["cookies"]) == 3),
    Written("100", "an invalid date: a normal 200 without the cookie, and an error", play(LAZY, ask(put(), ["cookie", "expires", {"invalid": True}])), lambda it: it.status == [200] and it.sent == [False] and it.raw[0]["errors"] == 1, ours=lambda it: it.status == [200] and it.sent == [True] and it.seen == [["refused"]]),
    Written("100", "an invalid name likewise", play(LAZY | {"name": "a;b"}, ask(put())), lambda it: it.status == [200] and it.answers[0]["cookies"] == [] and it.raw[0]["errors"] == 1, ours=lambda it: it.raw == REFUSED),
    Written("101", "no Vary and no Cache-Control", play(LAZY, ask(put()), ask(READ), ask()), lambda it: it.header("vary") == it.header("cache") == [None] * 3, ours=lambda it: it.header("vary") == ["Cookie", "Cookie", None] and it.header("cache") == ["no-store", None, None]),
    Written("102", "only Expires, never Max-Age", play(AGED, ask(put())), lambda it: "Expires=" in it.cookies[0] and "Max-Age" not in it.cookies[0]),
    # 10. Secure, proxy, SameSite
    *(
        secure({"proxy": proxy, "cookie": {"secure": True}}, how, "; Secure" if https else None, lines, *([] if https else ["104"]))
        for proxy, how, https, lines in CONNECTIONS
    ),
    *(
        secure({"proxy": proxy, "cookie": AUTO}, how, "; Secure; SameSite=None" if https else "; SameSite=Lax", f"{lines}, 112, 115")
        for proxy, how, https, lines in CONNECTIONS
    ),
    Written("108", "direct TLS is secure whatever the header says", play(LAZY | {"proxy": False, "cookie": {"secure": True}}, ask(put(), connection="tls", forwarded="http")), lambda it: it.sent == [True], adapters=("asgi",)),
    Written("104", "a Secure cookie over http is not sent, but the session stored", play(LAZY | {"cookie": {"secure": True}}, ask(put())), lambda it: it.sent == [False] and len(it.stored) == 1, ("104",)),
    secure({"cookie": {"secure": "auto"}}, "http", "", "111"),
    secure({"cookie": {"secure": "auto"}}, "proxied", "; Secure", "111"),
    secure({"proxy": False, "cookie": {"secure": "auto"}}, "forwarded https", "", "110"),
    secure({"proxy": True, "cookie": AUTO}, "forwarded https", "; Secure; SameSite=None", "113"),
    secure({"proxy": True, "cookie": AUTO}, "forwarded http", "; SameSite=Lax", "113"),
    secure({"proxy": False, "cookie": AUTO}, "forwarded https", "; SameSite=Lax", "114"),
    secure({"cookie": {"secure": False, "sameSite": "auto"}}, "tls", "; SameSite=None", "116", ours=lambda it: it.raw == REFUSED),
    secure({"cookie": {"secure": False, "sameSite": "auto"}}, "http", "; SameSite=Lax", "116", ours=lambda it: it.raw == REFUSED),
    secure({"cookie": {"sameSite": "none"}}, "http", "; SameSite=None", "116", ours=lambda it: it.raw == REFUSED),
    secure({"cookie": {"secure": True, "sameSite": "auto"}}, "tls", "; Secure; SameSite=None", "117"),
    secure({"cookie": {"secure": True, "sameSite": "auto"}}, "http", None, "117", "104"),
    Written("116", "nor when it is assigned", play(LAZY, ask(put(), ["cookie", "sameSite", "none"])), lambda it: it.cookies[0].endswith("; SameSite=None"), ("116",)),
    Written("118", "'auto' is resolved when the session begins, and stays so", play(LAZY | {"cookie": AUTO, "rolling": True}, ask(put(), connection="tls"), ask(put("n", 2), cookies=[{"past": 0}])), lambda it: it.sent == [True, False], ("118, 139",)),
    secure({"cookie": {"sameSite": True}}, "http", "; SameSite=Strict", "119"),
    secure({"cookie": {"sameSite": False}}, "http", "", "119"),
    secure({"cookie": {}}, "http", "", "119"),
    secure({"cookie": {"sameSite": "strict"}}, "http", "; SameSite=Strict", "119"),
    *(
        Written(lines, "the body leaves before the save has landed", play(LAZY, ask(put()), ask(put("n", 2), ["write", "x"], inside(READ), **declared)), lambda it: it.seen[2][0]["data"] == {"n": 1}, ("167-170",))
        for lines, declared in (("168", {"declared": 3}), ("169", {}))
    ),
    Written("170", "without a body the headers wait for it", play(LAZY, ask(put(), body=None), ask(READ)), lambda it: it.seen[1][0]["data"] == {"n": 1}),
)  # fmt: skip
