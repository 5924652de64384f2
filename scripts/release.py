"""Make a release ready, and publish nothing: build, check the metadata, try the wheel where nothing else is. Run it:  python -m scripts.release [VERSION]."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from email import message_from_bytes
from pathlib import Path
from typing import Final

from packaging.metadata import Metadata

ROOT: Final = Path(__file__).parent.parent
DIST: Final = ROOT / "dist"
LARGEST: Final = 1024 * 1024
"""Bytes of a wheel beyond which something is in it that should not be."""
SMOKE: Final = """
import asyncio, importlib.metadata, os, sys
import sojourn
os.environ["SESSION_SECRET"] = "a secret for a try of more than 32 bytes"
assert importlib.metadata.version("sojourn") == sys.argv[1], "another version is installed"
assert "site-packages" in sojourn.__file__, sojourn.__file__
names = {}
exec(compile(open(sys.argv[2]).read(), "app.py", "exec"), names)

async def visit(cookie):
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    headers = [(b"host", b"shop.test")] + ([(b"cookie", cookie)] if cookie else [])
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "https", "path": "/", "raw_path": b"/",
             "query_string": b"", "root_path": "", "headers": headers, "client": ("127.0.0.1", 1), "server": ("shop.test", 443)}
    await names["app"](scope, receive, send)
    return dict(sent[0]["headers"]).get(b"set-cookie", b"").partition(b";")[0], sent[1]["body"]

async def main():
    cookie, first = await visit(b"")
    assert cookie.startswith(b"__Host-sid="), cookie
    _none, second = await visit(cookie)
    assert (first, second) == (b'"You visited this page 1 times"', b'"You visited this page 2 times"'), (first, second)

asyncio.run(main())
"""
BY_HAND: Final = """
What remains, by hand (docs/releasing.md says more):
  1. git tag -s v{version} && git push origin main v{version}
  2. upload what is in dist/, by the trusted publisher or: uv publish dist/sojourn-{version}*
  3. pip install sojourn=={version} in a new environment, and the four doors of the start page
  4. publish the documentation of the tag, and make it the default
"""


def problems(metadata: bytes, changelog: str, wanted: str | None) -> list[str]:
    """What keeps this from being published: in the metadata of a distribution, and in the changelog.

    Args:
        metadata: the file METADATA of a wheel, or PKG-INFO of an sdist.
        changelog: the text of CHANGELOG.md.
        wanted: the version that is to be released; None where it does not matter yet.
    """
    found = []
    try:
        Metadata.from_email(metadata, validate=True)
    except ExceptionGroup as error:
        found += [str(each) for each in error.exceptions]
    about = message_from_bytes(metadata)
    for field in ("Summary", "Author", "License-Expression", "Requires-Python", "Description-Content-Type"):
        if not about[field]:
            found.append(f"the metadata has no {field}")
    if len(about["Summary"] or "") > 512 or "\n" in (about["Summary"] or ""):
        found.append("the summary is not one line of at most 512 characters")
    links = re.findall(r"\]\(([^)]*)\)", str(about.get_payload()))
    found += [f"the description has a relative link: {link}" for link in links if not link.startswith("https://")]
    if wanted is not None:
        if about["Version"] != wanted:
            found.append(f"pyproject.toml says {about['Version']}, and not {wanted}")
        if not re.search(rf"^## \[{re.escape(wanted)}\] - \d{{4}}-\d\d-\d\d$", changelog, re.MULTILINE):
            found.append(f"CHANGELOG.md has no heading '## [{wanted}] - <date>'")
        if int(wanted.partition(".")[0]) >= 1 and "Development Status :: 5" not in str(about.get_all("Classifier")):
            found.append("the classifier is not 'Development Status :: 5 - Production/Stable'")
    return found


def _run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"release: {' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def _metadata(path: Path) -> bytes:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return wheel.read(next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")))
    with tarfile.open(path) as sdist:
        file = sdist.extractfile(next(name for name in sdist.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", name)))
        assert file is not None
        return file.read()


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a release ready, and publish nothing.")
    parser.add_argument("version", nargs="?", help="what the version has to be, in pyproject.toml and in CHANGELOG.md")
    wanted: str | None = parser.parse_args().version
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for old in DIST.glob("sojourn-*"):
        old.unlink()
    print("release: building the sdist, and the wheel from it")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, ROOT, cwd=ROOT)
    built = sorted(DIST.glob(f"sojourn-{version}*"))
    found = [f"there are {len(built)} files in dist/ instead of two"] if len(built) != 2 else []
    for path in built:
        found += [f"{path.name}: {problem}" for problem in problems(_metadata(path), changelog, wanted)]
        if path.suffix == ".whl" and path.stat().st_size > LARGEST:
            found.append(f"{path.name} has {path.stat().st_size} bytes")
    if found:
        raise SystemExit("release: not ready:\n  " + "\n  ".join(found))
    print("release: the metadata is right; trying the wheel in a new environment")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        readme = (ROOT / "README.md").read_text(encoding="utf-8")
        (folder / "app.py").write_text(readme.partition("```python\n")[2].partition("```")[0], encoding="utf-8")
        (folder / "smoke.py").write_text(SMOKE, encoding="utf-8")
        uv = (sys.executable, "-m", "uv", "--quiet")
        _run(*uv, "venv", "--python", sys.executable, folder / "venv", cwd=folder)
        python = folder / "venv" / "bin" / "python"
        wheel = next(path for path in built if path.suffix == ".whl")
        pins = ("--constraints", ROOT / "constraints.txt")
        _run(*uv, "pip", "install", "--python", python, *pins, f"{wheel}[cli]", "fastapi", cwd=folder)
        _run(python, "-I", "smoke.py", version, "app.py", cwd=folder)
        _run(python.with_name("sojourn"), "--version", cwd=folder)
    print("release: the README's first example runs from the wheel")
    print("\n".join(f"  dist/{path.name}  {path.stat().st_size:,} bytes" for path in built))
    print(BY_HAND.format(version=wanted or version))


if __name__ == "__main__":
    main()
