"""The table of commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import click

from .. import __version__
from ..migrate import command as migrate_command
from ..migrate.endpoints import CODECS
from ..migrate.library_records import PICKLE
from ..migrate.run import DEFAULT_WORKERS
from . import backup, change, completion, dashboard, doctor, look, secret

__all__ = ["sojourn"]

_EPILOG = """\
The store's URL is taken from the environment variable SOJOURN_STORE, or from a file (--store-file): sqlite:///path, redis://, redis+cluster://,
postgresql:// or mongodb://. A store in memory has none: its sessions are in its own process, where the dashboard shows them.

\b
  sojourn find ann                  an owner's sessions
  sojourn end --owner ann           end them
  sojourn list --idle-for 7d        sessions that nobody uses
  sojourn ping                      whether the store is as it should be

Exit status: 0 done; 1 the store failed, or something is not as it should be; 2 an argument is not; 3 no session, or several, of the name given; 130
interrupted.
"""


_Command: TypeAlias = Callable[..., int]


@click.group(epilog=_EPILOG, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sojourn", message="%(prog)s %(version)s")
@click.pass_context
def sojourn(context: click.Context) -> None:
    """Server-side HTTP sessions for Python: see, end, back up and move the sessions of a store."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(2)


@sojourn.command
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8000, show_default=True, help="Port to listen on; 0 for a free one.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    default=".sojourn-demo",
    show_default=True,
    help="Folder for sessions and secret.",
)
def demo(host: str, port: int, data: Path) -> None:
    """Serve a small shop whose visitors have sessions."""
    from ..demo import serve  # noqa: PLC0415 - only this command needs a framework and a server

    serve(data, host, port)


def _side(side: str) -> Callable[[_Command], _Command]:
    """The options of one side of a migration."""
    what = "the keys of its encryption, the first seals: base64url, or id:base64url, with blanks between"
    default = "plain in Express's layouts, else json"
    pickles: tuple[str, ...] = ()
    if side == "source":
        what += "; of Django's database: its SECRET_KEY, and SECRET_KEY_FALLBACKS in lines of their own"
        pickles = (PICKLE,)
        more = (
            f" {PICKLE}, of another library's records: read those that are pickles too. DANGER: a pickle is a program, made by whoever could write "
            "to that store."
        )
    else:
        default, more = f"{default}; plain for what comes from Django", ""

    def add(command: _Command) -> _Command:
        file = click.Path(path_type=Path)
        command = click.option(f"--{side}-key-file", metavar="FILE", type=file, help="A file with them.")(command)
        command = click.option(f"--{side}-key-env", metavar="NAME", help=f"The environment variable with {what}.")(
            command
        )
        return click.option(
            f"--{side}-codec",
            type=click.Choice([*CODECS, *pickles]),
            help=f"The {side}'s middleware's codec (default: {default}).{more}",
        )(command)

    return add


@sojourn.command
@click.argument("source")
@click.argument("target")
@click.option("--hash-ids", is_flag=True, help="The keys are ids: make them their SHA-256.")
@click.option("--keep-ids", is_flag=True, help="Leave the keys as they are.")
@_side("source")
@_side("target")
@click.option("--state", metavar="FILE", help="Remember the copies there, so that a later run brings them up to date.")
@click.option(
    "--remove-ended", is_flag=True, help="End copies at the target whose sessions have ended at the source since."
)
@click.option("--dry-run", is_flag=True, help="Write nothing, only report.")
@click.option("--rate", metavar="N", type=float, help="Sessions per second at most.")
@click.option(
    "--workers", metavar="N", type=int, default=DEFAULT_WORKERS, show_default=True, help="Threads that write."
)
def migrate(hash_ids: bool, keep_ids: bool, **given: Any) -> int:
    """Copy live sessions from one store to another: from SOURCE to TARGET, each a URL, or env:NAME."""
    if hash_ids and keep_ids:
        raise click.UsageError("--hash-ids and --keep-ids: give one of the two")
    for side in ("source", "target"):
        if given[f"{side}_key_env"] is not None and given[f"{side}_key_file"] is not None:
            raise click.UsageError(f"--{side}-key-env and --{side}-key-file: give one of the two")
    choice = True if hash_ids else False if keep_ids else None
    return migrate_command.run(SimpleNamespace(hash_ids=choice, **given))


for _commands in (
    look.COMMANDS,
    dashboard.COMMANDS,
    change.COMMANDS,
    backup.COMMANDS,
    secret.COMMANDS,
    doctor.COMMANDS,
    completion.COMMANDS,
):
    for _command in _commands:
        sojourn.add_command(_command)
