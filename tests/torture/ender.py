"""Logouts, from a process of its own: ``python -m tests.torture.ender``. It reads cookies, a line each, and prints when each session had ended."""

from __future__ import annotations

import sys
import time

from tests.torture.worker import Visitor


def main() -> None:
    visitor = Visitor(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        status, _cookie = visitor.request(line.strip(), lambda session: session.logout())
        assert status == 200
        print(time.monotonic(), flush=True)  # a clock that all processes share


if __name__ == "__main__":
    main()
