"""What is published: the wheel and the sdist are built, and the wheel is installed where there is nothing of the source tree."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from tests.processes import serving

pytestmark = pytest.mark.package

ROOT = Path(__file__).parent.parent
NO_NETWORK = re.compile("error sending request|dns error|failed to lookup|failed to fetch|timed out", re.IGNORECASE)
PINS = ("--constraints", str(ROOT / "constraints.txt"))


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of the source tree, and the wheel of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    # The backend is the one that is pinned and installed here: nothing is fetched.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment, which has the wheel and what the README's first example needs."""
    folder = tmp_path_factory.mktemp("installed")
    uv = (sys.executable, "-m", "uv", "--quiet")
    run(*uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    install = (*uv, "pip", "install", "--python", python, *PINS, f"{wheel}[cli]", "fastapi", "uvicorn")
    done = subprocess.run([*install, "--offline"], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:  # not all is in uv's cache
        done = subprocess.run(install, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode and NO_NETWORK.search(done.stderr):
        pytest.skip("the wheel was not installed: no network, and not all that it needs is in uv's cache")
    assert done.returncode == 0, done.stderr
    return python


def files(folder: Path) -> Iterator[str]:
    """The package's own files, as a wheel names them."""
    for path in folder.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder.parent).as_posix()


def test_the_wheel_has_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    about = f"sojourn-{version('sojourn')}.dist-info/"
    assert {name for name in names if not name.startswith(about)} == set(files(ROOT / "src" / "sojourn"))
    assert {"sojourn/py.typed", f"{about}licenses/LICENSE", f"{about}entry_points.txt"} <= names


def test_the_sdist_has_what_pyproject_says(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"]
    included = {pattern.strip("/") for pattern in settings["sdist"]["include"]}
    tops = {name.partition("/")[0] for name in names}
    assert tops - {"pyproject.toml", "PKG-INFO", ".gitignore"} == included
    assert {f"src/{name}" for name in files(ROOT / "src" / "sojourn")} <= names
    assert {"tests/test_package.py", "tests/node/package-lock.json", "docs/index.md", "scripts/floors.py"} <= names
    unwanted = re.compile(r"(^|/)(node_modules|_build|__pycache__|\.\w+_cache|\.hypothesis|\.venv[^/]*)(/|$)|\.pyc$")
    assert [name for name in names if unwanted.search(name)] == []


def test_the_installed_package_is_typed_and_its_command_runs(installed: Path) -> None:
    folder = installed.parents[1]
    shown = "import sojourn; from importlib.resources import files; print(sojourn.__file__, (files(sojourn) / 'py.typed').is_file())"
    file, typed = run(installed, "-I", "-c", shown, cwd=folder).split()
    assert Path(file).is_relative_to(folder) and "site-packages" in file
    assert typed == "True"
    assert run(installed.with_name("sojourn"), "--version", cwd=folder) == f"sojourn {version('sojourn')}\n"
    run(sys.executable, "-m", "uv", "pip", "check", "--python", installed, cwd=folder)


def test_the_readme_s_first_example_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (tmp_path / "app.py").write_text(readme.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
    env = {"SESSION_SECRET": "a secret for tests of more than 32 bytes"}
    uvicorn = ("-I", "-m", "uvicorn", "app:app", "--port", "0")
    with serving(*uvicorn, cwd=tmp_path, env=env, python=installed) as running:
        with httpx.Client(base_url=running.address) as visitor:
            assert visitor.get("/").json() == "You visited this page 1 times"
            assert visitor.get("/").json() == "You visited this page 2 times"
        with httpx.Client(base_url=running.address) as other:
            assert other.get("/").json() == "You visited this page 1 times"
    assert (tmp_path / "sessions.db").exists()
