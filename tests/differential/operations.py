"""What a handler's operations do in the model. Those on a session take one."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from tests.differential.model_state import LIFETIME
from tests.differential.scenario import Json
from tests.differential.worlds import clone, cookie_options, look_of

if TYPE_CHECKING:
    from tests.differential.model import Model
    from tests.differential.model_state import Session, Visit

_DEFAULTS: Json = {"path": "/", "httpOnly": True, "secure": False, "partitioned": False}


def read(model: Model, visit: Visit, session: Session) -> Json:
    visit.looked = True
    cookie = {**session.cookie, LIFETIME: session.lifetime}
    return look_of(session.id, list(session.data), clone(session.data), cookie)


def _holder(visit: Visit, session: Session, path: list[str]) -> Json | None:
    visit.looked = True
    root: Any = session.data
    for key in path[:-1]:
        if not isinstance(root, dict) or key not in root:
            return None
        root = root[key]
    return root if isinstance(root, dict) else None


def set(model: Model, visit: Visit, session: Session, path: list[str], value: Any) -> None:  # noqa: A001
    if (place := _holder(visit, session, path)) is not None:
        place[path[-1]] = clone(value)
        if len(path) == 1:
            visit.increments.pop(path[0], None)


def delete(model: Model, visit: Visit, session: Session, path: list[str]) -> None:
    if (place := _holder(visit, session, path)) is not None:
        place.pop(path[-1], None)
        if len(path) == 1:
            visit.increments.pop(path[0], None)


def append(model: Model, visit: Visit, session: Session, path: list[str], value: Any) -> None:
    if (place := _holder(visit, session, path)) is not None:
        items = place.setdefault(path[-1], [])
        if isinstance(items, list):
            items.append(clone(value))


def increment(model: Model, visit: Visit, session: Session, key: str, by: int) -> None:
    visit.looked = True
    before = session.data.get(key, 0)
    if isinstance(before, int | float) and not isinstance(before, bool):
        session.data[key] = before + by
        visit.increments[key] = visit.increments.get(key, 0) + by


def cookie(model: Model, visit: Visit, session: Session, name: str, value: Any) -> str | None:
    visit.looked = True
    if name in ("maxAge", "expires"):
        now = model.clock()
        session.lifetime = value["date"] - now if isinstance(value, dict) else value
        session.expires = None if session.lifetime is None else now + session.lifetime
        name, value, configured = LIFETIME, session.lifetime, _configured(visit, "maxAge", None)
    else:
        configured = _configured(visit, name, _DEFAULTS.get(name))
        if name in ("sameSite", "secure"):
            pair = {one: session.overrides.get(one, _configured(visit, one, None)) for one in ("sameSite", "secure")}
            same_site, secure = (pair | {name: value}).values()
            bare = (same_site == "none" and secure is not True) or (same_site == "auto" and not secure)
            if bare and model.differs("116"):
                return "refused"
        session.cookie[name] = value
    if value == configured:
        session.overrides.pop(name, None)
    else:
        session.overrides[name] = value
    return None


def _configured(visit: Visit, name: str, default: Any) -> Any:
    return cookie_options(visit.app).get(name, default)


def remaining(model: Model, visit: Visit, session: Session) -> Json:
    visit.looked = True
    expires, fresh = session.expires, None if session.lifetime is None else model.clock() + session.lifetime
    if expires != fresh and not visit.touched and model.differs("84, 85, 193"):
        expires = fresh
    return {"maxAge": None if expires is None else expires - model.clock(), "expires": expires}


def touch(model: Model, visit: Visit, session: Session) -> None:
    session.expires = None if session.lifetime is None else model.clock() + session.lifetime
    visit.asked_touch = visit.looked = True


def save(model: Model, visit: Visit, session: Session) -> str:
    if not model.differs("155, 148"):
        if session.wrapped:
            visit.saved = model.text(session.data)
        model.write(session)
        model.adopt(visit, session, model.records[session.id])
        return "ok"
    if visit.gone:  # as an earlier save has said
        return "ok"
    if visit.late:
        if visit.stored != session.id and model.differs("98"):
            return "error"
        model.settle_late(visit)
    else:
        visit.looked |= visit.stored is not None
        visit.touched = False
        model.settle(visit)
        if model.cookie(visit) is not None:
            visit.due = copy(session)
    if visit.gone:
        return "error"
    model.committed(visit)
    visit.touched = False
    return "ok"


def reload(model: Model, visit: Visit, session: Session, times: int = 1) -> str:
    record = model.live(session.id)
    if record is None or record.broken:
        return "missing"
    again = model.revive(visit, session.id, record)
    again.wrapped = session.wrapped
    visit.session = again
    visit.looked, visit.asked_touch = True, False
    model.adopt(visit, again, record)
    text = model.text(again.data)
    if text != visit.original and model.differs("152"):
        visit.original = text
        visit.saved = None if visit.saved is None else text
    return "ok"


def regenerate(model: Model, visit: Visit, session: Session) -> None:
    if not model.differs("143-147, 160"):
        model.records.pop(session.id, None)
    elif visit.stored is not None:
        visit.ends.append(visit.stored)
    new = model.begin(visit)
    new.wrapped = False
    visit.session, visit.session_id, visit.initial = new, new.id, dict(new.overrides)
    visit.regenerated = visit.looked = True
    visit.increments, visit.gone, visit.due = {}, False, None


def destroy(model: Model, visit: Visit, session: Session) -> None:
    visit.session, visit.ended, visit.looked = None, True, True
    if not model.differs("143-147, 160"):
        model.records.pop(session.id, None)
    else:
        visit.ends += visit.brought if visit.stored is None else [*visit.brought, visit.stored]


def unset(model: Model, visit: Visit, how: str = "null") -> None:
    if visit.session_id is None:
        return
    if visit.app.get("unset") == "destroy":
        visit.ended = visit.unset = True
        if visit.stored is not None:
            visit.ends.append(visit.stored)
        if visit.brought and model.differs("142, 166"):
            visit.ends += visit.brought
    elif visit.regenerated and visit.stored is not None and model.differs("143-147, 160"):
        visit.ended, visit.ends = (
            True,
            [*visit.brought, visit.stored],
        )  # who regenerates wants the old id ended in any case
    elif not visit.ended:
        visit.ends = []
    visit.session = visit.mapping = None


def replace(model: Model, visit: Visit, session: Session, data: Json) -> None:
    visit.mapping, visit.replaced = clone(data), True


def hold(model: Model, visit: Visit, session: Session) -> None:
    visit.held = session


def same(model: Model, visit: Visit, session: Session) -> bool:
    return visit.held is session or model.differs("152")


def write(model: Model, visit: Visit, text: str) -> None:
    model.leave(visit, early=True)
    visit.body += text


def status(model: Model, visit: Visit, code: int) -> None:
    if not visit.late:
        visit.status = code


def ownCookie(model: Model, visit: Visit, text: str) -> None:  # noqa: N802 - an operation's name
    if not visit.late:
        visit.own.append(text)


def writeHead(model: Model, visit: Visit, code: int, cookies: list[str]) -> None:  # noqa: N802
    visit.status = code
    visit.own += cookies
    model.leave(visit, early=True)


def advance(model: Model, visit: Visit, ms: int) -> None:
    model.clock.advance(ms)


def store(model: Model, visit: Visit) -> list[Json]:
    return model.stored()


def fetch(model: Model, visit: Visit, session_id: str | None = None) -> Any:
    visit.looked = visit.looked or session_id is None
    record = model.live(session_id or visit.session_id or "")
    return "missing" if record is None else {"data": clone(record.data)}
