"""What the tests with real programs share: a browser, and Node.js with the Express peers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, sync_playwright

from scripts.find_browser import find_browser
from scripts.node_peers import FOLDER, find_node


def absent(message: str) -> NoReturn:
    """Skip and say why; where everything should be there, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_browser() or absent("no Chromium found: install one, or set CHROMIUM")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def node_environment() -> dict[str, str]:
    """The variables with which ``node`` is found, and finds the peers."""
    node = find_node()
    modules = FOLDER / "node_modules"
    if node is None or not (modules / "connect-redis").exists():
        absent("the Express peers are not installed: python -m scripts.node_peers")
    return {"PATH": os.pathsep.join((str(node.parent), os.environ.get("PATH", ""))), "NODE_PATH": str(modules)}
