"""``sojourn migrate`` as an operator runs it: as a process, in a terminal, stopped half way, and with wrong arguments."""

from __future__ import annotations

import io
import itertools
import os
import pty
import re
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw

from sojourn import EncryptedCodec, JSONCodec
from sojourn.cli import main
from sojourn.core.record import Record, pack
from sojourn.core.store import Stored
from sojourn.ids import hash_id, mask_id
from sojourn.migrate import Report
from sojourn.migrate.command import _Shown
from sojourn.migrate.copy import Copier
from sojourn.migrate.state import State
from sojourn.stores import RedisStore, SQLiteStore
from tests.servers import free_port, valkey

HOUR = 3_600_000
STATE = ("--state", "state")


def record(n: Any = 0) -> bytes:
    data = {"n": Raw(JSONCodec().encode(n))}
    return pack(Record(data, b'{"originalMaxAge":null}', created=1, write=1, lifetime=None))


def fill(path: Path, count: int, data: Callable[[str], bytes] = lambda _: record()) -> None:
    store = SQLiteStore(path, synchronous="OFF")
    for number in range(count):
        key = hash_id(str(number))
        store.create(key, data(key), HOUR)
    store.close()


def count(path: Path) -> int:
    if not path.exists():
        return 0
    store = SQLiteStore(path)
    try:
        return store.count()
    finally:
        store.close()


def counts(text: str) -> dict[str, int]:
    """The closing report, as the command prints it."""
    return {name: int(number.replace(",", "")) for name, number in re.findall(r"^(\w+) +([\d,]+)", text, re.MULTILINE)}


@contextmanager
def migrating(*arguments: str, cwd: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "sojourn", "migrate", *arguments]
    with subprocess.Popen(
        command, cwd=cwd, env={**os.environ, **env}, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(*arguments: str, cwd: Path, **env: str) -> tuple[int, str, str]:
    with migrating(*arguments, cwd=cwd, **env) as process:
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors


@pytest.mark.server
def test_a_run_copies_and_reports(tmp_path: Path, redis_url: str) -> None:
    fill(tmp_path / "sessions.db", 300)
    target = f"{redis_url}?prefix=test-{uuid.uuid4().hex}:"
    arguments = ("sqlite:///sessions.db", target)
    status, output, errors = run(*arguments, "--dry-run", cwd=tmp_path)
    assert (status, errors) == (0, "")
    assert output.startswith("A dry run: nothing was written. It would be\ncopied")
    status, output, errors = run(*arguments, "--workers", "3", cwd=tmp_path)
    assert (status, errors) == (0, "")
    assert counts(output) == {"copied": 300, "skipped": 0, "expired": 0, "failed": 0}
    store = RedisStore.from_url(target)
    lefts = [stored.expires_in or 0 for _, stored in store.scan()]
    assert len(lefts) == 300 and all(HOUR - 60_000 < left <= HOUR for left in lefts)
    store.clear()
    store.close()


def test_what_fails_is_logged_counted_and_told_by_the_exit_status(tmp_path: Path) -> None:
    fill(tmp_path / "sessions.db", 3, lambda key: b"the secret value" if key == hash_id("1") else record())
    status, output, errors = run("sqlite:///sessions.db", "sqlite:///new.db", cwd=tmp_path)
    assert status == 1
    assert counts(output) == {"copied": 2, "skipped": 0, "expired": 0, "failed": 1}
    assert errors == f"a session ({mask_id(hash_id('1'))}) was not migrated: the record is not a JSON object\n"


# -- keys and passwords


@pytest.mark.parametrize("where", ["env", "file"])
@pytest.mark.parametrize("named", [True, False])
def test_encrypted_sessions_are_sealed_anew_with_keys_that_no_list_of_processes_shows(
    where: str, named: bool, tmp_path: Path
) -> None:
    older, newer, other = (secrets.token_urlsafe(32) for _ in range(3))
    ids = ("2025:", "2026:", "x:") if named else ("", "", "")
    sealing = EncryptedCodec({"2025": older} if named else older)
    fill(tmp_path / "old.db", 3, lambda key: sealing.seal(record(), key))
    arguments, env = ["sqlite:///old.db", "sqlite:///new.db"], {}
    for side, keys in (("source", f"{ids[1]}{newer}\n{ids[0]}{older}\n"), ("target", ids[2] + other)):
        (tmp_path / side).write_text(keys)
        env[side.upper()] = keys
        arguments += [f"--{side}-key-{where}", side if where == "file" else side.upper()]
    status, output, errors = run(*arguments, cwd=tmp_path, **(env if where == "env" else {}))
    assert (status, counts(output)["copied"], errors) == (0, 3, "")
    opening, store = EncryptedCodec({"x": other} if named else other), SQLiteStore(tmp_path / "new.db")
    assert [opening.unseal(stored.data, key) for key, stored in store.scan()] == [record()] * 3
    store.close()


def test_sessions_are_decrypted_for_a_target_without_encryption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    key = secrets.token_urlsafe(32)
    fill(tmp_path / "old.db", 1, lambda name: EncryptedCodec(key).seal(record(), name))
    monkeypatch.setenv("OLD_KEY", key)
    assert main(["migrate", "sqlite:///old.db", "sqlite:///new.db", "--source-key-env", "OLD_KEY"]) == 0
    store = SQLiteStore(tmp_path / "new.db")
    assert [stored.data for _, stored in store.scan()] == [record()]
    store.close()


def test_urls_may_come_from_the_environment(tmp_path: Path) -> None:
    fill(tmp_path / "old.db", 1)
    env = {"OLD_STORE": "sqlite:///old.db", "NEW_STORE": "sqlite:///new.db"}
    status, output, _ = run("env:OLD_STORE", "env:NEW_STORE", cwd=tmp_path, **env)
    assert (status, counts(output)["copied"]) == (0, 1)


# -- wrong arguments

GOOD = ("sqlite:///old.db", "sqlite:///new.db")
WRONG = [
    ((GOOD[0],), "sojourn: Missing argument 'TARGET'."),
    (("memory://", GOOD[1]), "sojourn: source: got memory://"),
    (("env:NOT_SET", GOOD[1]), "sojourn: source: got the environment variable 'NOT_SET', which is not set"),
    (("sqlite:///no.db", GOOD[1]), "sojourn: source: got a SQLite file that does not exist"),
    ((GOOD[0], "ftp://host"), "sojourn: target: got a URL of scheme 'ftp'"),
    ((GOOD[0], "redis://h?no=1"), "sojourn: target: got option 'no'"),
    ((GOOD[0], GOOD[0]), "sojourn: target: got the source"),
    ((GOOD[0], "redis://h?layout=connect-redis"), "sojourn: --hash-ids: got a target in Express's layout"),
    ((*GOOD, "--hash-ids"), "sojourn: --hash-ids: got True, and keys that are hashes already"),
    ((*GOOD, "--hash-ids", "--keep-ids"), "sojourn: --hash-ids and --keep-ids: give one of the two"),
    ((*GOOD, "--source-codec", "yaml"), "sojourn: Invalid value for '--source-codec': 'yaml' is not one of"),
    ((*GOOD, "--rate", "fast"), "sojourn: Invalid value for '--rate': 'fast' is not a valid float."),
    ((*GOOD, "--rate", "0"), "sojourn: --rate: got 0.0; give sessions per second"),
    ((*GOOD, "--workers", "0"), "sojourn: --workers: got 0; give a whole number"),
    ((*GOOD, "--workers", "x"), "sojourn: Invalid value for '--workers': 'x' is not a valid integer."),
    ((*GOOD, "--remove-ended"), "sojourn: --remove-ended: got no state"),
    ((*GOOD, "--state", "old.db"), "sojourn: --state: got a file that is something else"),
    (
        (*GOOD, "--source-key-env", "NOT_SET", "--source-key-file", "short"),
        "sojourn: --source-key-env and --source-key-file: give one of the two",
    ),
    ((*GOOD, "--source-key-env", "NOT_SET"), "sojourn: --source-key-env: got the environment variable 'NOT_SET'"),
    ((*GOOD, "--target-key-file", "short"), "sojourn: --target-key-file: got a key of the wrong length or form"),
    ((*GOOD, "--target-key-file", "mixed"), "sojourn: --target-key-file: got some keys with and some without an id"),
    ((*GOOD, "--target-key-file", "empty"), "sojourn: --target-key-file: got no key"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message.partition(";")[0] for _, message in WRONG])
def test_a_wrong_argument_is_named_in_one_line_and_with_status_2(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "old.db", 1)
    key = secrets.token_urlsafe(32)
    for name, text in (("short", "c2hvcnQ"), ("mixed", f"a:{key} {key}"), ("empty", " ")):
        (tmp_path / name).write_text(text)
    try:
        status: Any = main(["migrate", *arguments])
    except SystemExit as ended:
        status = ended.code
    assert status == 2
    told = capsys.readouterr()
    assert message in told.err.splitlines()[-1]
    assert told.out == "" and key not in told.err


def test_a_key_file_that_cannot_be_read_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["migrate", *GOOD, "--source-key-file", "no-such-file"]) == 1
    assert capsys.readouterr().err.startswith("sojourn: [Errno 2]")


# -- stopped half way


@pytest.mark.parametrize(
    ("number", "status", "state"),
    [
        (signal.SIGKILL, -9, STATE),
        (signal.SIGKILL, -9, ()),
        (signal.SIGTERM, 143, STATE),
        (signal.SIGINT, 130, STATE),
    ],
)
def test_a_run_that_is_stopped_is_resumed_by_running_it_again(
    number: signal.Signals, status: int, state: tuple[str, ...], tmp_path: Path
) -> None:
    fill(tmp_path / "old.db", 600)
    new = tmp_path / "new.db"
    with migrating(*GOOD, *state, "--rate", "400", cwd=tmp_path) as process:
        deadline = time.monotonic() + 30
        while count(new) < 40:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == status
    done = count(new)
    assert 40 <= done < 600
    if number != signal.SIGKILL:
        assert errors == "sojourn: stopped; what was done stays, run the same again to go on\n"
        assert counts(output)["copied"] == done
    status, output, errors = run(*GOOD, *state, cwd=tmp_path)
    assert (status, errors) == (0, "")
    already = {"unchanged": done} if state else {}
    expected = {"copied": 600 - done, "skipped": 0 if state else done, "expired": 0, "failed": 0} | already
    assert counts(output) == expected
    assert count(new) == 600


@pytest.mark.parametrize("moment", ["carry", "keep", "tell"])
def test_a_signal_at_whatever_moment_loses_nothing_of_what_was_done(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "old.db", 600)
    owner, name = {"carry": (Copier, "_create"), "keep": (State, "keep"), "tell": (_Shown, "__call__")}[moment]
    do, turns = getattr(owner, name), itertools.count()

    def interrupted(*arguments: Any) -> Any:
        if next(turns) == 1:
            signal.raise_signal(signal.SIGINT)
            time.sleep(0.05)  # the main thread has time to act upon it
        return do(*arguments)

    monkeypatch.setattr(owner, name, interrupted)
    assert main(["migrate", *GOOD, *STATE, "--workers", "2"]) == 130
    told, done = counts(capsys.readouterr().out), count(tmp_path / "new.db")
    assert 0 < told["copied"] < 600
    assert told["copied"] == done
    with closing(sqlite3.connect(tmp_path / "state")) as state:
        assert state.execute("SELECT count(*) FROM copies").fetchone() == (done,)


@pytest.mark.server
def test_a_target_that_dies_ends_the_run_in_one_line_and_the_next_run_goes_on(tmp_path: Path) -> None:
    fill(tmp_path / "old.db", 400)
    with valkey() as server:
        arguments = (GOOD[0], f"{server.url}?timeout=2")
        with migrating(*arguments, "--rate", "400", cwd=tmp_path) as process:
            deadline = time.monotonic() + 30
            while server.ask("DBSIZE") in {":0", ":1"}:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.01)
            server.kill()
            output, errors = process.communicate(timeout=30)
        assert process.returncode == 1
        assert 0 < counts(output)["copied"] < 400
        assert re.fullmatch(
            r"sojourn: the target fails: Redis cannot be reached: \w+; what was done stays, .*\n", errors
        )
        server.start()  # and it has forgotten everything
        status, output, errors = run(*arguments, cwd=tmp_path)
        assert (status, errors, counts(output)["copied"]) == (0, "", 400)


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_store_that_is_down_is_said_in_one_line_with_status_1(
    side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "old.db", 1)
    down = f"redis://user:password@127.0.0.1:{free_port()}/0"
    assert main(["migrate", *((down, GOOD[1]) if side == "source" else (GOOD[0], down))]) == 1
    told = capsys.readouterr()
    assert told.err.startswith(f"sojourn: the {side} fails: Redis cannot be reached: ")
    assert told.err.count("\n") == 1 and "password" not in told.err


def test_a_session_that_is_logged_out_while_stores_are_switched_is_logged_out_everywhere(tmp_path: Path) -> None:
    fill(tmp_path / "old.db", 4)
    arguments = (*GOOD, *STATE)
    assert run(*arguments, cwd=tmp_path)[0] == 0
    old, new = SQLiteStore(tmp_path / "old.db"), SQLiteStore(tmp_path / "new.db")
    at_old, at_new, changed, _ = (hash_id(str(number)) for number in range(4))
    old.delete(at_old)
    new.delete(at_new)
    found = old.load(changed)
    assert isinstance(found, Stored)
    old.replace(changed, record("changed"), HOUR, version=found.version)
    old.close()
    status, output, _ = run(*arguments, "--remove-ended", cwd=tmp_path)
    assert status == 0
    expected = {"copied": 0, "updated": 1, "unchanged": 2, "removed": 1, "skipped": 0, "expired": 0, "failed": 0}
    assert counts(output) == expected
    deadline = time.monotonic() + 10
    while new.load(at_old) is not None:  # what is removed is made to expire within a millisecond
        assert time.monotonic() < deadline
    assert {key for key, _ in new.scan()} == {changed, hash_id("3")}
    new.close()


# -- the progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, *steps: tuple[float, Report, int | None]) -> str:
    now = 0.0
    progress = _Shown(stream, lambda: now)
    for seconds, report, total in steps:
        now = seconds
        progress(report, total)
    progress.end()
    return stream.getvalue()


def test_a_terminal_has_a_bar_that_is_drawn_again_and_taken_away() -> None:
    text = shown(
        Terminal(),
        (0.05, Report(copied=1), 4000),
        (2.0, Report(copied=1000), 4000),
        (2.05, Report(copied=1001), 4000),
        (4000.0, Report(copied=1998, failed=2), 4000),
        (4000.5, Report(copied=5000), 4000),
    )
    assert text == (
        "\x1b[K[######------------------]  25%  1,000 of 4,000  500/s  0:00:06 left\r"
        "\x1b[K[############------------]  50%  2,000 of 4,000  0/s  1:06:40 left  2 failed\r"
        "\x1b[K[########################] 100%  5,000 of 4,000  1/s  0:00:00 left\r"
        "\x1b[K"
    )


def test_a_log_has_a_line_now_and_then() -> None:
    steps = [(float(second), Report(copied=100 * second), 2400) for second in range(13)]
    assert shown(io.StringIO(), *steps) == (
        "21%  500 of 2,400  100/s  0:00:19 left\n42%  1,000 of 2,400  100/s  0:00:14 left\n"
    )


def test_without_a_total_the_progress_says_what_there_is() -> None:
    assert shown(Terminal(), (1.0, Report(), None), (2.0, Report(copied=7, skipped=1), None)) == (
        "\x1b[K0  0/s\r\x1b[K8  4/s\r\x1b[K"
    )


def test_in_a_real_terminal_the_log_and_the_bar_do_not_run_into_each_other(tmp_path: Path) -> None:
    fill(tmp_path / "old.db", 60, lambda key: b"broken" if key == hash_id("1") else record())
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "sojourn", "migrate", *GOOD, "--rate", "100"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=slave, text=True) as process:
        os.close(slave)
        output, _ = process.communicate(timeout=60)
    seen = os.read(master, 1 << 16).decode()
    os.close(master)
    assert (process.returncode, counts(output)["copied"]) == (1, 59)
    assert re.search(r"\x1b\[K\[#*-*\] +\d+%  \d+ of 60  \d+/s  0:00:0\d left", seen)
    assert re.search(r"\x1b\[Ka session \(\w{8}…\) was not migrated: the record is not a JSON object\r\n", seen)
    assert seen.endswith("\x1b[K")
