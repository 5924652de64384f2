"""Scenarios for sections 11 to 15 of the contract: the cookie's options, the methods, unset, the response's end, the store."""

from __future__ import annotations

from typing import Any, Final

from tests.differential.judge import REFUSED
from tests.differential.scenario import DAY, HOUR, MINUTE, SECOND, START, Json, Scenario
from tests.differential.written import AGED, LAZY, READ, SAME, View, Written, ask, inside, play, put
from tests.differential.written_1_to_5 import FIXED

__all__ = ["WRITTEN"]

RESAVE: Final[Json] = {"resave": True, "saveUninitialized": False}
ROLLING: Final[Json] = AGED | {"rolling": True}
ENDING: Final[Json] = LAZY | {"unset": "destroy"}


def at(ms: int) -> Json:
    return {"date": ms}


def configured(lines: str, options: Json, attributes: str) -> Written:
    """A configured attribute as it is sent."""
    return Written(
        lines,
        f"{options} on the wire, and on a later request",
        play(LAZY | {"rolling": True, "cookie": options}, ask(put(), connection="tls", path="/app"), ask(connection="tls", path="/app")),
        lambda it: it.cookies == [f"connect.sid=~; {attributes}"] * 2,
    )  # fmt: skip


def refused(lines: str, title: str, options: Json, express: Any) -> Written:
    """A cookie that is refused here at construction."""
    return Written(
        lines, title, play(LAZY | {"cookie": options}, ask(put(), READ)), express, ours=lambda it: it.raw == REFUSED
    )


def planted(app: Json, lifetime: Any) -> Scenario:
    """A session of such a lifetime, which is read, read again and changed."""
    record = {"cookie": {"originalMaxAge": lifetime, "expires": lifetime, "httpOnly": True, "path": "/"}, "n": 1}
    requests = [ask(*ops, cookies=[FIXED]) for ops in ([READ], [READ], [put("n", 2)])]
    return play(app, *requests, planted=[{"id": "planted", "record": record}])


def originals(it: View) -> list[Any]:
    return [one["cookie"]["originalMaxAge"] for seen in it.seen for one in seen if "cookie" in one]


def failed(it: View) -> bool:
    """A 503 that carries nothing of the app's."""
    return it.status[-1] == 503 and it.answers[-1]["cookies"] == []


WRITTEN: Final = (
    # 11. Cookie options and object
    Written("120, 130", "path /, HttpOnly, and neither expiry nor maxAge", play(LAZY, ask(put(), READ, ["remaining"])), lambda it: it.cookies == ["connect.sid=~; Path=/; HttpOnly"] and it.seen[0][1] == {"maxAge": None, "expires": None} and originals(it) == [None]),
    refused("122", "an option called data is ignored", {"data": {"path": "/x"}}, lambda it: "Path=/;" in it.cookies[0]),
    Written("123", "a fixed date sets the expiry, and the lifetime that is left", play(LAZY | {"cookie": {"expires": at(START + HOUR)}}, ask(put(), READ, advance=MINUTE), ask(READ, advance=MINUTE)), lambda it: it.expiry[0] == START + HOUR and originals(it) == [HOUR - MINUTE] * 2),
    Written("124", "maxAge sets the expiry and counts down", play(AGED, ask(put(), ["remaining"], ["advance", MINUTE], ["remaining"])), lambda it: it.seen[0] == [{"maxAge": HOUR, "expires": START + HOUR}, {"maxAge": HOUR - MINUTE, "expires": START + HOUR}], ours=SAME),
    Written("83, 124", "on a later request it goes on counting down", play(AGED, ask(put()), ask(["remaining"], advance=MINUTE)), lambda it: it.seen[1] == [{"maxAge": HOUR - MINUTE, "expires": START + HOUR}], ("84, 85, 193",)),
    refused("125", "maxAge may be a date", {"maxAge": at(START + HOUR)}, lambda it: it.expiry == [START + HOUR]),
    *(refused("126", f"maxAge cannot be {value!r}", {"maxAge": value}, lambda it: it.raw[0]["failed"] is True) for value in ("soon", True)),
    Written("126", "nor can it become that", play(LAZY, ask(put(), *[["cookie", "maxAge", value] for value in ("soon", True)])), lambda it: it.seen == [["refused"] * 2] and it.sent == [True], ours=SAME),
    configured("127, 128", {"httpOnly": False}, "Path=/"),
    configured("127, 128", {"path": "/app"}, "Path=/app; HttpOnly"),
    configured("127, 128", {"domain": "example.com"}, "Domain=example.com; Path=/; HttpOnly"),
    configured("127, 128", {"priority": "low"}, "Path=/; HttpOnly; Priority=Low"),
    configured("127, 128", {"priority": "medium"}, "Path=/; HttpOnly; Priority=Medium"),
    configured("127, 128", {"priority": "high"}, "Path=/; HttpOnly; Priority=High"),
    configured("127, 131", {"partitioned": True}, "Path=/; HttpOnly; Partitioned"),
    configured("131", {"partitioned": False}, "Path=/; HttpOnly"),
    configured("128", {"domain": "example.com", "maxAge": HOUR, "secure": True, "partitioned": True, "priority": "high", "sameSite": "none"}, "Domain=example.com; Path=/; Expires=Sun, 15 Jun 2025 16:06:40 GMT; HttpOnly; Secure; Partitioned; Priority=High; SameSite=None"),
    Written("129", "httpOnly and secure changed on a session's cookie show up", play(LAZY, ask(put(), ["cookie", "httpOnly", False], ["cookie", "secure", True], connection="tls")), lambda it: it.cookies == ["connect.sid=~; Path=/; Secure"]),
    Written("129", "not secure there beats secure in the configuration", play(LAZY | {"cookie": {"secure": True}}, ask(put(), ["cookie", "secure", False])), lambda it: it.cookies == ["connect.sid=~; Path=/; HttpOnly"]),
    Written("132", "Expires is now and maxAge", play(AGED, ask(put())), lambda it: "Expires=Sun, 15 Jun 2025 16:06:40 GMT" in it.cookies[0]),
    Written("132, 70", "changed in a session, it is the new one", play(AGED, ask(put()), ask(put("n", 2), ["cookie", "maxAge", MINUTE]), ask(put("n", 3), advance=SECOND)), lambda it: it.expiry[1:] == [START + MINUTE, START + SECOND + MINUTE] and "15:07:40" in it.cookies[1]),
    Written("132", "beyond 2^31 ms too", play(LAZY | {"cookie": {"maxAge": 2**31 + DAY}}, ask(put())), lambda it: it.expiry == [START + 2**31 + DAY]),
    Written("133, 135", "a date assigned is what goes out", play(LAZY, ask(put(), ["advance", MINUTE], ["cookie", "expires", at(START + HOUR)], READ)), lambda it: originals(it) == [HOUR - MINUTE] and "16:06:40" in it.cookies[0]),
    Written("133", "but it is worked out anew when sent", play(LAZY, ask(put(), ["cookie", "expires", at(START + HOUR)], ["advance", MINUTE])), lambda it: it.expiry == [START + MINUTE + HOUR]),
    Written("133", "a date that has passed goes out as it is, and ends the session", play(AGED, ask(put(), ["cookie", "expires", at(START - DAY)]), ask(READ)), lambda it: "Expires=Sat, 14 Jun 2025 15:06:40 GMT" in it.cookies[0] and it.stored == [] and it.seen[1][0]["data"] == {}),
    Written("133", "so does one of long ago, of a session that lived", play(ROLLING, ask(put()), ask(["cookie", "expires", at(0)]), ask(READ)), lambda it: "Expires=Thu, 01 Jan 1970 00:00:00 GMT" in it.cookies[1] and it.stored == []),
    Written("123, 133", "and a fixed date of the configuration", play(LAZY | {"cookie": {"expires": at(START - DAY)}}, ask(put())), lambda it: "Expires=Sat, 14 Jun 2025 15:06:40 GMT" in it.cookies[0] and it.stored == []),
    Written("134", "null makes a browser-session cookie, which is not sent again", play(AGED, ask(put(), ["cookie", "expires", None]), ask(), ask(put("n", 2))), lambda it: "Expires" not in it.cookies[0] and it.sent == [True, False, False]),
    Written("134", "false does the same", play(AGED, ask(put(), ["cookie", "expires", False])), lambda it: it.cookies == ["connect.sid=~; Path=/; HttpOnly"], ours=lambda it: it.seen == [["refused"]] and "Expires" in it.cookies[0]),
    Written("134, 139", "a record without a lifetime is a browser session, whatever is configured", planted(AGED, None), lambda it: it.sent == [False] * 3 and it.data == [{"n": 2}]),
    Written("134, 139", "and so is one with false", planted(AGED, False), lambda it: it.cookies == ["", "", "connect.sid=~; Path=/; HttpOnly"] and it.data == [{"n": 2}], ours=lambda it: it.sent == [False] * 3 and it.data == [{"n": 2}] and it.stored[0]["lifetime"] is None),
    Written("134", "rolling sends it without an expiry", planted(ROLLING, False), lambda it: it.cookies == ["connect.sid=~; Path=/; HttpOnly"] * 3, ours=lambda it: it.cookies == ["connect.sid=~; Path=/; HttpOnly"] * 3),
    Written("135", "assigning rewrites originalMaxAge", play(AGED, ask(put(), ["cookie", "maxAge", MINUTE], READ, ["cookie", "expires", at(START + SECOND)], READ)), lambda it: originals(it) == [MINUTE, SECOND]),
    Written("136", "originalMaxAge is the configured one, also later", play(AGED, ask(put(), READ), ask(READ, advance=MINUTE), ask(READ, advance=MINUTE)), lambda it: originals(it) == [HOUR] * 3),
    Written("137", "maxAge 0: an immediate Expires, and the cookie is sent", play(LAZY | {"cookie": {"maxAge": 0}}, ask(put())), lambda it: "Expires=Sun, 15 Jun 2025 15:06:40 GMT" in it.cookies[0]),
    refused("138", "of maxAge and expires the last one wins", {"maxAge": MINUTE, "expires": at(START + HOUR)}, lambda it: it.expiry == [START + HOUR]),
    Written("139", "a live session keeps the lifetime that it began with", play([LAZY | {"cookie": {"maxAge": MINUTE}}, AGED], ask(put(), app=1), ask(put("n", 2))), lambda it: it.expiry[1] == START + HOUR, ("118, 139",), lambda it: it.sent == [True, True]),
    Written("140", "a function of the request gives the options", play(LAZY | {"cookie": {"function": {"path": "/app", "maxAge": MINUTE}}}, ask(put(), path="/app"), ask(READ, path="/other")), lambda it: "Path=/app" in it.cookies[0] and it.expiry[0] == START + MINUTE and it.seen[1] == ["no session"] and it.raw[0]["asked"] == 2),
    Written("141", "it cannot give 'auto': over http there is no cookie", play(LAZY | {"cookie": {"function": {"secure": "auto"}}}, ask(put())), lambda it: it.sent == [False], ("141",)),
    Written("141", "and SameSite 'auto' is an error", play(LAZY | {"cookie": {"function": {"secure": "auto", "sameSite": "auto"}}}, ask(put(), connection="tls")), lambda it: it.sent == [False] and it.raw[0]["errors"] == 1, ("141",)),
    # 12. Methods
    Written("142, 166", "destroy: gone from the request at once; no Set-Cookie, 200", play(ROLLING, ask(put()), ask(["destroy"], READ), ask(READ, cookies=[{"past": 0}])), lambda it: it.seen[1:] == [["no session"], [{**it.seen[2][0], "data": {}}]] and it.status == [200] * 3 and it.sent[1] is False and it.stored == [], ("142, 166",)),
    Written("143", "destroy and the end: no save and no touch", play(RESAVE, ask(put()), ask(put("n", 2), ["destroy"])), lambda it: it.stored == [], ("142, 166",), both=lambda it: it.calls[1] == ["get", "destroy"]),
    Written("143", "under unset destroy the store deletes twice", play(ENDING, ask(put()), ask(["destroy"])), lambda it: it.calls[1] == ["get", "destroy", "destroy"], ours=lambda it: it.calls[1] == ["get", "destroy"] and it.stored == []),
    Written("144, 179", "saving what was destroyed brings it back", play(LAZY, ask(put()), ask(["hold"], ["destroy"], ["held", "save"])), lambda it: it.data == [{"n": 1}], ours=lambda it: it.stored == [] and it.cookies[1].startswith("connect.sid=~; Path=/; Expires=Thu, 01 Jan 1970")),
    Written("145, 64", "regenerate: a new id and cookie, the old record gone, the data empty", play(LAZY, ask(put()), ask(["hold"], ["regenerate"], READ, put("m"), ["store"])), lambda it: it.ids[0] != it.ids[1] and it.seen[1][0]["data"] == {} and it.data == [{"m": 1}], ("143-147, 160",)),
    Written("145", "also where nothing is put into it", play(LAZY, ask(put()), ask(["regenerate"])), lambda it: it.sent == [True, True] and it.data == [{}], ("43, 48",)),
    Written("145", "the old record goes at once", play(LAZY, ask(put()), ask(["regenerate"], ["store"], put("m"))), lambda it: it.seen[1] == [[]], ("143-147, 160",)),
    Written("146", "regenerate loses the session's own lifetime", play(AGED, ask(put(), ["cookie", "maxAge", MINUTE]), ask(["regenerate"], put("m"))), lambda it: it.stored[0]["lifetime"] == HOUR),
    Written("147", "with a failing delete a new session exists anyway", play(LAZY, ask(put()), ask(["regenerate"], put("m"), faults=["destroy"])), lambda it: it.seen[1] == ["error"] and len(it.stored) == 2 and it.sent[1], ours=lambda it: failed(it) and it.data == [{"n": 1}]),
    Written("148", "regenerate and save are two writes", play(LAZY, ask(put()), ask(["regenerate"], put("m"), ["save"])), lambda it: it.calls[1] == ["get", "destroy", "set", "set"], ours=lambda it: it.calls[1][:3] == ["get", "destroy", "set"] and it.calls[1].count("set") == 1 and it.data == [{"m": 1}] and it.sent[1]),
    Written("149", "reload brings in another's write and discards one's own", play(LAZY, ask(put("a", 1)), ask(put("b", 1), inside(put("c", 1)), ["reload"], READ)), lambda it: it.seen[1][1]["data"] == {"a": 1, "c": 1} and it.data == [{"a": 1, "c": 1}]),
    Written("150", "on a missing record it is an error, and the old object stays", play(LAZY, ask(put(), ["reload"], READ)), lambda it: it.seen[0][0] == "missing" and it.seen[0][1]["data"] == {"n": 1}),
    Written("151", "repeated from its own error callback it piles nothing up", play(LAZY, ask(put(), ["reload", 2000])), lambda it: it.seen == [["missing"]] and it.status == [200]),
    Written("152", "it yields another object for the same id", play(LAZY, ask(put()), ask(["hold"], ["same"], ["reload"], ["same"], READ)), lambda it: it.seen[1][:3] == [True, "ok", False] and it.seen[1][3]["id"] == it.ids[0], ("152",)),
    Written("152", "a change back to what was loaded first is lost then", play(LAZY, ask(put("n", 1)), ask(inside(put("n", 2)), ["reload"], put("n", 1))), lambda it: it.data == [{"n": 2}], ("152",)),
    Written("153", "after save the record can be read", play(LAZY, ask(put(), ["save"], ["fetch"])), lambda it: it.seen == [["ok", {"data": {"n": 1}}]]),
    *(
        Written("154", f"save and the end are one save, {options}", play(options, ask(put(), ["save"]), ask(put("n", 2), ["save"])), lambda it: it.data == [{"n": 2}], both=lambda it: [calls.count("set") for calls in it.calls] == [1, 1])
        for options in (LAZY, RESAVE, {"resave": True, "saveUninitialized": True})
    ),
    Written("154", "also after a reload", play(RESAVE, ask(put()), ask(put("n", 2), ["save"], ["reload"], put("n", 3), ["save"])), lambda it: it.data == [{"n": 3}], both=lambda it: it.calls[1].count("set") == 2),
    Written("156", "a failing save is told to its callback, and not tried again", play(LAZY, ask(put()), ask(put("n", 2), ["faults", "set"], ["save"], ["faults"])), lambda it: it.seen[1] == ["error"] and it.status == [200, 200] and it.data == [{"n": 1}], ours=lambda it: it.seen[1] == ["error"] and it.status == [200, 200] and it.data == [{"n": 2}]),
    Written("157", "save without a callback", play(LAZY, ask(put(), ["saveAndGoOn"])), lambda it: it.data == [{"n": 1}], ours=SAME),
    Written("158", "touch moves the stored expiry", play(AGED, ask(put()), ask(["touch"], advance=MINUTE)), lambda it: it.expiry == [START + HOUR, START + MINUTE + HOUR]),
    Written("159", "of two requests that change different keys the last one wins", play(LAZY, ask(put("a", 1)), ask(put("b", 1), inside(put("c", 1)))), lambda it: it.data == [{"a": 1, "b": 1}], ("159",)),
    Written("159", "resave overwrites another's change", play(RESAVE, ask(put("a", 1)), ask(READ, inside(put("c", 1)))), lambda it: it.data == [{"a": 1}], ("159",)),
    Written("160, 179, 197", "a modified request brings a destroyed session back", play(LAZY, ask(put()), ask(put("n", 2), inside(["destroy"]))), lambda it: it.data == [{"n": 2}], ("143-147, 160", "142, 166")),
    Written("160, 190, 197", "a touch does not", play(LAZY, ask(put()), ask(READ, inside(["destroy"]))), lambda it: it.stored == [], ("142, 166",)),
    Written("159", "here each keeps what it changed", play(LAZY, ask(put("n", 1), put("l", [0]), put("o", {"a": 1}), put("both", 0)), ask(["increment", "n", 10], ["append", ["l"], 1], ["set", ["o", "b"], 1], put("both", 1), inside(["increment", "n", 100], ["append", ["l"], 2], ["set", ["o", "c"], 1], put("both", 2)))), lambda it: it.data == [{"n": 11, "l": [0, 1], "o": {"a": 1, "b": 1}, "both": 1}], ours=lambda it: it.data == [{"n": 111, "l": [0, 2, 1], "o": {"a": 1, "b": 1, "c": 1}, "both": 1}]),
    Written("145, 160", "what begins after the session was found ended is stored", play(LAZY, ask(put()), ask(put("n", 2), inside(["destroy"]), ["save"], ["regenerate"], put("m"))), lambda it: it.seen[1] == ["ok"] and it.data == [{"m": 1}] and it.sent[1], ("143-147, 160", "142, 166", "155, 148")),
    Written("160, 191", "what was saved and has ended sends no cookie", play(LAZY, ask(put(), ["save"], ["advance", DAY], put("n", 2), ["save"])), lambda it: it.sent == [True] and it.data == [{"n": 2}], ("143-147, 160", "155, 148", "189, 191")),
    # 13. unset
    *(
        Written("161, 164", f"keep and {how}: the record stays, this request's changes are dropped", play(ROLLING, ask(put()), ask(put("n", 2), ["unset", how], READ, advance=MINUTE)), lambda it: it.data == [{"n": 1}] and it.expiry[1] == START + HOUR and it.sent == [True, False], both=lambda it: it.calls[1] == ["get"])
        for how in ("null", "delete", "undefined")
    ),
    *(
        Written("162, 164, 166", f"destroy and {how}: the record is deleted", play(ENDING, ask(put()), ask(["unset", how])), lambda it: it.stored == [] and it.sent == [True, False], ("142, 166",), both=lambda it: it.calls[1] == ["get", "destroy"])
        for how in ("null", "delete", "undefined")
    ),
    Written("163", "destroy and null on a new session: no cookie, nothing stored", play(ENDING | {"saveUninitialized": True}, ask(put(), ["unset"])), lambda it: it.sent == [False] and it.stored == [] and it.calls == [["destroy"]]),
    Written("165", "a failing destroy: the response is delivered, then an error", play(ENDING, ask(put()), ask(["unset"], faults=["destroy"])), lambda it: it.status == [200, 200] and it.raw[1]["errors"] == 1, ours=lambda it: failed(it) and it.data == [{"n": 1}]),
    # 14. Ending the response
    Written("167", "a plain body", play(LAZY, ask(put(), body="hello")), lambda it: it.answers[0]["body"] == "hello"),
    Written("167, 172", "none, with its length declared", play(LAZY, ask(put(), body=None, declared=0)), lambda it: it.answers[0]["body"] == "" and it.sent == [True]),
    Written("167", "one piece, with its length declared", play(LAZY, ask(put(), body="hello", declared=5)), lambda it: it.answers[0]["body"] == "hello"),
    Written("167", "several, with their length declared", play(LAZY, ask(put(), ["write", "he"], ["write", "l"], body="lo", declared=5)), lambda it: it.answers[0]["body"] == "hello", ()),
    Written("172", "ending with null", play(LAZY, ask(put(), body=None)), lambda it: it.answers[0]["body"] == "" and it.sent == [True]),
    Written("175", "a failing save: body, status and cookie are delivered, then an error", play(LAZY, ask(["status", 201], put(), faults=["set"])), lambda it: it.status == [201] and it.sent == [True] and it.raw[0]["errors"] == 1, ours=lambda it: failed(it) and it.stored == []),
    Written("176", "a failing touch: the response is delivered, then an error", play(LAZY, ask(put()), ask(faults=["touch"])), lambda it: it.status == [200, 200] and it.raw[1]["errors"] == 1, ours=lambda it: failed(it) and it.data == [{"n": 1}]),
    # 15. Store contract
    Written("191", "without an expiry a session never ends", play(LAZY, ask(put()), ask(READ, advance=2 * DAY)), lambda it: it.seen[1][0]["data"] == {"n": 1}, ("189, 191",)),
    Written("189", "an expired one is no longer listed", play(AGED, ask(put()), ask(["store"], cookies=[], advance=HOUR)), lambda it: it.seen[1] == [[]]),
)  # fmt: skip
