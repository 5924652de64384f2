from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tests.behaviour.harness import Make, World, log_text


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Which adapters and profiles a scenario runs over: all that the fixture it asks for stands for."""
    if "adapter" in metafunc.fixturenames:
        metafunc.parametrize("adapter", ["asgi", "wsgi"], scope="function")
    if "profile" in metafunc.fixturenames:
        metafunc.parametrize("profile", ["native", "express"], scope="function")


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for all requests: making one takes longer than most of them."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[list[World]]:
    """All worlds of a test. At its end, no log record may hold an id or a signed value."""
    monkeypatch.setattr("sojourn.logs._said", set())
    caplog.set_level(logging.DEBUG, logger="sojourn")
    made: list[World] = []
    yield made
    text = log_text(caplog.get_records("call"))
    for session_id in {one for world in made for one in world.seen_ids}:
        assert session_id not in text, "a log record holds a session id"


@pytest.fixture
def make(adapter: str, profile: str, worlds: list[World], runner: asyncio.Runner) -> Make:
    """Makes a world of either adapter, in either profile; takes the middleware's options."""
    return _maker(adapter, profile, worlds, runner)


@pytest.fixture
def native(adapter: str, worlds: list[World], runner: asyncio.Runner) -> Make:
    """The same in our own profile alone."""
    return _maker(adapter, "native", worlds, runner)


@pytest.fixture
def expressive(adapter: str, worlds: list[World], runner: asyncio.Runner) -> Make:
    """The same in the Express profile alone."""
    return _maker(adapter, "express", worlds, runner)


def _maker(adapter: str, profile: str, worlds: list[World], runner: asyncio.Runner) -> Make:
    def make(**options: object) -> World:
        worlds.append(World(adapter, profile, runner, dict(options)))
        return worlds[-1]

    return make
