import os

os.environ.setdefault("SESSION_SECRET", "a secret for tests of more than 32 bytes")
os.environ["SESSION_STORE"] = "memory://"

import pytest
from diary import app
from fastapi.testclient import TestClient

from sojourn.testing import isolated_stores, log_in, read_session


@pytest.fixture
def client():
    with (
        isolated_stores(),
        TestClient(app, base_url="https://testserver", headers={"Accept": "text/html"}) as client,
    ):
        yield client


def test_visits_are_counted(client):
    assert "Visit 1" in client.get("/").text
    assert "Visit 2" in client.get("/").text


def test_a_visitor_is_led_to_the_login_and_back(client):
    led = client.get("/diary")
    assert led.url.path == "/login"
    done = client.post(str(led.url), data={"name": "ann", "password": "pear"})
    assert done.url.path == "/diary" and "ann's diary" in done.text


def test_a_wrong_password_lets_nobody_in(client):
    for name, password in (("ann", "plum"), ("nobody", "pear")):
        done = client.post("/login", data={"name": name, "password": password})
        assert "That is not right." in done.text
    assert client.get("/diary").url.path == "/login"


def test_a_login_changes_the_id_and_keeps_the_visits(client):
    client.get("/")
    before = dict(client.cookies)
    client.post("/login", data={"name": "ann", "password": "pear"})
    assert dict(client.cookies) != before
    assert "Visit 2" in client.get("/").text


def test_a_line_is_written(client):
    log_in(client, "ann")
    assert "Written." in client.post("/diary", data={"line": "Rain all day."}).text
    assert read_session(client)["lines"] == ["Rain all day."]


def test_a_copy_of_the_cookie_opens_nothing_after_the_logout(client):
    log_in(client, "ann")
    stolen = dict(client.cookies)
    client.post("/logout")
    client.cookies.update(stolen)
    assert client.get("/diary").url.path == "/login"


def test_remember_me_outlives_the_browser(client):
    client.post("/login", data={"name": "ann", "password": "pear", "remember": "on"})
    (cookie,) = client.cookies.jar
    assert cookie.expires is not None


def test_another_site_cannot_write(client):
    log_in(client, "ann")
    other = {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/diary", data={"line": "!"}, headers=other).status_code == 403
