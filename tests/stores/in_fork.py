"""Code that runs in a forked child."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable

import pytest

__all__ = ["in_fork"]


def in_fork(run: Callable[[], object]) -> None:
    """Run in a forked child, and fail if that fails or does not end."""
    child = os.fork()
    if child == 0:
        try:
            run()
        except BaseException:  # noqa: BLE001 - the child must not go on as a second test run
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    deadline = time.monotonic() + 15
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the child hangs")
        time.sleep(0.005)
    assert os.waitstatus_to_exitcode(status) == 0
