"""``sojourn export`` and ``sojourn import``: a store's sessions to a backup file, and back."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import click

from ..admin.backup import Imported, export_sessions, import_sessions
from ..codecs import EncryptedCodec
from ..errors import ConfigurationError
from ..migrate.command import encrypting
from .output import Out, sessions
from .place import Site, file_text, on_store, with_json

__all__ = ["COMMANDS"]

_BACKUP_KEYS = click.option(
    "--backup-keys-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the keys of the backup, as those of --keys-file. Else they are in SOJOURN_BACKUP_KEYS.",
)


def _cipher(file: Path | None) -> EncryptedCodec | None:
    text = file_text("SOJOURN_BACKUP_KEYS", file)
    option = "SOJOURN_BACKUP_KEYS" if file is None else "--backup-keys-file"
    return None if text is None else encrypting(option, text, "json")


@click.command("export")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--encrypt", is_flag=True, help="Encrypt the file under the first of the backup's keys.")
@_BACKUP_KEYS
@on_store
@with_json
def export(site: Site, file: Path, encrypt: bool, backup_keys_file: Path | None, out: Out) -> None:
    """Write all live sessions to a backup file, readable by you alone. Run again, it goes on where it was cut short. With - they go to standard output.

    The file holds what the store holds. Without --encrypt, whoever reads it reads the sessions' data, and where keys are ids may take them over.
    """
    cipher = _cipher(backup_keys_file) if encrypt else None
    if encrypt and cipher is None:
        raise ConfigurationError(
            "--encrypt", "no keys", "put them into SOJOURN_BACKUP_KEYS, or say --backup-keys-file FILE"
        )
    to_stdout = _is_stdout(file)
    target: Path | BinaryIO = sys.stdout.buffer if to_stdout else file
    with out.progress("Exporting") as tell:
        count = export_sessions(
            site.store,
            target,
            place=site.place,
            is_express=site.is_express,
            clock=site.settings.options.clock,
            cipher=cipher,
            progress=lambda so_far: tell(f"{so_far:,} sessions"),
        )
    if out.as_json:
        out.json({"exported": count, "file": str(file)}, err=to_stdout)
    elif to_stdout:
        out.note(f"{sessions(count)}.")
    else:
        out.line(f"{sessions(count)} in {file}.")


def _is_stdout(file: Path) -> bool:
    """Whether that is standard output, by whatever name: then nothing but the backup goes there."""
    if str(file) == "-":
        return True
    with suppress(OSError):  # such as of a file that is not there yet
        return os.path.samestat(file.stat(), os.fstat(sys.stdout.fileno()))
    return False


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--revive-ended", is_flag=True, help="Bring back sessions that have ended since: logged out, or lost.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_BACKUP_KEYS
@on_store
@with_json
def import_(site: Site, file: Path, revive_ended: bool, yes: bool, backup_keys_file: Path | None, out: Out) -> int:
    """Put the sessions of a backup into the store, with the lifetimes they would have left. Run again, it goes on where it was cut short.

    None that is there is overwritten. What the store that the backup is from has no longer has ended, and stays so without --revive-ended. Exits
    with 1 where a session cannot be imported; the log names it.
    """
    if revive_ended:
        out.ask(
            "Bring back sessions that have ended since the backup, those that were logged out among them?", is_sure=yes
        )

    def shown(so_far: Imported) -> None:
        tell(f"{so_far.imported:,} imported")

    with out.progress("Importing") as tell:
        done = import_sessions(
            site.store,
            site.settings,
            file,
            place=site.place,
            is_express=site.is_express,
            cipher=_cipher(backup_keys_file),
            revive_ended=revive_ended,
            progress=shown,
        )
    if out.as_json:
        out.json(done)
    else:
        out.pairs(
            [
                ("imported", f"{done.imported:,}"),
                ("there already", f"{done.there:,}"),
                ("ended since", f"{done.ended:,}"),
                ("expired", f"{done.expired:,}"),
                ("failed", f"{done.failed:,}"),
            ]
        )
        if done.ended:
            out.note("Those that have ended since the backup stay so; --revive-ended brings them back.")
    return int(done.failed > 0)


COMMANDS: Final = (export, import_)
