"""A door without its framework says which one is missing, and how to get it."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("door", "missing", "extra"),
    [
        ("starlette", "starlette", "starlette"),
        ("fastapi", "fastapi", "fastapi"),
        ("fastapi", "starlette", "fastapi"),
        ("flask", "flask", "flask"),
        ("pyramid", "pyramid", "pyramid"),
        ("litestar", "litestar", "litestar"),
        ("quart", "quart", "quart"),
        ("aiohttp", "aiohttp", "aiohttp"),
        ("django", "django", "django"),
        ("prometheus", "prometheus_client", "prometheus"),
        ("otel", "opentelemetry", "otel"),
    ],
)
def test_a_door_names_the_extra_that_is_missing(door: str, missing: str, extra: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; import sojourn.{door}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and f'pip install "sojourn[{extra}]"' in done.stderr.splitlines()[-1]
