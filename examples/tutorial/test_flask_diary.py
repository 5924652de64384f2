import os

os.environ.setdefault("SESSION_SECRET", "a secret for tests of more than 32 bytes")
os.environ["SESSION_STORE"] = "memory://"

import pytest
from flask_diary import app

from sojourn.testing.flask import log_in, read_session


@pytest.fixture
def client():
    return app.test_client()


def test_visits_are_counted(client):
    assert [client.get("/").json["visits"] for _ in range(2)] == [1, 2]


def test_a_visitor_is_led_to_the_login_and_back(client):
    led = client.get("/diary")
    assert led.location == "/login?next=/diary"
    done = client.post(led.location, data={"name": "ann", "password": "pear"}, follow_redirects=True)
    assert "ann's diary" in done.text


def test_a_wrong_password_lets_nobody_in(client):
    for name, password in (("ann", "plum"), ("nobody", "")):
        assert "That is not right." in client.post("/login", data={"name": name, "password": password}).text
    assert client.get("/diary").status_code == 303


def test_a_line_is_written_and_gone_with_the_logout(client):
    log_in(client, "ann")
    assert "Written." in client.post("/diary", data={"line": "Rain."}, follow_redirects=True).text
    assert read_session(client)["lines"] == ["Rain."]
    client.post("/logout")
    assert read_session(client) == {}
