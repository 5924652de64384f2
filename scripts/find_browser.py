"""Find a Chromium for the browser test, and with ``--install`` try to install one.

In order: ``$CHROMIUM``; a Chromium or Chrome on PATH; as root on Debian and its kin, the package ``chromium``. Prints the
path. When there is none the browser test is skipped and says so; under ``CI=true`` that is an error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import Final

__all__ = ["find_browser", "main"]

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_APPS: Final = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def find_browser() -> str | None:
    """The path of an installed Chromium, or None. A ``$CHROMIUM`` that is no program counts as none."""
    given = os.environ.get("CHROMIUM")
    candidates = (given,) if given else (*_NAMES, *_APPS)
    return next((path for name in candidates if (path := shutil.which(name))), None)


def _install() -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print("find_browser: installing Debian's chromium", file=sys.stderr)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        command = ["apt-get", "-o", "DPkg::Lock::Timeout=120", *arguments]
        # Its chatter belongs on stderr: stdout is for the path alone.
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False)
        if done.returncode:
            print(f"find_browser: apt-get {arguments[0]} ended with {done.returncode}", file=sys.stderr)


def main(argv: list[str]) -> int:
    if find_browser() is None and "--install" in argv and not os.environ.get("CHROMIUM"):
        _install()
    if (path := find_browser()) is not None:
        print(path)
        return 0
    print("find_browser: no Chromium; set CHROMIUM to one. The browser test is skipped", file=sys.stderr)
    return int(os.environ.get("CI") == "true")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
