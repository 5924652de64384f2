"""The command ``sojourn``."""

from __future__ import annotations

import signal
import socket
import stat
from pathlib import Path

import httpx
import pytest

from sojourn import __version__
from sojourn.cli import main
from tests.processes import serving


def test_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sojourn {__version__}\n"


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "demo" in capsys.readouterr().out


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["demo", "--port", str(taken.getsockname()[1]), "--data", str(tmp_path / "data")]) == 1
    assert capsys.readouterr().err.startswith("sojourn: ")


def test_a_missing_extra_is_named_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    assert main(["demo", "--data", str(tmp_path)]) == 1
    assert 'pip install "sojourn[demo]"' in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_well_on_either_signal_and_keeps_its_sessions(number: signal.Signals, tmp_path: Path) -> None:
    command = ("-m", "sojourn", "demo", "--port", "0", "--data", "data")
    with serving(*command, cwd=tmp_path) as running, httpx.Client(base_url=running.address) as visitor:
        assert "You visited this page 1 time<" in visitor.get("/").text
        cookies = dict(visitor.cookies)
        running.process.send_signal(number)
        assert running.process.wait(20) == 0
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    with serving(*command, cwd=tmp_path) as running, httpx.Client(base_url=running.address, cookies=cookies) as visitor:
        assert "You visited this page 2 times<" in visitor.get("/").text


def test_the_demo_answers_strange_forms_with_a_page(tmp_path: Path) -> None:
    command = ("-m", "sojourn", "demo", "--port", "0", "--data", "data")
    with (
        serving(*command, cwd=tmp_path) as running,
        httpx.Client(base_url=running.address, follow_redirects=True) as visitor,
    ):
        assert "Please tell us your name." in visitor.post("/login", data={"name": " "}).text
        assert "is in your cart" not in visitor.post("/cart/add/nothing").text
        assert "Nothing in it yet." in visitor.post("/cart/remove/tent").text
        visitor.post("/cart/add/tent")
        assert "is back on the shelf" in visitor.post("/cart/remove/tent").text
        assert "&lt;b&gt;" in visitor.post("/login", data={"name": "<b>"}).text
