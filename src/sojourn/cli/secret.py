"""``sojourn secret``: a good secret, and whether a given one is good."""

from __future__ import annotations

import re
import secrets
import sys
from math import log2
from pathlib import Path
from typing import Final

import click

from ..options import SHORTEST_SECRET
from .output import Out
from .place import file_text, with_json

__all__ = ["COMMANDS", "weakness"]

_FEWEST_BITS: Final = 128
"""NIST SP 800-131A, for keys of HMAC: 112 at least."""
_KNOWN: Final = re.compile(
    r"change.?me|change.?this|django-insecure|keyboard.?cat|secret.?key|your.?secret|my.?secret|super.?secret|password|example|not.?secret|insecure|"
    r"development|s3cr3t|12345678|abcdefgh|qwerty",
    re.IGNORECASE,
)
"""What stands in tutorials and templates: those who attack sites try it first."""


def weakness(secret: str) -> str | None:
    """Why a secret may be guessed; None if nothing speaks for it.

    What somebody has thought up is not random, however long it is: only its length, its variety and what it quotes can be seen here.
    """
    size = len(secret.encode("utf-8", "surrogatepass"))
    if size < SHORTEST_SECRET:
        return f"it has {size} bytes, and should have {SHORTEST_SECRET}"
    if (quoted := _KNOWN.search(secret)) is not None:
        return f"it quotes {quoted[0]!r}, as tutorials do"
    counts = [secret.count(char) for char in set(secret)]
    bits = sum(count * log2(len(secret) / count) for count in counts)
    if bits < _FEWEST_BITS:
        return f"its characters repeat themselves: they tell some {bits:.0f} bits, and should tell {_FEWEST_BITS}"
    return None


@click.command
@click.option(
    "--check", is_flag=True, help="Say whether a secret is good: that in SOJOURN_SECRET, a file, or the standard input."
)
@click.option(
    "--secret-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="The file, one secret a line."
)
@click.option("--key", "is_key", is_flag=True, help="A key for EncryptedCodec.")
@with_json
def secret(check: bool, secret_file: Path | None, is_key: bool, out: Out) -> int:
    """Print a good secret, as the middleware needs it; or with --check say whether one is.

    A secret is never taken from an argument, which every list of processes shows. Exits with 1 if one of those given is weak.
    """
    if not check:
        made = secrets.token_urlsafe(32) if is_key else secrets.token_hex(32)
        if out.as_json:
            out.json({"key" if is_key else "secret": made})
        else:
            click.echo(made)
        return 0
    text = file_text("SOJOURN_SECRET", secret_file)
    if text is None:
        text = click.prompt("Secret", hide_input=True, err=True) if sys.stdin.isatty() else sys.stdin.read()
    given = text.splitlines()
    if not any(given):
        raise click.UsageError("there is no secret to check")
    faults = [weakness(one) for one in given if one]
    if out.as_json:
        out.json({"weak": [fault is not None for fault in faults], "reasons": faults})
    else:
        for number, fault in enumerate(faults, 1):
            which = "the secret" if len(faults) == 1 else f"secret {number}"
            out.line(f"{which} is good." if fault is None else f"{which} is weak: {fault}.")
        if any(faults):
            out.note("`sojourn secret` prints a good one.")
    return int(any(faults))


COMMANDS: Final = (secret,)
