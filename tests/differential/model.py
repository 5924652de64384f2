"""A model of express-session, with our differences as switches: what an outcome has to be.

It follows express-session's index.js where nothing is said. `Model.differs` is asked wherever an exemption applies.
"""

from __future__ import annotations

import json
from collections.abc import Container
from itertools import count

from msgspec import Raw

from sojourn.codecs import Members, dumps, join, loads
from sojourn.core.merge import merge
from tests.differential import operations
from tests.differential.exemptions import EXEMPTIONS, UNLISTED
from tests.differential.model_state import (
    ATTRIBUTES,
    LIFETIME,
    METHODS,
    Record,
    Session,
    Visit,
    set_cookie,
    verified,
    visible,
)
from tests.differential.scenario import DAY, Json, Op, Request, Scenario
from tests.differential.worlds import Id, World, clone, cookie_options, drive, record_of

__all__ = ["ALL", "Model"]


ALL = frozenset(one.lines for one in (*EXEMPTIONS, *UNLISTED) if one.modelled)


def texts(data: dict[str, Json]) -> Members:
    return {name: Raw(dumps(value)) for name, value in data.items()}


class Model(World):
    """Plays a scenario as Express, but for the exemptions given."""

    def __init__(self, scenario: Scenario, exemptions: Container[str] = ()) -> None:
        super().__init__(scenario)
        self._exemptions = exemptions
        self.met: set[str] = set()
        """The exemptions that applied."""
        self._drawn = count()
        self._versions = count(1)
        self.records: dict[str, Record] = {}
        for one in scenario.get("planted", []):
            self._plant(one)

    def differs(self, lines: str) -> bool:
        """Note that an exemption applies. True if our way is to be taken."""
        self.met.add(lines)
        return lines in self._exemptions

    @staticmethod
    def text(data: Json) -> str:
        """What tells whether data have changed, the order of keys included."""
        return json.dumps(data)

    def outcome_of(self) -> list[Json]:
        return drive(self.play())

    # -- the store ----------------------------------------------------------------------------------------------------

    def _plant(self, one: Json) -> None:
        tree = one.get("record")
        if tree is None or "cookie" not in tree:
            self.records[one["id"]] = Record({}, {}, None, self.clock() + DAY, True, None, 0, broken=True)
            return
        data = {name: value for name, value in tree.items() if name != "cookie"}
        cookie = dict(tree["cookie"])
        lifetime, expires = cookie.pop(LIFETIME, None), cookie.pop("expires", None)
        record = Record(data, ATTRIBUTES | {"httpOnly": False} | cookie, lifetime, self.clock() + DAY, True, None, 0)
        if expires is not None:
            record.deadline, record.soft = self.clock() + lifetime, False
        self.records[one["id"]] = record

    def live(self, session_id: str) -> Record | None:
        record = self.records.get(session_id)
        if record is None or record.deadline > self.clock():
            return record
        return record if record.soft and not self.differs("189, 191") else None

    def stored(self) -> list[Json]:
        return [
            {"id": Id(key), "broken": True}
            if record.broken
            else record_of(
                key, {"cookie": {**record.cookie, LIFETIME: record.lifetime}, **record.data}, record.deadline
            )
            for key, record in self.records.items()
            if self.live(key) is not None
        ]

    def write(self, session: Session) -> None:
        """Express's set: an upsert."""
        fresh = None if session.lifetime is None else self.clock() + session.lifetime
        expires = session.expires
        if expires != fresh and self.differs("84, 85, 193"):
            expires = fresh
        self.records[session.id] = Record(
            clone(session.data),
            dict(session.cookie),
            session.lifetime,
            self.clock() + DAY if expires is None else expires,
            expires is None,
            {name: session.cookie.get(name, value) for name, value in session.overrides.items()},
            next(self._versions),
        )

    # -- entering -----------------------------------------------------------------------------------------------------

    def configured(self, app: Json, secure: bool) -> tuple[Json, int | None, Json]:
        """The cookie of a new session: its attributes, lifetime and overrides."""
        options = cookie_options(app)
        answered = (app.get("cookie") or {}).get("function")
        cookie = ATTRIBUTES | {name: value for name, value in options.items() if name not in ("maxAge", "expires")}
        if "auto" in (cookie["secure"], cookie["sameSite"]) and (answered is None or self.differs("141")):
            if cookie["sameSite"] == "auto":
                cookie["sameSite"] = "none" if secure else "lax"
            if cookie["secure"] == "auto":
                cookie["secure"] = secure
        lifetime = options.get("maxAge")
        if "expires" in options:
            lifetime = options["expires"]["date"] - self.clock()
            return cookie, lifetime, {LIFETIME: lifetime}
        return cookie, lifetime, {}

    def is_secure(self, app: Json, request: Request) -> bool:
        connection, proxy = request.get("connection", "http"), app.get("proxy")
        if connection == "tls" or proxy is False:
            return connection == "tls"
        if proxy is None:
            return connection == "proxied"
        return connection == "proxied" or request.get("forwarded", "").split(",")[0].strip().lower() == "https"

    def begin(self, visit: Visit) -> Session:
        """A new session."""
        app, secure = visit.app, visit.secure
        last = self.apps[-1]
        if app is not last and not self.differs("15"):
            app, secure = last, self.is_secure(last, visit.request)
        cookie, lifetime, overrides = self.configured(app, secure)
        expires = None if lifetime is None else self.clock() + lifetime
        return Session(f"id-{next(self._drawn)}", {}, cookie, lifetime, expires, overrides)

    def revive(self, visit: Visit, session_id: str, record: Record) -> Session:
        cookie, lifetime, overrides = dict(record.cookie), record.lifetime, record.overrides
        fresh, configured, _ = self.configured(visit.app, visit.secure)
        if overrides is None:
            overrides = {LIFETIME: lifetime} if lifetime != configured else {}
        fresh |= {name: value for name, value in overrides.items() if name != LIFETIME}
        if fresh["sameSite"] == "none" and not fresh["secure"]:  # the two never met when they were set
            fresh["sameSite"] = "lax"
        configured = overrides.get(LIFETIME, configured)
        if (visible(fresh), configured) != (visible(cookie), lifetime) and self.differs("118, 139"):
            cookie, lifetime = fresh, configured
        expires = None if record.soft else record.deadline
        data = {name: value for name, value in clone(record.data).items() if name not in METHODS}
        return Session(session_id, data, cookie, lifetime, expires, dict(overrides))

    def enter(self, visit: Visit, cookies: str | None) -> None:
        app, request = visit.app, visit.request
        at = cookie_options(app).get("path", "/")
        path = (request.get("mount", "") + request.get("path", "/")).partition("?")[0] or "/"
        inside = path.startswith(at)
        matches = inside and (at.endswith("/") or path[len(at) : len(at) + 1] in ("", "/"))
        if not inside or (not matches and self.differs("24")):
            return
        if request.get("session") is not None and not self.differs("16"):
            return
        given, eager = app.get("resave"), app.get("saveUninitialized")
        visit.resave = not self.differs("9, 12, 13") if given is None else given
        visit.eager = not self.differs("9, 12, 13") if eager is None else eager
        brought = verified(app, cookies or "")
        ids = [one for one in brought[:1] if one is not None]
        rest = list(dict.fromkeys(one for one in brought if one is not None))
        if rest != ids and not (ids and self.live(ids[0][0])) and self.differs("36"):
            ids = rest
        visit.cookie_id = ids[0][0] if ids else None
        visit.brought = [one[0] for one in rest]
        if visit.brought:
            visit.has = self.configured(app, visit.secure)[0]
        for session_id, stale in ids:
            record = self.live(session_id)
            if record is None:
                continue
            if record.broken:
                if self.differs("50, 53"):
                    break
                visit.status, visit.failed = 503, True
                return
            visit.session, visit.stale, visit.cookie_id = self.revive(visit, session_id, record), stale, session_id
            self.adopt(visit, visit.session, record)
            skipped = visit.session.data != record.data and not self.differs("51")
            visit.original = self.text(record.data if skipped else visit.session.data)
            visit.saved = None if visit.resave else visit.original
            break
        else:
            record = None
        if visit.session is None:
            visit.session = self.begin(visit)
            visit.initial = dict(visit.session.overrides)
            visit.cookie_id = None if record is not None else visit.cookie_id
            visit.original = self.text(visit.session.data)
        visit.session_id = visit.original_id = visit.session.id

    def adopt(self, visit: Visit, session: Session, record: Record) -> None:
        """Note that this is what lies in the store."""
        visit.base, visit.version, visit.stored = clone(session.data), record.version, session.id
        visit.left = record.deadline - self.clock()
        visit.initial, visit.has, visit.increments = dict(session.overrides), dict(session.cookie), {}

    # -- leaving ------------------------------------------------------------------------------------------------------

    def modified(self, visit: Visit) -> bool:
        session = visit.session
        assert session is not None
        if visit.original_id != session.id or visit.original != self.text(session.data):
            return True
        return session.overrides != visit.initial and self.differs("70")

    def should_save(self, visit: Visit) -> bool:
        session = visit.session
        assert session is not None
        if not visit.eager and visit.saved is None and not visit.known:
            return self.modified(visit)
        if visit.original_id == session.id and visit.saved == self.text(session.data):
            return session.overrides != visit.initial and self.differs("70")
        return True

    def leave(self, visit: Visit, *, early: bool) -> None:
        """The headers go."""
        if visit.late or visit.failed:
            return
        if visit.mapping is not None and not self._take_mapping(visit):
            return
        visit.landed = not early or self.differs("167-170")
        if visit.landed:
            self.settle(visit)
        visit.looked = visit.looked or visit.ended
        cookie = self.cookie(visit)
        visit.late = True
        if early and visit.landed and visit.session is not None:
            self.committed(visit)
        visit.answer = {"cookies": visit.own + ([] if cookie is None else [cookie]), "vary": None, "cache": None}
        if (visit.looked or cookie is not None) and self.differs("101"):
            visit.answer["vary"] = "Cookie" if visit.looked else None
            visit.answer["cache"] = None if cookie is None else "no-store"

    def end(self, visit: Visit) -> None:
        if not visit.late:
            self.leave(visit, early=False)
        elif not visit.failed and (visit.mapping is None or self._take_mapping(visit)):
            if visit.landed and self.differs("98"):
                self.settle_late(visit)
            else:
                self.settle(visit)

    def _take_mapping(self, visit: Visit) -> bool:
        visit.mapping = None
        visit.failed = not self.differs("58")
        return not visit.failed

    def settle(self, visit: Visit) -> None:
        """What Express does at the end of the response."""
        for session_id in visit.ends:
            self.records.pop(session_id, None)
        visit.ends, visit.empty = [], False
        session = visit.session
        if session is None:
            if visit.unset and visit.app.get("unset") == "destroy" and visit.session_id is not None:
                self.records.pop(visit.session_id, None)
            return
        self._renew(visit)
        if visit.regenerated and not visit.eager and not session.data and session.overrides == visit.initial:
            visit.empty = self.differs("43, 48")
        if visit.empty:
            return
        if self.should_save(visit):
            if not visit.known and session.cookie["secure"] and not visit.secure and self.differs("104"):
                return
            self._save(visit, session)
        elif visit.known:
            self._touch(visit, session)

    def settle_late(self, visit: Visit) -> None:
        session = visit.session
        if session is None or visit.gone:
            if visit.ended:
                self.settle(visit)
        elif visit.stored == session.id:
            if self.modified(visit):
                self._save(visit, session)
            elif visit.asked_touch:
                visit.touched = False
                self._renew(visit)
                self._touch(visit, session)

    def _renew(self, visit: Visit) -> None:
        session = visit.session
        assert session is not None
        if not visit.touched:
            session.expires = None if session.lifetime is None else self.clock() + session.lifetime
            visit.touched = True

    def _save(self, visit: Visit, session: Session) -> None:
        record = self.live(session.id)
        if visit.stored == session.id:
            if record is None and self.differs("143-147, 160"):
                visit.gone = True
                return
            if record is not None and record.version != visit.version and self.differs("159"):
                if not self.modified(visit):  # and so to be saved for its own sake
                    self._touch(visit, session, at_once=True)
                    return
                if not self._merge(visit, session, record) and not (visit.resave and visit.saved is None):
                    self._touch(visit, session)
                    return
        visit.saved, visit.wrote = self.text(session.data), True
        self.write(session)

    def _merge(self, visit: Visit, session: Session, theirs: Record) -> bool:
        """Take in what another has written. False if nothing of one's own is left to be written."""
        # The rules of the merge have tests of their own.
        merged = merge(texts(visit.base), texts(session.data), texts(theirs.data), increments=visit.increments)
        session.data = loads(join(merged))
        own = session.overrides != visit.initial
        if not own:
            again = self.revive(visit, session.id, theirs)
            session.overrides, session.cookie, session.lifetime = again.overrides, again.cookie, again.lifetime
            session.expires = None if session.lifetime is None else self.clock() + session.lifetime
        visit.original, visit.initial = self.text(theirs.data), dict(theirs.overrides or {})
        return session.overrides != visit.initial or visit.original != self.text(session.data)

    def _touch(self, visit: Visit, session: Session, *, at_once: bool = False) -> None:
        record, soft = self.live(session.id), session.expires is None
        deadline = self.clock() + DAY if session.expires is None else session.expires
        earlier = deadline - self.clock() < visit.left and not (visit.asked_touch or at_once)
        if earlier and self.differs("84, 85, 193"):
            return
        if record is None:
            visit.gone = self.differs("143-147, 160")
            return
        now = {"cookie": dict(session.cookie), "lifetime": session.lifetime, "overrides": dict(session.overrides)}
        for name, value in now.items():
            if getattr(record, name) != value and not self.differs("84, 85, 193"):
                setattr(record, name, value)
        record.deadline, record.soft = deadline, soft

    def committed(self, visit: Visit) -> None:
        """What is decided later is decided against what was just saved."""
        session = visit.session
        assert session is not None
        visit.asked_touch = False
        if visit.gone:
            return
        if visit.wrote:
            visit.cookie_id = visit.original_id = session.id
            visit.original = visit.saved = self.text(session.data)
            visit.regenerated = visit.wrote = False
            self.adopt(visit, session, self.records[session.id])
        elif visit.stored == session.id and (record := self.live(session.id)):
            visit.left = record.deadline - self.clock()

    def cookie(self, visit: Visit) -> str | None:
        session = visit.session
        if visit.ended and visit.has and self.differs("142, 166"):
            return None if visit.has["secure"] and not visit.secure else set_cookie(visit.app, "", visit.has, 0)
        if session is None:
            due = visit.due
            if due is None or visit.ended or visit.gone or (due.cookie["secure"] and not visit.secure):
                return None
            return set_cookie(visit.app, due.id, due.cookie, due.expires) if self.differs("87") else None
        if visit.gone or visit.empty:
            return None
        if visit.known:
            wanted = visit.app.get("rolling", False) or (session.lifetime is not None and self.modified(visit))
            wanted = wanted or (session.overrides != visit.initial and self.differs("70"))
            wanted = wanted or (visit.stale and self.differs("35"))
            wanted = wanted or (visit.due is not None and self.differs("87"))
        else:
            wanted = visit.eager or self.modified(visit)
        if not wanted or (session.cookie["secure"] and not visit.secure):
            return None
        self._renew(visit)
        if session.cookie["sameSite"] == "auto":  # no cookie can have that
            return None
        return set_cookie(visit.app, session.id, session.cookie, session.expires)

    # -- a request ----------------------------------------------------------------------------------------------------

    async def serve(self, request: Request, cookies: str | None) -> Json:
        app = self.apps[request.get("app", 0)]
        visit = Visit(request, app, self.is_secure(app, request))
        self.enter(visit, cookies)
        if visit.failed:
            return {"status": 503, "body": "", "cookies": [], "handled": False, "seen": [], "stored": self.stored()}
        for op in request["ops"]:
            if not visit.failed:
                await self._operate(visit, op)
        self.end(visit)
        common = {"stored": self.stored(), "seen": visit.seen}
        if visit.failed:
            return {**common, "failed": True, "cookies": [], "seen": []}
        body = visit.body + (request.get("body", "ok") or "")
        bodiless = request.get("method") == "HEAD" or visit.status in (204, 304)
        return {**common, **visit.answer, "status": visit.status, "body": "" if bodiless else body, "handled": True}

    async def _operate(self, visit: Visit, op: Op) -> None:
        name, *given = op
        if name == "during":
            await self.ask(given[0])
            return
        act = getattr(operations, name)
        session = None if visit.replaced else visit.session
        if "session" not in act.__annotations__:
            seen = act(self, visit, *given)
        else:
            seen = "no session" if session is None else act(self, visit, session, *given)
        if seen is not None:
            visit.seen.append(seen)
