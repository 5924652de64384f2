"""MongoDB's rows of the matrix: on the server that ``MONGODB_URL`` names, in a database made for it, else on SecantusDB, which speaks its protocol.

SecantusDB is a beta, and alone what it is: no election takes place, and no second member has what the first one loses. What a primary says that
steps down is said by a proxy before it.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import bson
import pytest
from pymongo import MongoClient

from scripts.scenes import KILLED, Row, Scene, again, our_clock
from tests.proxy import Answer, CutReply, Fault, Proxy, proxy_to
from tests.servers import MongoServer, SecantusServer, secantus

__all__ = ["ROWS"]

_SPELL: Final = 3.0
"""Seconds that what goes wrong lasts, unless it is over at once."""
_OP_MSG: Final = b"\xdd\x07\x00\x00"
_WRITES: Final = {b"update", b"delete", b"insert", b"findAndModify"}


def _folder(stack: ExitStack) -> Path:
    return Path(stack.enter_context(TemporaryDirectory(prefix="sojourn-")))


def _server(stack: ExitStack) -> tuple[MongoServer, str]:
    url = os.environ.get("MONGODB_URL")
    server: MongoServer
    if url:
        server = MongoServer(url)
        stack.callback(server.clean)
    else:
        server = stack.enter_context(secantus(_folder(stack), "secantus"))
    with MongoClient[Any](server.url("admin"), serverSelectionTimeoutMS=5000) as client:
        version = client.server_info()["version"]
    return server, f"MongoDB {version}" if url else f"SecantusDB, as {version}"


def _killed(concern: str, stack: ExitStack) -> Scene:
    server, version = _server(stack)
    if not isinstance(server, SecantusServer):
        pytest.skip("the server of MONGODB_URL is not ours to kill")
    return Scene(server.url(w=concern), version, partial(again, server))


def _before(stack: ExitStack) -> tuple[Proxy, str, str]:
    """A proxy, the URL through it, and the server's version."""
    server, version = _server(stack)
    direct = {} if "directConnection" in server.url("admin") else {"directConnection": "true"}
    parts = urlsplit(server.url(heartbeatFrequencyMS=500, **direct))
    proxy = stack.enter_context(proxy_to(parts.port or 27017))
    if parts.hostname not in {"127.0.0.1", "localhost"}:
        pytest.skip("the proxy leads to this machine alone, and MONGODB_URL names another")
    access = parts.netloc.rpartition("@")
    netloc = f"{''.join(access[:2])}127.0.0.1:{proxy.port}"
    return proxy, urlunsplit(parts._replace(netloc=netloc)), version


def _is_write(message: bytes) -> bool:
    """Whether a message is a command that writes: its document begins with the name."""
    return message[12:16] == _OP_MSG and message[26 : message.find(b"\0", 26)] in _WRITES


def _says(**reply: Any) -> Answer:
    def answer(message: bytes) -> bytes:
        (request,) = struct.unpack_from("<i", message, 4)
        body = b"\0\0\0\0\0" + bson.encode(reply)
        return struct.pack("<iiii", 16 + len(body), 1, request, 2013) + body

    return Answer(answer)


def _failing(fault: Fault, stack: ExitStack) -> Scene:
    proxy, url, version = _before(stack)

    def strike() -> None:
        with proxy.failing(fault, when=_is_write):
            time.sleep(_SPELL)

    return Scene(url, version, strike)


def _stepping_down(stack: ExitStack) -> Scene:
    """It says that it is no primary any more, ends all connections, and after a while is one again."""
    proxy, url, version = _before(stack)

    def strike() -> None:
        with proxy.failing(
            _says(ok=0.0, errmsg="not primary", code=10107, codeName="NotWritablePrimary"), when=_is_write
        ):
            time.sleep(0.5)
            proxy.cut()
            with proxy.refusing():
                time.sleep(_SPELL / 2)
            time.sleep(0.5)

    return Scene(url, version, strike)


def _at_another_time(first: str, then: str, share: str, stack: ExitStack) -> Scene:
    """The clocks of our processes are off, or of half of them, and are set anew in mid-run."""
    server, version = _server(stack)
    variables, set_to = our_clock(_folder(stack), first)
    return Scene(
        server.url(), version, lambda: set_to(then), environments=({}, variables) if share == "half" else (variables,)
    )


_INTERRUPTED: Final = _says(ok=0.0, errmsg="bye", code=11600, codeName="InterruptedAtShutdown")
_UNDER_WAY: Final = "what is on its way to a new id"
_SCENES: Final[tuple[tuple[str, Callable[[ExitStack], Scene], str], ...]] = (
    (f"{KILLED}, `w=majority`", partial(_killed, "majority"), ""),
    (f"{KILLED}, `w=1`", partial(_killed, "1"), ""),
    ("the primary steps down, and is away for 2.5 s", _stepping_down, ""),
    ("writes are interrupted by its shutdown for 3 s", partial(_failing, _INTERRUPTED), ""),
    ("replies to writes are lost for 3 s", partial(_failing, CutReply()), ""),
    (
        "ours an hour behind its own, then right",
        partial(_at_another_time, "-3600", "+0", "all"),
        _UNDER_WAY,
    ),
    (
        "ours an hour ahead of its own, then set back",
        partial(_at_another_time, "+3600", "+0", "all"),
        "",
    ),
    ("half of ours an hour behind", partial(_at_another_time, "-3600", "-3600", "half"), _UNDER_WAY),
)
ROWS: Final[list[Row]] = [Row("MongoDB", what, scene, loses=loses, family="mongodb") for what, scene, loses in _SCENES]
