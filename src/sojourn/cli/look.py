"""The commands that only look: ``ping``, ``stats``, ``list``, ``show``, ``find``, ``watch``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from time import sleep
from typing import Any, Final

import click

from ..admin import Admin, Bucket, Selection, Session
from ..clock import DAY_MS
from .output import Column, Out, ago, size_of
from .place import on_store, with_json
from .values import DURATION, OWNER, SIZE

__all__ = ["COMMANDS", "every", "show_sessions"]

_SESSION: Final = (
    Column("Session", "name"),
    Column("Owner"),
    Column("Began", "time"),
    Column("Last seen", "time"),
    Column("Expires", "time"),
    Column("Size", "size"),
    Column("Device"),
)
_NAMES: Final = re.compile(r"[0-9a-f]{8,64}(…|\.\.\.)?|[A-Za-z0-9_-]{43}")
_STYLES: Final = {"error": "bold red", "warning": "yellow", "note": "dim"}


@click.command
@click.option(
    "--read-only", is_flag=True, help="Write nothing: else a record without a session is written, changed and deleted."
)
@on_store
@with_json
def ping(admin: Admin, read_only: bool, out: Out) -> int:
    """Whether the store answers, and what of its settings would lose sessions.

    Exits with 1 where it does not answer, or sessions are lost or cannot be written.
    """
    answer = admin.ping(write=not read_only)
    if out.as_json:
        out.json(answer)
    else:
        facts = {name: value for name, value in answer.facts.items() if name not in ("server", "version")}
        took = f"read {answer.read_ms:.1f} ms" + (
            "" if answer.write_ms is None else f", write {answer.write_ms:.1f} ms"
        )
        server = f"{answer.facts.get('server', '')} {answer.facts.get('version', '')}".strip()
        out.pairs(
            [
                ("store", answer.store),
                *([("server", server)] if server else []),
                ("answers in", took),
                *([] if answer.skew_ms is None else [("clock", f"{answer.skew_ms:+} ms from this machine's")]),
                *facts.items(),
            ]
        )
        for finding in answer.findings:
            out.line(f"{finding.level}: {finding.problem}; {finding.remedy}", _STYLES[finding.level])
        if not answer.findings:
            out.line("All is as it should be.")
    return int(any(finding.level == "error" for finding in answer.findings))


@click.command
@click.option(
    "--sample", type=click.IntRange(1), default=10_000, show_default=True, help="Sessions to look at, at most."
)
@on_store
@with_json
def stats(admin: Admin, sample: int, out: Out) -> None:
    """How many sessions there are, and of what age, size and owners."""
    with out.progress("Counting"):
        found = admin.stats(sample=sample)
    if out.as_json:
        out.json(found)
        return
    of = f"of {found.looked_at:,} looked at"
    out.pairs(
        [
            ("live sessions", f"{found.live:,}"),
            ("logged in", f"{found.owned:,} {of}"),
            ("owners", f"{found.owners:,}"),
            ("expiring within the hour", f"{found.expiring_soon:,}"),
            ("cannot be read", f"{found.unreadable:,}"),
            ("size", f"{size_of(found.size)}, {size_of(found.size // max(1, found.looked_at))} each"),
        ]
    )
    out.table([Column("Age"), Column("Sessions", "count")], _rows(found.by_age, _age), "By age")
    out.table([Column("Size"), Column("Sessions", "count")], _rows(found.by_size, size_of), "By size")
    if found.most_sessions:
        out.table([Column("Owner"), Column("Sessions", "count")], found.most_sessions, "Owners with the most")
    if found.largest:
        show_sessions(out, found.largest, "The largest")
    if found.is_sampled:
        out.note(f"All but the number of live sessions is of a sample of {found.looked_at:,}; --sample takes more.")


def _rows(buckets: list[Bucket], text: Any) -> list[tuple[str, int]]:
    rows, lower = [], None
    for bucket in buckets:
        label = f"{text(lower)} and more" if bucket.below is None else f"below {text(bucket.below)}"
        rows.append((label, bucket.count))
        lower = bucket.below
    return rows


def _age(ms: int) -> str:
    return f"{ms // DAY_MS} d" if ms >= DAY_MS else f"{ms // 3_600_000} h"


@click.command("list")
@click.option("--owner", type=OWNER, help="Only this owner's, by the store's index.")
@click.option("--anonymous", is_flag=True, help="Only those of nobody.")
@click.option("--older-than", type=DURATION, help="Only those that began so long ago at least.")
@click.option("--idle-for", type=DURATION, help="Only those not used for so long at least.")
@click.option("--larger-than", type=SIZE, help="Only larger ones.")
@click.option("--prefix", help="Only those whose name begins so.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, about.")
@click.option("--after", metavar="PLACE", help="Go on where an earlier list has ended.")
@on_store
@with_json
def list_(
    admin: Admin,
    *,
    owner: str | None,
    anonymous: bool,
    older_than: int | None,
    idle_for: int | None,
    larger_than: int | None,
    prefix: str | None,
    limit: int,
    after: str | None,
    out: Out,
) -> None:
    """Sessions, page by page, in the store's own order."""
    wanted = Selection(
        owner=owner,
        is_anonymous=anonymous,
        older_than=older_than,
        idle_for=idle_for,
        larger_than=larger_than,
        prefix=prefix,
    )
    found: list[Session] = []
    looked_at = 0
    with out.progress("Looking") as tell:
        while True:
            try:
                page = admin.list(wanted, limit=limit - len(found), after=after)
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint="--after") from None
            found += page.sessions
            looked_at += page.looked_at
            after = page.next
            tell(f"{looked_at:,} looked at, {len(found):,} found")
            if after is None or len(found) >= limit:
                break
    if out.as_json:
        out.json({"sessions": found, "next": after})
        return
    show_sessions(out, found)
    if after is not None:
        out.note(f"There may be more: the same with --after {after}")


@click.command
@click.argument("name")
@click.option(
    "--owner", type=OWNER, help="Look among this owner's sessions: all of the store need not be walked through."
)
@click.option("--reveal", is_flag=True, help="Show the data themselves, and not only of what kind they are.")
@on_store
@with_json
def show(admin: Admin, name: str, owner: str | None, reveal: bool, out: Out) -> None:
    """One session, by its key or the first eight digits of it, by a mask from the log, or by a device's handle."""
    found = admin.show(name, owner=owner, reveal=reveal)
    if out.as_json:
        out.json(found)
        return
    session = found.session
    known = {
        "session": session.name,
        "owner": session.owner,
        "began": session.created_at,
        "logged in": session.authenticated_at,
        "last seen": session.last_seen_at,
        "expires": session.expires_at,
        "size": size_of(session.size),
        "device": session.label,
        "user agent": session.user_agent,
        "address": session.address,
    }
    out.pairs((title, value) for title, value in known.items() if value is not None)
    out.table([Column("Name"), Column("Value")], ((each, str(value)) for each, value in found.data.items()), "Data")
    if found.is_masked and found.data:
        out.note("The data are masked; --reveal shows them.")


@click.command
@click.argument("owner", type=OWNER)
@on_store
@with_json
def find(admin: Admin, owner: str, out: Out) -> None:
    """All sessions of an owner."""
    found = sorted(every(admin, Selection(owner=owner)), key=_last_used, reverse=True)
    if out.as_json:
        out.json({"sessions": found, "next": None})
        return
    show_sessions(out, found)
    if not found:
        out.note(
            "The store knows of no session of this owner. Where Express logs people in, `sojourn reindex` brings its index up to date."
        )


def _last_used(session: Session) -> float:
    used = session.last_seen_at or session.expires_at or session.created_at
    return 0 if used is None else used.timestamp()


@click.command
@click.argument("who", type=OWNER, metavar="OWNER|SESSION")
@click.option("--owner", "is_owner", is_flag=True, help="OWNER is one, though it looks like the name of a session.")
@click.option("--every", "interval", type=DURATION, default="2s", show_default=True, help="The time between two looks.")
@click.option(
    "--times", type=click.IntRange(1), help="Look so often, and end. Else until the session ends, or for ever."
)
@on_store
@with_json
def watch(admin: Admin, who: str, is_owner: bool, interval: int, times: int | None, out: Out) -> None:
    """What becomes of an owner's sessions, or of one session: a line for each that begins, is used, or ends."""
    key = None if is_owner or not _NAMES.fullmatch(who) else admin.key_of(who)
    known: dict[str, Session] = {}
    looks = 0
    while True:
        if key is None:
            now = {session.name: session for session in every(admin, Selection(owner=who))}
        else:
            one = admin.get(key)
            now = {} if one is None else {one.name: one}
        for event, session in _events(known, now, is_first=looks == 0):
            _tell(out, event, session)
        known, looks = now, looks + 1
        if looks == times or (key is not None and not now):
            return
        sleep(interval / 1000)


def _events(known: dict[str, Session], now: dict[str, Session], *, is_first: bool) -> Iterator[tuple[str, Session]]:
    for name, session in now.items():
        before = known.get(name)
        if before is None:
            yield "is there" if is_first else "began", session
        elif before.owner != session.owner or before.size != session.size:
            yield "changed", session
        elif (
            before.expires_at is not None
            and session.expires_at is not None
            and ((session.expires_at - before.expires_at).total_seconds() > 1)
        ):
            yield "was used", session
    for name, session in known.items():
        if name not in now:
            yield "ended", session


def _tell(out: Out, event: str, session: Session) -> None:
    at = datetime.now(UTC)
    if out.as_json:
        out.json({"at": at, "event": event, "session": session}, is_line=True)
        return
    owner = "" if session.owner is None else f" of {session.owner}"
    expires = "" if session.expires_at is None or event == "ended" else f", expires {ago(session.expires_at, at)}"
    out.line(f"{at:%H:%M:%S}  {session.name[:12]}{owner} {event}{expires}")


def every(admin: Admin, wanted: Selection) -> Iterator[Session]:
    """All sessions that meet the conditions, page by page."""
    after = None
    while True:
        page = admin.list(wanted, limit=500, after=after)
        yield from page.sessions
        after = page.next
        if after is None:
            return


def show_sessions(out: Out, sessions: list[Session], title: str = "") -> None:
    """Sessions as a table."""
    rows = (
        (
            session.name,
            session.owner if session.is_readable else "(cannot be read)",
            session.created_at,
            session.last_seen_at,
            session.expires_at,
            session.size,
            session.label or session.user_agent,
        )
        for session in sessions
    )
    out.table(_SESSION, rows, title)


COMMANDS: Final = (ping, stats, list_, show, find, watch)
