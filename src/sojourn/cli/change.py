"""The commands that end sessions or write them anew: ``end``, ``prune``, ``reindex``, ``rotate-keys``."""

from __future__ import annotations

from typing import Final

import click

from ..admin import Admin, Selection
from ..admin.rotation import Rotated, rotate
from ..codecs import EncryptedCodec
from ..errors import ConfigurationError
from ..stores import reindex as reindex_store
from .look import every
from .output import Out, sessions
from .place import on_store, with_json
from .values import OWNER

__all__ = ["COMMANDS"]

_YES = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command
@click.argument("names", metavar="[SESSION]...", nargs=-1)
@click.option("--owner", type=OWNER, help="All sessions of this owner; with SESSION: look for it among these.")
@click.option("--all", "all_", is_flag=True, help="All sessions of the store.")
@_YES
@on_store
@with_json
def end(admin: Admin, names: tuple[str, ...], owner: str | None, all_: bool, yes: bool, out: Out) -> None:
    """End sessions: those named, all of an owner, or all. Whoever has one is logged out.

    A session is named by its key or the first eight digits of it, by a mask from the log, or by a device's handle; never by its id. Where one of the
    names is none, or that of several sessions, nothing ends, and the exit status is 3.
    """
    if all_ == bool(names or owner):
        raise click.UsageError("say which sessions: their names, --owner OWNER, or --all, which goes with neither")
    if all_:
        out.ask(f"End all {admin.count():,} sessions of {admin.store!r}?", is_sure=yes)
        ended = admin.end_all()
    elif names:
        keys = {admin.key_of(name, owner=owner) for name in names}
        out.ask(f"End {sessions(len(keys))}?", is_sure=yes)
        ended = admin.end_keys(keys)
    else:
        assert owner is not None
        out.ask(f"End {sessions(sum(1 for _ in every(admin, Selection(owner=owner))))} of {owner!r}?", is_sure=yes)
        ended = admin.end_owner(owner)
    if out.as_json:
        out.json({"ended": ended})
    else:
        out.line(f"{sessions(ended)} ended.")


@click.command
@on_store
@with_json
def prune(admin: Admin, out: Out) -> None:
    """Remove what has expired, at once. Redis and MongoDB do it by themselves."""
    removed = admin.prune()
    if out.as_json:
        out.json({"removed": removed})
    else:
        out.line(f"{sessions(removed)} that had expired removed.")


@click.command
@on_store
@with_json
def reindex(admin: Admin, out: Out) -> int:
    """Set right whose each session is, for the store's index of owners: where Express logs people in, it does not learn of it.

    Exits with 1 where a session cannot be read; the log names it.
    """
    options = admin.settings.options
    with out.progress("Looking") as tell:
        done = reindex_store(
            admin.store,
            codec=admin.settings.codec,
            passport=bool(options.passport),
            progress=lambda so_far: tell(f"{so_far.seen:,} seen, {so_far.changed:,} set right"),
        )
    if out.as_json:
        out.json({"seen": done.seen, "changed": done.changed, "unreadable": done.unreadable})
    else:
        out.line(f"{sessions(done.seen)} seen, {done.changed:,} set right, {done.unreadable:,} cannot be read.")
    return int(done.unreadable > 0)


@click.command("rotate-keys")
@click.option("--accept-plaintext", is_flag=True, help="Seal sessions that are not encrypted, too.")
@click.option("--dry-run", is_flag=True, help="Write nothing, only count.")
@on_store
@with_json
def rotate_keys(admin: Admin, accept_plaintext: bool, dry_run: bool, out: Out) -> int:
    """Seal all sessions anew under the newest key, so that the others can be thrown away. Lifetimes and owners stay.

    The first of the keys seals. The site may go on meanwhile, once all its processes have that key. Exits with 1 where a session cannot be read; the
    log names it.
    """
    codec = admin.settings.codec
    if not isinstance(codec, EncryptedCodec):
        raise ConfigurationError("the keys", "none", "put them into SOJOURN_KEYS, or say --keys-file FILE")

    def shown(so_far: Rotated) -> None:
        tell(f"{so_far.seen:,} seen, {so_far.sealed:,} sealed anew")

    with out.progress("Sealing") as tell:
        done = rotate(admin.store, codec, accept_plaintext=accept_plaintext, dry_run=dry_run, progress=shown)
    if out.as_json:
        out.json(done)
    else:
        would = "would be sealed" if dry_run else "sealed"
        out.line(f"{sessions(done.seen)} seen, {done.sealed:,} {would} anew, {done.unreadable:,} cannot be read.")
    return int(done.unreadable > 0)


COMMANDS: Final = (end, prune, reindex, rotate_keys)
