"""What the command line takes and refuses, and how it prints: what is the same for all commands."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sojourn.cli import main
from sojourn.cli.output import Column, Out, ago, printable, size_of
from sojourn.cli.secret import weakness
from sojourn.core.store import Stored
from sojourn.stores import SQLiteStore
from tests.core.making import DAY, make_settings, record_bytes


@pytest.fixture(autouse=True)
def nothing_said_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("SOJOURN_STORE", "SOJOURN_KEYS", "SOJOURN_SECRET", "SOJOURN_BACKUP_KEYS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def url(tmp_path: Path) -> str:
    store = SQLiteStore(tmp_path / "sessions.db")
    store.create(make_settings().key_of("id"), record_bytes(make_settings(), {"n": 1}), DAY, owner=None)
    store.close()
    return f"sqlite:///{tmp_path / 'sessions.db'}"


# -- which store


def test_the_url_comes_from_an_argument_a_file_or_the_environment(url, tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "url").write_text(f"{url}\n")
    assert main(["stats", "--store", url, "--json"]) == 0
    assert main(["stats", "--store-file", "url", "--json"]) == 0
    monkeypatch.setenv("SOJOURN_STORE", url)
    assert main(["stats", "--json"]) == 0
    assert capsys.readouterr().out.count('"live": 1') == 3


@pytest.mark.parametrize(
    "given",
    [
        "redis://user:hunter2@host/0",
        "redis://:hunter2@host/0",
        "postgresql://u:hunter2@h/d",
        "postgresql://u@h/d?password=hunter2",
        "redis+sentinel://h/s?sentinel_password=hunter2",
        "mongodb://u:hunter2@h1,h2/d",
    ],
)
def test_a_password_in_an_argument_is_refused_with_what_to_do_and_not_repeated(given, capsys) -> None:
    assert main(["ping", "--store", given]) == 2
    told = capsys.readouterr().err
    assert told.startswith("sojourn: --store: got a URL with a password") and "SOJOURN_STORE" in told
    assert "hunter2" not in told and told.count("\n") == 1


WRONG = [
    ([], "the store: got none; put its URL into the environment variable SOJOURN_STORE"),
    (["--store", "memory://"], "the store: got memory://"),
    (["--store", "sqlite:///no.db"], "the store: got a SQLite file that does not exist"),
    (["--store", "ftp://host"], "the store: got a URL of scheme 'ftp'"),
    (["--store", "redis://host?layout=flask-session"], "the store: got another library's layout"),
    (["--store", "http://[", "--json"], "the store: got a malformed URL"),
    (["--store", "URL", "--passport"], "--passport: got True"),
    (["--store", "URL", "--idle-timeout", "soon"], "'soon' is none: give seconds, or a number with s, m, h, d or w"),
    (["--store", "URL", "--idle-timeout", "3y"], "'3y' is none"),
    (["--store", "URL", "--idle-timeout", "999999999999w"], "'999999999999w' is too much"),
    (["--store", "URL", "--keys-file", "short"], "--keys-file: got a key of the wrong length or form"),
    (["--store", "URL", "--keys-file", "missing"], "--keys-file"),
    (["--store", "URL", "--codec", "yaml"], "'yaml' is not one of"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG, ids=[message for _, message in WRONG])
def test_a_wrong_option_is_named_in_one_line_and_with_status_2(arguments, message, url, tmp_path, capsys) -> None:
    (tmp_path / "short").write_text("c2hvcnQ")
    assert main(["stats", *(url if given == "URL" else given for given in arguments)]) == 2
    told = capsys.readouterr()
    assert message in told.err and told.err.startswith("sojourn: ") and told.err.count("\n") == 1
    assert told.out == ""
    assert not (tmp_path / "no.db").exists()


@pytest.mark.parametrize("owner", ["", "x" * 2049, "\ud800"])
@pytest.mark.parametrize(
    "command", [["find"], ["watch"], ["list", "--owner"], ["end", "--all", "--owner"], ["show", "12345678", "--owner"]]
)
def test_who_can_be_no_owner_is_refused_in_one_line_with_status_2(command, owner, url, capsys) -> None:
    assert main([*command, owner, "--store", url]) == 2
    told = capsys.readouterr().err
    assert "an owner" in told and "--after" not in told and told.count("\n") == 1


def test_a_store_that_is_down_is_said_in_one_line_with_status_1(capsys) -> None:
    assert main(["ping", "--store", "redis://127.0.0.1:1/0"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("sojourn: Redis cannot be reached") and told.count("\n") == 1


def test_without_the_extra_the_command_says_what_to_install(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "click", None)
    assert main(["stats"]) == 1
    assert capsys.readouterr().err == 'sojourn: the command line needs click: pip install "sojourn[cli]"\n'


def test_a_place_that_no_list_has_returned_is_refused(url, capsys) -> None:
    assert main(["list", "--store", url, "--after", "x"]) == 2
    assert "--after" in capsys.readouterr().err


def test_the_store_of_an_option_s_own_words_is_used(url, capsys) -> None:
    assert main(["list", "--store", url, "--idle-timeout", "2h", "--keep-ids", "--codec", "json", "--json"]) == 0
    told = capsys.readouterr().out
    assert make_settings().key_of("id") not in told  # it may be an id


def test_more_than_fits_is_said(url, capsys) -> None:
    store = SQLiteStore("sessions.db")
    for number in range(60):
        store.create(make_settings().key_of(str(number)), record_bytes(make_settings(), {"n": 1}), DAY)
    store.close()
    assert main(["list", "--store", url, "--limit", "5"]) == 0
    assert "There may be more: the same with --after " in capsys.readouterr().err
    assert main(["stats", "--store", url, "--sample", "5"]) == 0
    assert "is of a sample of 5" in capsys.readouterr().err


def test_a_session_that_changes_is_told_of(url, monkeypatch, capsys) -> None:
    def change(_seconds: float) -> None:
        store, key = SQLiteStore("sessions.db"), make_settings().key_of("id")
        found = store.load(key)
        assert isinstance(found, Stored)
        store.replace(key, record_bytes(make_settings(), {"n": 1234567}), DAY, version=found.version)
        store.close()

    monkeypatch.setattr("sojourn.cli.look.sleep", change)
    assert main(["watch", make_settings().key_of("id")[:9], "--store", url, "--times", "2", "--every", "1s"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert " is there, expires in " in first and " changed, expires in " in second


# -- asking


@pytest.mark.parametrize("arguments", [[], ["--all", "abcdefgh"], ["--all", "--owner", "ann"]])
def test_what_to_end_has_to_be_said(arguments, url, capsys) -> None:
    assert main(["end", "--store", url, *arguments]) == 2
    assert "say which sessions" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "status", "left"), [("y\n", 0, 0), ("n\n", 1, 1), ("\n", 1, 1), ("", 130, 1)])
def test_sessions_end_once_somebody_has_said_yes(answer, status, left, url, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    assert main(["end", "--store", url, "--all"]) == status
    assert "End all 1 sessions of SQLiteStore" in capsys.readouterr().err
    store = SQLiteStore("sessions.db")
    assert store.count() == left
    store.close()


def test_where_nobody_can_be_asked_yes_has_to_be_said(url, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert main(["end", "--store", url, "--all"]) == 2
    assert "say --yes" in capsys.readouterr().err
    assert main(["end", "--store", url, "--owner", "nobody", "--yes"]) == 0


def test_a_backup_is_encrypted_only_with_keys(url, monkeypatch, capsys) -> None:
    assert main(["export", "backup", "--store", url, "--encrypt"]) == 2
    assert "--encrypt: got no keys" in capsys.readouterr().err
    monkeypatch.setenv("SOJOURN_BACKUP_KEYS", "A" * 43)
    assert main(["export", "backup", "--store", url, "--encrypt"]) == 0
    assert make_settings().key_of("id") not in Path("backup").read_text()
    store = SQLiteStore("sessions.db")
    store.clear()
    store.close()
    assert main(["import", "backup", "--store", url]) == 0
    assert "--revive-ended brings them back" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_backup_on_standard_output_has_it_for_itself(name, as_json, url, capfdbinary) -> None:
    assert main(["export", name, "--store", url, *(["--json"] if as_json else [])]) == 0
    written, said = capfdbinary.readouterr()
    assert [json.loads(line).keys() for line in written.splitlines()][1:] == [{"key", "data", "expires"}, {"end"}]
    assert json.loads(said) == {"exported": 1, "file": name} if as_json else said == b"1 session.\n"


# -- printing


def terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> Terminal:
    shown = Terminal()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    return shown


def test_no_table_is_wider_than_the_terminal(url, monkeypatch) -> None:
    shown = terminal(monkeypatch, 60)
    monkeypatch.setenv("NO_COLOR", "1")
    for command in (["list"], ["stats"], ["ping"], ["show", make_settings().key_of("id")], ["find", "ann"]):
        main([*command, "--store", url])
    lines = shown.getvalue().splitlines()
    assert len(lines) > 30
    assert max(len(_bare(line)) for line in lines) <= 60


def _bare(line: str) -> str:
    out, inside = "", False
    for char in line:
        if char == "\x1b":
            inside = True
        elif not inside:
            out += char
        elif char.isalpha():
            inside = False
    return out


def test_what_is_piped_has_no_colours_and_whole_names(url, capsys) -> None:
    assert main(["list", "--store", url]) == 0
    titles, row = capsys.readouterr().out.splitlines()
    assert titles.split("\t") == ["session", "owner", "began", "last_seen", "expires", "size", "device"]
    assert row.split("\t")[0] == make_settings().key_of("id") and "\x1b" not in row


def test_colours_come_on_a_terminal_and_not_with_no_color(monkeypatch) -> None:
    for has_colour in (True, False):
        shown = terminal(monkeypatch, 80)
        monkeypatch.setenv("NO_COLOR", "" if has_colour else "1")
        Out(as_json=False).line("hello", "red")
        assert ("\x1b[31m" in shown.getvalue()) is has_colour


def test_what_visitors_have_chosen_is_not_obeyed_by_a_terminal(monkeypatch, capsys) -> None:
    evil = "\x1b[2J\x07\u202e\x9b31m[bold]x[/bold]\nend"
    Out(as_json=False).table([Column("Owner")], [[evil]])
    Out(as_json=False).pairs([("owner", evil)])
    Out(as_json=False).line(evil)
    Out(as_json=False).pairs([("it is", True), ("it is not", False)])
    Out(as_json=True).json({"owner": evil})
    piped = capsys.readouterr().out
    shown = terminal(monkeypatch, 200)
    monkeypatch.setenv("NO_COLOR", "1")
    Out(as_json=False).table([Column("Owner")], [[evil]])
    Out(as_json=False).pairs([("owner", evil)])
    for text in (piped, shown.getvalue()):
        assert not any(mark in text for mark in ("\x1b[2J", "\x07", "\u202e", "\x9b", "x\nend"))
        assert "[bold]x[/bold]" in text
    assert json.loads(piped[piped.index("{") :])["owner"] == evil


def test_values_that_json_lacks_are_written_as_text(capsys) -> None:
    Out(as_json=True).json({"a": {1, 2}, "b": 2**80, "c": datetime(2026, 1, 1, tzinfo=UTC), "d": b"x", "e": object})
    told = json.loads(capsys.readouterr().out)
    assert told["b"] == 2**80 and told["c"].startswith("2026-01-01")


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (timedelta(seconds=-5), "5 s ago"),
        (timedelta(minutes=-5), "5 min ago"),
        (timedelta(hours=5), "in 5 h"),
        (timedelta(days=5), "in 5 d"),
        (timedelta(days=800), "in 2 y"),
    ],
)
def test_times_are_told_as_far_from_now(delta, text) -> None:
    assert ago(NOW + delta, NOW) == text


def test_sizes_are_told_in_units() -> None:
    assert [size_of(size) for size in (0, 1023, 1536, 3 * 1024**2)] == ["0 B", "1023 B", "1.5 KB", "3.0 MB"]
    assert printable("Zoë 🍰") == "Zoë 🍰"


def test_a_terminal_shows_how_far_a_long_command_is(url, monkeypatch) -> None:
    errors = Terminal()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setenv("TERM", "xterm")
    assert main(["reindex", "--store", url]) == 0
    assert "Looking" in errors.getvalue()


# -- secrets


@pytest.mark.parametrize(
    ("secret", "reason"),
    [
        ("short", "it has 5 bytes"),
        ("a" * 64, "its characters repeat themselves"),
        ("django-insecure-" + "x1y2z3" * 10, "it quotes 'django-insecure'"),
        ("change-me-please-this-is-a-template-value", "it quotes 'change-me'"),
    ],
)
def test_a_weak_secret_is_told_by_what_is_wrong(secret, reason, monkeypatch, capsys) -> None:
    assert reason in str(weakness(secret))
    monkeypatch.setenv("SOJOURN_SECRET", secret)
    assert main(["secret", "--check"]) == 1
    told = capsys.readouterr()
    assert reason in told.out and secret not in told.out + told.err


def test_a_printed_secret_is_good_and_another_each_time(monkeypatch, capsys) -> None:
    printed = set()
    for _ in range(3):
        assert main(["secret"]) == 0
        printed.add(capsys.readouterr().out.strip())
    assert len(printed) == 3
    for secret in printed:
        assert weakness(secret) is None
        monkeypatch.setattr(sys, "stdin", io.StringIO(secret))
        assert main(["secret", "--check", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"weak": [False], "reasons": [None]}
    assert main(["secret", "--key", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["key"]) == 43


def test_several_secrets_are_checked_one_by_one(tmp_path, capsys) -> None:
    (tmp_path / "secrets").write_text(f"{'0123456789abcdefghijklmnopqrstuvwxyzQWV'}\nshort\n")
    assert main(["secret", "--check", "--secret-file", "secrets"]) == 1
    assert "secret 2 is weak: it has 5 bytes" in capsys.readouterr().out


def test_a_secret_is_asked_for_on_a_terminal_and_there_has_to_be_one(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert main(["secret", "--check"]) == 2
    asked: list[Any] = []
    monkeypatch.setattr(sys, "stdin", Terminal(""))

    def prompt(*_given: Any, **options: Any) -> str:
        asked.append(options)
        return "short"

    monkeypatch.setattr("click.prompt", prompt)
    assert main(["secret", "--check"]) == 1
    assert asked == [{"hide_input": True, "err": True}]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(shell, capsys) -> None:
    assert main(["completion", shell]) == 0
    assert "_SOJOURN_COMPLETE" in capsys.readouterr().out


def test_a_shell_completes_commands_and_options(monkeypatch, capsys) -> None:
    monkeypatch.setenv("_SOJOURN_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "sojourn rot")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out == "plain,rotate-keys\n"
