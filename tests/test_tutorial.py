"""The programs of the tutorials, and the tests that the tutorials show of them, run as the pages say."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parent.parent / "examples" / "tutorial"
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
COMMANDS = {
    "diary": (*PYTEST, "test_diary.py"),
    "flask_diary": (*PYTEST, "test_flask_diary.py"),
    "django_diary": ("django_diary.py", "test"),
}


@pytest.mark.parametrize(("program", "command"), COMMANDS.items(), ids=COMMANDS)
def test_a_tutorials_program_passes_the_tutorials_tests(program: str, command: tuple[str, ...], tmp_path: Path) -> None:
    for name in (f"{program}.py", f"test_{program}.py"):
        shutil.copy(TUTORIAL / name, tmp_path)
    env = {**os.environ, "SESSION_SECRET": "a secret for tests of more than 32 bytes"}
    env.pop("SESSION_STORE", None)
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "passed" in said or "OK" in said
