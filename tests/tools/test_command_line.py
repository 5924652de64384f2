"""Every command on every store, as an operator gives it."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from sojourn import EncryptedCodec
from sojourn.cli import main
from sojourn.core.record import unpack
from sojourn.ids import hash_id, mask_id
from tests.core.making import DAY, HOUR, SECRET
from tests.tools.places import EXPRESS, NATIVE, Place, place

pytestmark = pytest.mark.server


@pytest.fixture(params=NATIVE)
def site(request, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, request, tmp_path) as made:
        yield made


@pytest.fixture
def run(
    request, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command on the test's store: its exit status, and what it has said."""
    one: Place = request.getfixturevalue("shared" if "shared" in request.fixturenames else "site")
    monkeypatch.setenv("SOJOURN_STORE", one.url)

    def given(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(arguments)
        told = capsys.readouterr()
        return status, told.out, told.err

    return given


@pytest.fixture
def asked(run) -> Callable[..., Any]:
    """Runs a command that is done well: what it says as JSON."""

    def given(*arguments: str) -> Any:
        status, output, errors = run(*arguments, "--json")
        assert (status, errors) == (0, ""), (output, errors)
        return json.loads(output)

    return given


def names(listed: Any) -> set[str]:
    return {session["name"] for session in listed["sessions"]}


def test_an_operator_finds_an_owner_s_sessions_and_ends_them(site, run, asked) -> None:
    mine = [site.keep(f"id-{number}", "ann") for number in range(3)]
    other = site.keep("other", "bob")
    assert names(asked("find", "ann")) == set(mine)
    status, output, _ = run("find", "ann")
    assert status == 0 and all(key in output for key in mine) and other not in output
    assert asked("end", mine[0][:10], "--yes") == {"ended": 1}
    assert names(asked("find", "ann")) == set(mine[1:])
    assert run("end", "--owner", "ann", "--yes")[:2] == (0, "2 sessions ended.\n")
    assert asked("find", "ann")["sessions"] == []
    assert site.store.load(other)
    assert asked("end", "--all", "--yes") == {"ended": 1}
    assert site.store.count() == 0


def test_a_handle_of_a_device_names_its_session(site, run, asked, monkeypatch) -> None:
    key = site.keep("id", "ann")
    handle = site.settings.signer.marks(b"device", key)[0]
    assert run("show", handle)[0] == 3  # without the secret nobody knows it
    monkeypatch.setenv("SOJOURN_SECRET", SECRET.decode())
    assert asked("show", handle)["session"]["name"] == key
    assert asked("end", handle, "--owner", "ann", "--yes") == {"ended": 1}


def test_a_session_is_shown_without_its_data_unless_they_are_to_be_revealed(site, run, asked) -> None:
    key = site.keep("id", "ann", note="private")
    shown = asked("show", key)
    assert (shown["session"]["owner"], shown["data"], shown["is_masked"]) == ("ann", {"note": "str of 7"}, True)
    assert shown["session"]["expires_at"] and shown["session"]["last_seen_at"]
    assert "private" not in run("show", key)[1]
    assert "private" in run("show", key, "--reveal")[1]
    assert asked("show", key[:8], "--owner", "ann", "--reveal")["data"] == {"note": "private"}
    assert run("show", hash_id("no such"))[0] == 3


def test_encrypted_data_are_shown_where_the_key_is_given(site, run, asked, monkeypatch) -> None:
    keys = secrets.token_urlsafe(32)
    site.codec = EncryptedCodec(keys)
    key = site.keep("id", "ann", note="private")
    assert run("show", key)[0] == 1
    assert not asked("list")["sessions"][0]["is_readable"]
    monkeypatch.setenv("SOJOURN_KEYS", keys)
    assert asked("show", key, "--reveal")["data"] == {"note": "private"}
    assert names(asked("find", "ann")) == {key}


def test_lists_go_page_by_page_and_by_conditions(site, asked) -> None:
    keys = {site.keep(f"id-{number}", "ann" if number % 2 else None) for number in range(25)}
    large = site.keep("large", blob="x" * 3000)
    found, after = [], None
    while True:
        page = asked("list", "--limit", "7", *(() if after is None else ("--after", after)))
        found += [session["name"] for session in page["sessions"]]
        after = page["next"]
        if after is None:
            break
    assert set(found) == keys | {large}
    found, after = [], None
    for limit in ("3", "11", "2", "50"):  # as somebody does who changes their mind
        page = asked("list", "--limit", limit, *(() if after is None else ("--after", after)))
        found += [session["name"] for session in page["sessions"]]
        after = page["next"]
    assert after is None and sorted(found) == sorted(keys | {large})
    assert names(asked("list", "--larger-than", "2k")) == {large}
    assert len(names(asked("list", "--owner", "ann", "--limit", "100"))) == 12
    assert len(names(asked("list", "--anonymous", "--limit", "100"))) == 14
    assert names(asked("list", "--prefix", large[:12])) == {large}
    assert names(asked("list", "--idle-for", "1h")) == set()
    assert names(asked("list", "--older-than", "0s", "--limit", "100")) == keys | {large}


def test_statistics_and_a_ping(site, run, asked) -> None:
    for number in range(5):
        site.keep(f"id-{number}", "ann", ttl=HOUR // 2)
    stats = asked("stats")
    assert (stats["live"], stats["owned"], stats["owners"], stats["expiring_soon"]) == (5, 5, 1, 5)
    assert stats["most_sessions"] == [["ann", 5]] and len(stats["largest"]) == 5
    assert asked("stats", "--sample", "2")["is_sampled"]
    assert "Owners with the most" in run("stats")[1]
    status, output, errors = run("ping", "--json")
    ping = json.loads(output)
    assert status == int(any(finding["level"] == "error" for finding in ping["findings"])) and errors == ""
    assert ping["facts"]["server"] and ping["facts"]["version"] and ping["write_ms"] > 0
    assert asked("stats")["live"] == 5
    assert f"{ping['facts']['server']} {ping['facts']['version']}" in run("ping", "--read-only")[1]


def test_what_has_expired_is_pruned(site, asked) -> None:
    assert asked("prune") == {"removed": 0}


def test_an_index_that_is_behind_is_set_right(site, run, asked) -> None:
    key = site.keep("id", "ann")
    site.store.set_owner(key, None, version=site.store.load(key).version)
    assert asked("find", "ann")["sessions"] == []
    assert asked("reindex") == {"seen": 1, "changed": 1, "unreadable": 0}
    assert names(asked("find", "ann")) == {key}
    assert run("reindex")[1] == "1 session seen, 0 set right, 0 cannot be read.\n"


def test_a_session_is_watched_until_it_ends(site, run, monkeypatch) -> None:
    key, looks = site.keep("id", "ann"), []

    def sleep(_seconds: float) -> None:
        looks.append(1)
        if len(looks) == 1:
            site.keep("another", "ann")
            site.store.touch(key, 2 * DAY)
        else:
            site.store.delete(key)

    monkeypatch.setattr("sojourn.cli.look.sleep", sleep)
    status, output, _ = run("watch", "ann", "--times", "3", "--json")
    lines = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    told = [(line["event"], line["session"]["name"]) for line in lines]
    another = site.settings.key_of("another")
    assert told[0] == ("is there", key)
    assert set(told[1:3]) == {("began", another), ("was used", key)}
    assert told[3:] == [("ended", key)]
    looks.clear()
    key = site.keep("last", "bob")
    looks.append(1)
    status, output, _ = run("watch", key)
    assert status == 0 and output.splitlines()[-1].endswith(f"{key[:12]} of bob ended")


def test_sessions_are_sealed_anew_under_the_newest_key(site, run, asked, monkeypatch) -> None:
    older, newer = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    site.codec = EncryptedCodec(older)
    keys = [site.keep(f"id-{number}", "ann", ttl=2 * HOUR) for number in range(5)]
    assert run("rotate-keys")[0] == 2
    monkeypatch.setenv("SOJOURN_KEYS", f"{newer} {older}")
    assert asked("rotate-keys", "--dry-run") == {"seen": 5, "sealed": 5, "unreadable": 0}
    assert asked("rotate-keys") == {"seen": 5, "sealed": 5, "unreadable": 0}
    assert asked("rotate-keys") == {"seen": 5, "sealed": 0, "unreadable": 0}
    codec = EncryptedCodec(newer)
    for key, stored in site.store.scan():
        assert unpack(codec.unseal(stored.data, key)).owner == "ann"
        assert HOUR < stored.expires_in <= 2 * HOUR
    assert set(site.store.by_owner("ann")) == set(keys)
    monkeypatch.setenv("SOJOURN_KEYS", older)
    status, _, errors = run("rotate-keys")
    assert status == 1 and older not in errors


def test_a_backup_brings_back_what_was_lost_and_nothing_that_has_ended(site, run, asked, tmp_path: Path) -> None:
    keys = [site.keep(f"id-{number}", "ann") for number in range(4)]
    file = str(tmp_path / "backup")
    assert asked("export", file)["exported"] == 4
    assert Path(file).stat().st_mode & 0o777 == 0o600
    site.store.delete(keys[0])
    changed = site.store.load(keys[1])
    site.store.touch(keys[1], 2 * DAY)
    counts = asked("import", file)
    assert counts == {"imported": 0, "there": 3, "ended": 1, "expired": 0, "failed": 0}
    assert site.store.load(keys[0]) is None
    counts = asked("import", file, "--revive-ended", "--yes")
    assert counts == {"imported": 1, "there": 3, "ended": 0, "expired": 0, "failed": 0}
    assert site.store.load(keys[1]).data == changed.data
    assert set(site.store.by_owner("ann")) == set(keys)
    assert run("import", file)[1].startswith("imported")


def test_sessions_are_migrated(site, run, tmp_path: Path) -> None:
    keys = {site.keep(f"id-{number}", "ann") for number in range(3)}
    new = tmp_path / "new.db"
    status, output, _ = run("migrate", "env:SOJOURN_STORE", f"sqlite:///{new}")
    assert status == 0 and output.startswith("copied                3")
    assert keys <= names(json.loads(_output("find", "ann", "--json", store=f"sqlite:///{new}")))


# -- Express's layouts, where the key is the id


@pytest.fixture(params=EXPRESS)
def shared(request, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, request, tmp_path) as made:
        yield made


def test_in_express_s_layouts_no_id_is_shown_and_none_taken(shared, run, asked, tmp_path: Path) -> None:
    ids = [f"the-id-{number}-{secrets.token_hex(8)}" for number in range(6)]
    for each in ids:
        shared.keep(each, "ann", note="private")
    said = []
    for arguments in (("list", "--limit", "2"), ("list", "--limit", "2", "--json"), ("stats",), ("stats", "--json")):
        said += run(*arguments)[1:]
    assert mask_id(ids[0]) in "".join(said) or mask_id(ids[0])[:8] in "".join(said)
    said += run("show", mask_id(ids[0]), "--json")[1:]
    status, *refused = run("end", ids[0], "--yes")
    assert status == 3
    said += refused
    assert not any(each in text for text in said for each in ids)
    assert asked("end", mask_id(ids[0]), "--yes") == {"ended": 1}
    assert shared.store.count() == 5
    file = str(tmp_path / "backup")
    assert asked("export", file)["exported"] == 5
    assert asked("import", file)["there"] == 5


# -- as another process


def _process(*arguments: str, store: str = "", text: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sojourn", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, "SOJOURN_STORE": store, **env},
        text=True,
        capture_output=True,
        input=text,
        check=False,
    )


def _output(*arguments: str, store: str) -> str:
    done = _process(*arguments, store=store)
    assert done.returncode == 0, done.stderr
    return done.stdout


APP: Final = """
from starlette.applications import Starlette
from sojourn.asgi import SessionMiddleware
app = Starlette()
app.add_middleware(SessionMiddleware, secret="keyboard cat", store="memory://")
"""


def test_every_command_runs_as_a_process_of_its_own(request, tmp_path: Path) -> None:
    with place("sqlite", request, tmp_path) as site:
        key = site.keep("id", "ann", note="private")
        file = str(tmp_path / "backup")
        (tmp_path / "shop.py").write_text(APP)
        keys = secrets.token_urlsafe(32)
        commands: list[tuple[tuple[str, ...], int, str]] = [
            (("ping",), 0, "SQLite"),
            (("stats",), 0, "live sessions\t1"),
            (("list",), 0, key),
            (("show", key), 0, "str of 7"),
            (("find", "ann"), 0, key),
            (("watch", "ann", "--times", "1"), 0, "is there"),
            (("export", file), 0, "1 session"),
            (("import", file), 0, "there already\t1"),
            (("reindex",), 0, "1 session seen"),
            (("prune",), 0, "0 sessions"),
            (("migrate", "env:SOJOURN_STORE", f"sqlite:///{tmp_path / 'new.db'}"), 0, "copied"),
            (("rotate-keys", "--accept-plaintext"), 0, "1 session seen, 1 sealed anew"),
            (("end", "--owner", "ann", "--yes"), 0, "1 session ended."),
            (("secret",), 0, ""),
            (("completion", "bash"), 0, "_SOJOURN_COMPLETE"),
        ]
        for arguments, status, said in commands:
            seals = arguments[0] in {"rotate-keys", "end"}
            done = _process(*arguments, store=site.url, **({"SOJOURN_KEYS": keys} if seals else {}))
            assert (done.returncode, said in done.stdout) == (status, True), (arguments, done.stdout, done.stderr)
        done = subprocess.run(
            [sys.executable, "-m", "sojourn", "doctor", "shop:app"],
            cwd=tmp_path,
            text=True,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 1 and "the secret is weak" in done.stdout, done.stderr
        assert _process("--help").returncode == 0 and "find" in _process("--help").stdout
