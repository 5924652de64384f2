"""PostgreSQL's rows of the matrix: killed, promoted, read-only, its time limits, its locks, TLS, an Express table, least rights, its clock.

The wheel's PostgreSQL is the newest, and Debian's is 15. `Row.loses` is set where replication is asynchronous alone.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.scenes import KILLED, Row, Scene, again, clock
from sojourn.stores import PostgresStore
from tests.proxy import proxy_to
from tests.servers import PostgresServer, pgbouncer, postgres_server

__all__ = ["ROWS"]

ROOT: Final = Path(__file__).resolve().parent.parent
_DURABLE: Final = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_DEBIAN: Final = Path("/usr/lib/postgresql/15/bin")
_WHEEL: Final = None
_PACKAGE: Final = "postgresql-15"
_SPELL: Final = 3.0
"""Seconds that what goes wrong lasts, unless it is over at once."""


def _started(
    stack: ExitStack, programs: Path | None, environment: dict[str, str] | None = None, **settings: object
) -> tuple[PostgresServer, str]:
    server = stack.enter_context(postgres_server(programs))
    server.environment = environment or {}
    server.init()
    server.start(**_DURABLE, **settings)
    return server, _version(server.url)


def _version(url: str) -> str:
    with psycopg.connect(url) as connection:
        return f"PostgreSQL {connection.execute('SHOW server_version').fetchall()[0][0].split()[0]}"


def _with_table(url: str, **options: object) -> str:
    """The URL with options, its table made."""
    url = f"{url}?{'&'.join(f'{name}={value}' for name, value in options.items())}"
    store = PostgresStore.from_url(f"{url}&create_table=true")
    store.open()
    store.close()
    return url


def _ask(url: str, *statements: str) -> None:
    """Carry statements out, each a transaction of its own."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def _direct(programs: Path | None, stack: ExitStack) -> Scene:
    server, version = _started(stack, programs)
    return Scene(_with_table(server.url), version, lambda: again(server, **_DURABLE))


def _pooled(mode: str, victim: str, stack: ExitStack) -> Scene:
    server, version = _started(stack, _WHEEL)
    pooler = stack.enter_context(pgbouncer(server.url, mode, default_pool_size=10))
    said = subprocess.run([pooler.program, "--version"], capture_output=True, text=True, check=True).stdout
    strike = partial(again, pooler) if victim == "pooler" else partial(again, server, **_DURABLE)
    return Scene(_with_table(pooler.url, prepare="false"), f"{version}, {said.splitlines()[0]}", strike)


# A primary and its standby.


def _pair(stack: ExitStack, programs: Path | None, *, waits: bool) -> tuple[PostgresServer, PostgresServer, str]:
    """A primary and a hot standby; ``waits``: a commit waits until the standby has applied it."""
    primary, version = _started(stack, programs)
    _with_table(primary.url)
    standby = stack.enter_context(postgres_server(programs))
    source = ["-h", "127.0.0.1", "-p", primary.port, "-U", "postgres"]
    standby.run("pg_basebackup", "-D", standby.data, *source, "-R", "-X", "stream", "-c", "fast")
    standby.start(**_DURABLE)
    if waits:
        statements = ["ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"]
        _ask(primary.url, *statements)
        with psycopg.connect(primary.url, autocommit=True) as connection:
            while connection.execute("SELECT sync_state FROM pg_stat_replication").fetchone() != ("sync",):
                time.sleep(0.05)
    return primary, standby, version


def _promoted(programs: Path | None, waits: bool, stack: ExitStack) -> Scene:
    primary, standby, version = _pair(stack, programs, waits=waits)

    def strike() -> None:
        primary.kill()
        _ask(standby.url, "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_promote()")

    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    return Scene(f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write", version, strike)


def _led_astray(stack: ExitStack) -> Scene:
    """The address leads to the standby for a while, which has all that was committed before."""
    primary, standby, version = _pair(stack, _DEBIAN, waits=True)
    to_primary = stack.enter_context(proxy_to(primary.port))

    def strike() -> None:
        with to_primary.refusing():
            time.sleep(0.5)  # what is under way arrives
        to_primary.lead_to(standby.port)
        time.sleep(_SPELL)
        to_primary.lead_to(primary.port)

    _ask(primary.url, "ALTER SYSTEM SET synchronous_commit = 'remote_apply'", "SELECT pg_reload_conf()")
    return Scene(f"postgresql://postgres@127.0.0.1:{to_primary.port}/postgres", version, strike)


def _read_only(stack: ExitStack) -> Scene:
    server, version = _started(stack, _WHEEL)

    def strike() -> None:
        name = "default_transaction_read_only"
        _ask(server.url, f"ALTER SYSTEM SET {name} = on", "SELECT pg_reload_conf()")
        time.sleep(_SPELL)
        _ask(server.url, f"ALTER SYSTEM RESET {name}", "SELECT pg_reload_conf()")

    return Scene(_with_table(server.url), version, strike)


# Its limits and its locks.


def _limited(settings: dict[str, str], held: str, stack: ExitStack, *, prepare: str = "true") -> Scene:
    """The server's limits change; a table is locked meanwhile, if ``held`` says how."""
    server, version = _started(stack, _WHEEL)

    def strike() -> None:
        changes = [f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()]
        _ask(server.url, *changes, "SELECT pg_reload_conf()")
        unlimited = " ".join(f"-c {name}=0" for name in settings)
        with psycopg.connect(server.url, options=unlimited) as connection:
            if held:
                connection.execute(f"LOCK TABLE session IN {held} MODE")
            time.sleep(_SPELL)

    return Scene(_with_table(server.url, prepare=prepare), version, strike)


def _tended(statements: list[str], stack: ExitStack) -> Scene:
    """Somebody looks after the table, again and again."""
    server, version = _started(stack, _WHEEL)

    def strike() -> None:
        until = time.monotonic() + _SPELL
        while time.monotonic() < until:
            _ask(server.url, *statements)

    return Scene(_with_table(server.url), version, strike)


def _held(stack: ExitStack) -> Scene:
    """Somebody keeps a transaction open that has changed every session."""
    server, version = _started(stack, _WHEEL)

    def strike() -> None:
        with psycopg.connect(server.url) as connection:
            connection.execute("UPDATE session SET expire = expire")
            time.sleep(_SPELL)

    return Scene(_with_table(server.url), version, strike)


# Its tables and its users.


def _of_express(stack: ExitStack) -> Scene:
    statements = ROOT / "tests" / "node" / "node_modules" / "connect-pg-simple" / "table.sql"
    if not statements.exists():
        pytest.skip("connect-pg-simple is not installed: make node-peers")
    server, version = _started(stack, _DEBIAN)
    _ask(server.url, *statements.read_text("utf-8").split(";"))
    _ask(
        server.url,
        'CREATE TABLE "session_lock" (key varchar PRIMARY KEY, token text NOT NULL, expire timestamptz NOT NULL)',
    )
    return Scene(f"{server.url}?layout=connect-pg-simple", version, lambda: again(server, **_DURABLE))


_LEAST: Final = (
    "CREATE ROLE web LOGIN",
    "GRANT USAGE ON SCHEMA sojourn TO web",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON sojourn.session, sojourn.session_lock TO web",
)


def _least(stack: ExitStack) -> Scene:
    """A role that may do no more than docs/servers.md has it."""
    server, version = _started(stack, _DEBIAN)
    _ask(server.url, "CREATE SCHEMA sojourn", "REVOKE ALL ON SCHEMA public FROM public")
    _with_table(server.url, schema="sojourn")
    _ask(server.url, *_LEAST)
    url = server.url.replace("//postgres@", "//web@")
    return Scene(f"{url}?schema=sojourn", version, lambda: again(server, **_DURABLE))


# TLS.


def _certificate(name: str, issuer: Any, **names: Any) -> tuple[Any, Any]:
    """A key, and a certificate for it, of an authority or from one: ``issuer`` is its key and certificate, or None."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[1].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names["alternatives"]), critical=False)
    return key, builder.sign(key if issuer is None else issuer[0], hashes.SHA256())


def _written(folder: Path, name: str, key: Any, certificate: Any) -> None:
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    plain = serialization.NoEncryption()
    file = folder / f"{name}.key"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    file.chmod(0o600)


def _over_tls(stack: ExitStack) -> Scene:
    """Only over TLS, the server's certificate checked by its authority's and for its address."""
    server = stack.enter_context(postgres_server(_DEBIAN))
    server.init()
    folder = server.folder
    authority = _certificate("authority", None)
    alternatives = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]
    _written(folder, "server", *_certificate("localhost", authority, alternatives=alternatives))
    _written(folder, "authority", *authority)
    _written(folder, "stranger", *_certificate("stranger", None))
    if os.geteuid() == 0:
        owner = folder.stat()
        for file in folder.glob("server.*"):
            os.chown(file, owner.st_uid, owner.st_gid)
    (server.data / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\n")
    settings = {"ssl": "on", "ssl_cert_file": folder / "server.crt", "ssl_key_file": folder / "server.key", **_DURABLE}
    server.start(**settings)
    version = _version(server.url)
    checked = f"sslmode=verify-full&sslrootcert={folder}"
    for wrong in (f"{checked}/stranger.crt", "sslmode=disable"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"{server.url}?{wrong}")
    url = _with_table(server.url, sslmode="verify-full", sslrootcert=folder / "authority.crt")
    return Scene(url, version, lambda: again(server, **settings))


# Its clock.


def _at_another_time(first: str, then: str, stack: ExitStack) -> Scene:
    """The server's clock is off, and is set anew in mid-run."""
    folder = Path(tempfile.mkdtemp(prefix="sojourn-"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    variables, set_to = clock(folder, "server", first)
    server, version = _started(stack, _DEBIAN, variables)
    return Scene(_with_table(server.url), version, lambda: set_to(then))


def _rows(name: str, scenes: list[tuple[str, Callable[[ExitStack], Scene], str]], package: str = "") -> list[Row]:
    return [Row(name, what, scene, package=package, loses=loses, family="postgresql") for what, scene, loses in scenes]


_POOLER_KILLED: Final = "the pooler is killed, and started again"
_PROMOTED: Final = "the primary is killed, and its standby promoted"
_LAG: Final = "what the standby had not got"
ROWS: Final[list[Row]] = [
    *_rows("PostgreSQL", [(KILLED, partial(_direct, _WHEEL), "")]),
    *_rows("PostgreSQL 15", [(KILLED, partial(_direct, _DEBIAN), "")], _PACKAGE),
    *(
        row
        for programs, package in ((_WHEEL, ""), (_DEBIAN, _PACKAGE))
        for waits, name in ((True, "synchronous"), (False, "asynchronous"))
        for row in _rows(
            f"PostgreSQL{' 15' * bool(package)}, {name} standby",
            [(_PROMOTED, partial(_promoted, programs, waits), "" if waits else _LAG)],
            package,
        )
    ),
    *_rows(
        "PostgreSQL",
        [
            ("it is read-only for 3 s", _read_only, ""),
            (
                "`statement_timeout` 20 ms, and 3 s of a lock on the table",
                partial(_limited, {"statement_timeout": "20ms"}, "EXCLUSIVE"),
                "",
            ),
            (
                "the same, with `prepare=false`",
                partial(_limited, {"statement_timeout": "20ms"}, "EXCLUSIVE", prepare="false"),
                "",
            ),
            (
                "`idle_in_transaction_session_timeout` 1 ms",
                partial(_limited, {"idle_in_transaction_session_timeout": "1ms"}, ""),
                "",
            ),
            ("`idle_session_timeout` 20 ms", partial(_limited, {"idle_session_timeout": "20ms"}, ""), ""),
            ("every session is locked for 3 s", _held, ""),
            (
                "`VACUUM` and `REINDEX CONCURRENTLY` for 3 s",
                partial(_tended, ["VACUUM session", "REINDEX TABLE CONCURRENTLY session"]),
                "",
            ),
            (
                "`VACUUM FULL` and `CLUSTER` for 3 s",
                partial(_tended, ["VACUUM FULL session", 'CLUSTER session USING "session_pkey"']),
                "",
            ),
        ],
    ),
    *_rows("PostgreSQL 15", [("its address leads to a hot standby for 3 s", _led_astray, "")], _PACKAGE),
    *_rows("PostgreSQL 15, connect-pg-simple's table", [(KILLED, _of_express, "")], _PACKAGE),
    *_rows("PostgreSQL 15, a role with least rights", [(KILLED, _least, "")], _PACKAGE),
    *_rows("PostgreSQL 15, TLS with certificates checked", [(KILLED, _over_tls, "")], _PACKAGE),
    *_rows(
        "PostgreSQL 15, its clock",
        [
            ("an hour ahead, then set back", partial(_at_another_time, "+3600", "+0"), ""),
            ("an hour behind, then set back by one more", partial(_at_another_time, "-3600", "-7200"), ""),
        ],
        f"{_PACKAGE} faketime",
    ),
    *(
        row
        for mode in ("transaction", "statement")
        for victim, what in (("server", KILLED), ("pooler", _POOLER_KILLED))
        for row in _rows(f"PgBouncer, {mode} mode", [(what, partial(_pooled, mode, victim), "")], "pgbouncer")
    ),
]
