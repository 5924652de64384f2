"""Which interpreters `scripts.interpreters` finds, and what it makes of their results."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts import interpreters
from scripts.interpreters import Interpreter, candidates, find


def interpreter(path: Path, version: str, *, kind: str = "CPython", free_threaded: bool = False) -> Path:
    """A program that says of itself what `scripts.interpreters` asks for."""
    told = [kind, version, [int(part) for part in version.split(".")[:2]], free_threaded, str(path)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{json.dumps(told)}'\n")
    path.chmod(0o755)
    return path


def test_interpreters_are_found_on_the_path_and_at_pyenv_s_once_each_and_in_order(tmp_path: Path) -> None:
    first = interpreter(tmp_path / "bin" / "python3.13", "3.13.4")
    interpreter(tmp_path / "bin" / "python3", "3.13.4")
    interpreter(tmp_path / "bin" / "python3-config", "3.12.0")
    interpreter(tmp_path / "bin" / "python3.10", "3.10.1")
    (tmp_path / "bin" / "python3.12").write_text("#!/bin/sh\nexit 127\n")  # as pyenv's, of a version not chosen
    (tmp_path / "bin" / "python3.12").chmod(0o755)
    (tmp_path / "bin" / "python3.15").write_text("no program")
    second = interpreter(tmp_path / "pyenv" / "versions" / "3.9.0" / "bin" / "python3.11", "3.11.7")
    found = find(candidates(f"{tmp_path / 'none'}:{tmp_path / 'bin'}", tmp_path / "pyenv"))
    assert list(found.values()) == [
        Interpreter("3.11.7", str(second)),
        Interpreter("3.13.4", str(first.parent / "python3")),
    ]


def test_what_is_not_tested_is_left_out_with_its_reason(tmp_path: Path) -> None:
    interpreter(tmp_path / "python3.13", "3.13.4", free_threaded=True)
    interpreter(tmp_path / "python3.11", "3.11.7", kind="PyPy")
    found = find(candidates(str(tmp_path), tmp_path))
    assert [one.refused for one in found.values()] == ["left out: PyPy", "left out: a free-threaded build"]


def test_of_two_builds_of_one_version_the_one_that_is_tested_is_taken(tmp_path: Path) -> None:
    interpreter(tmp_path / "python3", "3.13.4", free_threaded=True)
    plain = interpreter(tmp_path / "python3.13", "3.13.4")
    assert find(candidates(str(tmp_path), tmp_path)) == {"3.13.4": Interpreter("3.13.4", str(plain))}


def test_this_interpreter_is_one() -> None:
    (found,) = find([Path(sys.executable)]).values()
    assert (found.path, found.refused) == (sys.executable, "")


@pytest.mark.parametrize(
    ("results", "status"),
    [({"3.11.7": "passed", "3.12.1": "passed"}, 0), ({"3.11.7": "passed", "3.12.1": "failed"}, 1), ({}, 1)],
)
def test_it_fails_if_one_fails_or_there_is_none(
    results: dict[str, str], status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {version: Interpreter(version, "python") for version in results} | {
        "3.13.4": Interpreter("3.13.4", "python", "left out: a free-threaded build")
    }
    monkeypatch.setattr(interpreters, "find", lambda _files: here)
    monkeypatch.setattr(interpreters, "_run", lambda one, _arguments: results[one.version])
    assert interpreters.main([]) == status
    told = capsys.readouterr().out
    assert "found 3.13.4, left out: a free-threaded build: python" in told
    assert all(f"{version}: {result}" in told for version, result in results.items())
