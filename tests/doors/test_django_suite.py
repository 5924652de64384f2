"""Django's own tests of its sessions, from the source distribution of the installed version, on our engine and on our middleware."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import django_suite

ROOT = Path(__file__).parent.parent.parent


# django contract 77, 78, 79, 81
@pytest.mark.package
def test_the_tests_that_django_keeps_for_its_sessions_pass() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.django_suite", "sessions_tests"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == django_suite.NOT_FETCHED:
        pytest.skip(f"Django's source distribution cannot be had: {done.stderr.strip().splitlines()[-1:]}")
    assert done.returncode == 0, done.stdout + done.stderr
    # Those of the mixin are run thrice or more in each layer: on ours, and on Django's engines.
    assert len(re.findall(r"^OK \(skipped=\d+, expected failures=\d\)$", done.stderr, re.MULTILINE)) == 2


# django contract 80
def test_each_test_that_does_not_pass_has_its_reason() -> None:
    for layer in django_suite.LAYERS:
        assert django_suite.reasons(layer)
