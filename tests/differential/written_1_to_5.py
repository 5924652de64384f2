"""Scenarios for sections 1 to 5 of the contract: construction, entering a request, the cookie, loading, the session object."""

from __future__ import annotations

from typing import Final

from tests.differential.judge import REFUSED
from tests.differential.scenario import DAY, HOUR, OLD_SECRET, SECRET, START, Json
from tests.differential.written import AGED, LAZY, READ, SAME, View, Written, ask, inside, play, put

__all__ = ["WRITTEN"]

APP: Final = LAZY | {"cookie": {"path": "/foo"}}
PLANTED: Final[Json] = {"originalMaxAge": None, "expires": None, "httpOnly": True, "path": "/"}
# "planted", signed with SECRET by the Node package cookie-signature.
FIXED: Final = "connect.sid=s%3Aplanted.2dZSbxc6xKeO1llBY8dq00M19O%2BduTMR%2F1GAEte5G1s"


def refused(outcome: View) -> bool:
    return outcome.raw == REFUSED


def has_session(outcome: View) -> list[bool]:
    return [seen != ["no session"] for seen in outcome.seen]


def holding(*spoils: str) -> list[Json]:
    return [{"past": 0, "spoil": spoil} for spoil in spoils]


WRITTEN: Final = (
    # 1. Construction and options
    Written("3", "genid that is no function is refused", play({"genid": "abc"}), refused, ours=SAME),
    Written("4", "unset is keep or destroy", play({"unset": "delete"}), refused, ours=SAME),
    Written("5", "an empty list of secrets is refused", play({"secret": []}), refused, ours=SAME),
    Written(
        "6", "no secret at all", play({"secret": None} | LAZY, ask(put())), lambda it: it.status == [503], ours=refused
    ),
    Written(
        "7",
        "a secret that the request brings",
        play({"secret": None} | LAZY, ask(put(), parsed={"secret": SECRET})),
        lambda it: it.status == [200] and len(it.stored) == 1,
        ours=refused,
    ),
    Written("8", "a single secret", play({"secret": SECRET} | LAZY, ask(put()), ask(READ)), lambda it: it.seen[1][0]["data"] == {"n": 1}),
    Written("8", "a secret of bytes", play({"secretBytes": SECRET} | LAZY, ask(put()), ask(READ)), lambda it: it.seen[1][0]["data"] == {"n": 1}),
    Written("9, 13", "saveUninitialized is true unless given", play({"resave": False}, ask()), lambda it: it.sent == [True], ("9, 12, 13",)),
    Written(
        "9, 12",
        "resave is true unless given",
        play({"saveUninitialized": False}, ask(put()), ask(inside(put("m")), READ)),
        lambda it: it.calls[1] == ["get", "get", "set", "set"] and it.data == [{"n": 1}],
        ("9, 12, 13",),
    ),
    Written(
        "10",
        "name wins over its alias key",
        play(LAZY | {"name": "a.sid", "key": "b.sid"}, ask(put())),
        lambda it: it.cookies[0].startswith("a.sid="),
        ours=refused,
    ),
    Written("11", "the cookie is called connect.sid", play(LAZY, ask(put())), lambda it: it.cookies[0].startswith("connect.sid=~;")),
    Written("11", "or as it is told", play(LAZY | {"name": "x-1"}, ask(put()), ask(READ)), lambda it: it.cookies[0].startswith("x-1=~;") and it.seen[1][0]["keys"] == ["n"]),
    Written("14", "rolling is off", play(AGED, ask(put()), ask(READ)), lambda it: it.sent == [True, False]),
    Written("14, 161", "unset is keep", play(LAZY, ask(put()), ask(["unset"])), lambda it: len(it.stored) == 1),
    Written(
        "15",
        "of two middlewares on a store the last one's cookie options hold",
        play([AGED, LAZY | {"cookie": {"maxAge": 2 * HOUR}}], ask(put())),
        lambda it: it.stored[0]["lifetime"] == 2 * HOUR,
        ("15",),
    ),
    # 2. Entering a request
    Written("16", "a session on the request already is left alone", play({"resave": False, "saveUninitialized": True}, ask(session={"other": 1})), lambda it: it.sent == [False] and it.stored == [], ("16",)),
    Written("16, 86", "two middlewares on a request are one session", play(LAZY, ask(put(), READ, also=[0])), lambda it: it.sent == [True], both=lambda it: it.calls == [["set"]]),
    Written(
        "17",
        "with the store disconnected there is silently no session",
        play(LAZY, ask(put()), ask(READ, down=True)),
        lambda it: it.status == [200, 200] and it.seen[1] == ["no session"] and it.calls[1] == [],
        ours=lambda it: it.status == [200, 503] and it.header("handled") == [True, False],
    ),
    Written(
        "17",
        "nor for those who have none yet",
        play(LAZY, ask(put(), down=True)),
        lambda it: it.status == [200] and it.seen == [["no session"]] and it.stored == [],
        ours=lambda it: it.status == [503] and it.sent == [False] and it.stored == [],
    ),
    Written(
        "17, 18, 182",
        "when it is connected again, sessions resume",
        play(LAZY, ask(put()), ask(READ, down=True), ask(READ)),
        lambda it: it.seen[2][0]["data"] == {"n": 1},
        ours=lambda it: it.seen[2][0]["data"] == {"n": 1},
    ),
    Written("19, 20, 31", "outside of the path neither cookie nor store is looked at", play(APP, ask(put(), path="/foo"), ask(READ, path="/bar", cookies=holding("not"))), lambda it: has_session(it) == [True, False], both=lambda it: it.calls[1] == []),
    Written("20, 23, 25", "the path itself and what is below it", play(APP, *(ask(READ, path=path) for path in ("/foo", "/foo/", "/foo/bar", "/foo?x", "/fo", "/", "/FOO", "/bar/foo"))), lambda it: has_session(it) == [True] * 4 + [False] * 4),
    Written("21", "the path that counts is the original one", play(LAZY | {"cookie": {"path": "/mount/app"}}, ask(READ, mount="/mount", path="/app/x"), ask(READ, path="/app/x")), lambda it: has_session(it) == [True, False]),
    Written("22", "a host that resembles the path does not count", play(APP, ask(READ, path="/bar", host="foo")), lambda it: has_session(it) == [False]),
    Written("24", "a raw prefix matches", play(APP, ask(READ, path="/foobar")), lambda it: has_session(it) == [True], ("24",)),
    Written("25", "an empty URL is the root", play(LAZY, ask(READ, bare=True)), lambda it: has_session(it) == [True]),
    Written("26", "without a usable cookie the store is not asked", play(LAZY, ask(READ)), both=lambda it: it.calls == [[]]),
    Written("27, 56, 60, 184", "the store answers a session by the handler's id", play(LAZY, ask(put()), ask(["fetch"], ["fetch", "unknown"])), lambda it: it.seen[1] == [{"data": {"n": 1}}, "missing"]),
    Written("28", "the session is loaded before the handler runs", play(LAZY, ask(put()), ask()), both=lambda it: it.calls[1][0] == "get"),
    # 3. Reading the cookie
    Written("29", "only the Cookie header is read", play(LAZY, ask(put()), ask(READ, path=f"/?{FIXED}", cookies=[])), lambda it: it.seen[1][0]["data"] == {}),
    Written("30, 31, 32", "what is not rightly signed is ignored, and the store not asked", play(LAZY, ask(put()), *(ask(put("m"), cookies=holding(spoil)) for spoil in ("signature", "id", "marker", "unsigned", "empty", "alone", "twice", "torn"))), lambda it: len(set(it.ids)) == 9, both=lambda it: all("get" not in calls for calls in it.calls)),
    Written("32", "nor does the header's form matter", play(LAZY, *(ask(READ, cookies=[text]) for text in ("", ";", "=", "connect.sid", "connect.sid=", "connect.sid==", ";;connect.sid=s:"))), lambda it: it.status == [200] * 7),
    Written("30, 33", "quoted, blank around, or not percent-encoded, it is the same cookie", play(LAZY, ask(put()), *(ask(READ, cookies=holding(spoil)) for spoil in ("quoted", "blanks", "plain"))), lambda it: all(it.seen[n][0]["data"] == {"n": 1} for n in (1, 2, 3))),
    Written("33", "the signature is the one of cookie-signature", play(LAZY, ask(READ, cookies=[FIXED]), planted=[{"id": "planted", "record": {"cookie": PLANTED, "n": 1}}]), lambda it: it.seen[0][0]["data"] == {"n": 1}),
    Written("34", "all secrets verify", play([LAZY | {"secret": [OLD_SECRET]}, LAZY | {"secret": [SECRET, OLD_SECRET]}], ask(put()), ask(READ, app=1)), lambda it: it.seen[1][0]["data"] == {"n": 1}, ("35",)),
    Written("34", "only the first signs", play([LAZY | {"secret": [SECRET, OLD_SECRET]}, LAZY | {"secret": [OLD_SECRET]}], ask(put()), ask(READ, app=1)), lambda it: it.seen[1][0]["data"] == {}),
    Written("35", "a cookie under an older secret is not signed anew", play([LAZY | {"secret": [OLD_SECRET]}, LAZY | {"secret": [SECRET, OLD_SECRET]}], ask(put()), ask(app=1)), lambda it: it.sent == [True, False], ("35",)),
    Written("36", "of two cookies of the name the first is used, even if bad", play(LAZY, ask(put()), ask(READ, cookies=holding("signature", "not"))), lambda it: it.seen[1][0]["data"] == {}, ("36",)),
    Written("36", "and a good first one is used as well", play(LAZY, ask(put()), ask(READ, cookies=holding("not", "signature"))), lambda it: it.seen[1][0]["data"] == {"n": 1}),
    Written("38", "a signed value that cookie-parser left is read", play(LAZY, ask(put()), ask(READ, cookies=[], parsed={"cookies": {"past": 0}})), lambda it: it.seen[1][0]["data"] == {"n": 1}, ours=lambda it: it.seen[1][0]["data"] == {} and it.calls[1] == []),
    Written("39", "an unsigned one is not", play(LAZY, ask(put()), ask(READ, cookies=[], parsed={"cookies": {"past": 0, "spoil": "unsigned"}})), lambda it: it.seen[1][0]["data"] == {}),
    Written("40", "nor one that is badly signed", play(LAZY, ask(put()), ask(READ, cookies=[], parsed={"cookies": {"past": 0, "spoil": "signature"}})), lambda it: it.seen[1][0]["data"] == {}),
    Written("41", "what cookie-parser verified is trusted", play(LAZY, ask(put()), ask(READ, cookies=[], parsed={"signedCookies": {"past": 0}})), lambda it: it.seen[1][0]["data"] == {"n": 1}, ours=lambda it: it.seen[1][0]["data"] == {} and it.calls[1] == []),
    # 4. Loading
    Written("42", "what was stored is there on the next request", play(LAZY, ask(put("a", {"b": [1, None, "ü☕"]}), put("c", 1.5)), ask(READ)), lambda it: it.seen[1][0]["data"] == {"a": {"b": [1, None, "ü☕"]}, "c": 1.5}),
    Written("43", "two clients have two sessions", play(LAZY, ask(put("n", 0)), ask(put("n", 1), client=1), clients=2), lambda it: [record["n"] for record in it.data] == [0, 1] and it.ids == ["#0", "#1"]),
    Written("43", "parallel first requests of one client have one each", play(LAZY, ask(put("n", 0), inside(put("n", 1), inside(put("n", 2))))), lambda it: len(it.stored) == 3),
    Written("44", "a store's error in get goes to the app, and the handler does not run", play(LAZY, ask(put()), ask(READ, faults=["get"])), lambda it: it.status[1] == 503 and not it.header("handled")[1], ours=SAME),
    Written("46, 47, 48", "an id that was not issued is never adopted", play(LAZY, ask(READ, cookies=[{"sign": "unissued"}]), ask(put(), cookies=[{"sign": "unissued"}])), lambda it: it.sent == [False, True] and it.stored[0]["id"] != "unissued" and it.ids[1] == it.stored[0]["id"], both=lambda it: it.raw_id(1) != "unissued"),
    Written("49, 189", "an expired session is a new one under another id", play(AGED, ask(put()), ask(READ, put("m"), cookies=[{"past": 0}], advance=HOUR)), lambda it: it.seen[1][0]["data"] == {} and it.ids[0] != it.ids[1] and it.data == [{"m": 1}]),
    Written("49", "and it lives until then", play(AGED, ask(put()), ask(READ, cookies=[{"past": 0}], advance=HOUR - 1)), lambda it: it.seen[1][0]["data"] == {"n": 1}),
    Written("50", "a record without its cookie part", play(LAZY, ask(READ, put("m"), cookies=[FIXED]), planted=[{"id": "planted", "record": {"n": 1}}]), lambda it: it.status == [503], ("50, 53",)),
    Written("50", "a record that is no JSON", play(LAZY, ask(READ, cookies=[FIXED]), planted=[{"id": "planted", "text": "certainly not"}]), lambda it: it.status == [503], ours=lambda it: it.seen[0][0]["data"] == {}),
    Written("51", "keys that collide with methods are skipped", play(LAZY, ask(READ, ["touch"], ["save"], ["reload"], READ, cookies=[FIXED]), planted=[{"id": "planted", "record": {"cookie": PLANTED, "n": 1, "save": 1, "touch": 2, "id": 3, "hasOwnProperty": 4}}]), lambda it: it.seen[0][0]["data"] == {"n": 1} and it.seen[0][1:3] == ["ok", "ok"], ("155, 148", "51")),
    Written("51", "and that counts as a change", play(LAZY, ask(cookies=[FIXED]), planted=[{"id": "planted", "record": {"cookie": PLANTED, "n": 1, "save": 1}}]), lambda it: it.data == [{"n": 1}], ("51",)),
    Written("53", "an expiry that is no date", play(LAZY, ask(READ, cookies=[FIXED]), planted=[{"id": "planted", "record": {"cookie": {**PLANTED, "expires": "never"}, "n": 1}}]), lambda it: it.status == [200] and it.seen[0][0]["data"] == {"n": 1}, ours=SAME),
    # 5. The session object
    Written("54", "its keys are the data's, and cookie", play(LAZY, ask(put("b"), put("a"), ["keys"])), lambda it: set(map(tuple, it.seen[0][0].values())) == {("a", "b", "cookie")}, ours=lambda it: set(map(tuple, it.seen[0][0].values())) == {("a", "b")}),
    Written("55", "assigning id does nothing", play(LAZY, ask(put(), ["assignId"], READ)), lambda it: it.seen[0][0]["id"] == it.ids[0], ours=lambda it: it.seen[0][0] == "refused" and it.seen[0][1]["id"] == it.ids[0]),
    Written("57", "touch returns the session", play(LAZY, ask(put(), ["touch"])), lambda it: it.seen == [[]]),
    Written("58", "replacing it with a plain mapping fails", play(LAZY, ask(put()), ask(["replace", {"m": 1}]), ask(READ)), lambda it: bool(it.header("failed")[1]) and it.data == [{"n": 1}], ("58",)),
    Written("59", "an id that is no text is neither sent nor stored", play(LAZY | {"genid": [5]}, ask(put())), lambda it: it.status == [200] and it.sent == [False] and it.stored == [], ours=SAME),
    Written("60", "writes survive to the next request", play(LAZY, ask(put()), ask(["increment", "n", 1]), ask(READ)), lambda it: it.seen[2][0]["data"] == {"n": 2}),
    Written("185", "a stored lifetime is revived", play(AGED, ask(READ, cookies=[FIXED]), planted=[{"id": "planted", "record": {"cookie": {**PLANTED, "originalMaxAge": DAY, "expires": "2025-06-15T16:06:40.400Z"}, "n": 1}}]), lambda it: START < START + DAY == it.expiry[0] and it.seen[0][0]["cookie"]["originalMaxAge"] == DAY),
)  # fmt: skip
