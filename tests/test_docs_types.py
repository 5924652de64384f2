"""What the pages of the frameworks show is right to a type checker: under ``mypy --strict`` and under pyright."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]
CHECKERS = {
    "mypy": ("mypy", "--strict", "--no-incremental", "--no-error-summary", "--config-file="),
    "pyright": ("pyright",),
}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of the pages that use a framework, a file each."""
    folder = tmp_path_factory.mktemp("programs")
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n((?:import|from) .*?)^```$", text, re.MULTILINE | re.DOTALL):
            if re.search(
                r"^from (fastapi|starlette|sojourn.flask|sojourn.quart|sojourn.aiohttp)", found[1], re.MULTILINE
            ):
                line = text.count("\n", 0, found.start()) + 1
                name = re.sub(r"\W+", "_", page.removesuffix(".md"))
                (folder / f"{name}_line_{line}.py").write_text(found[1], encoding="utf-8")
    return folder


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_program_is_right_to_a_type_checker(programs: Path, checker: str) -> None:
    files = sorted(path.name for path in programs.glob("*.py"))
    assert len(files) > 8
    # pyright asks the `python` on PATH where packages are.
    path = os.pathsep.join((str(Path(sys.executable).parent), str(ROOT / "src"), os.environ.get("PATH", "")))
    env = {**os.environ, "PATH": path, "MYPYPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", *CHECKERS[checker], *files]
    done = subprocess.run(command, cwd=programs, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
