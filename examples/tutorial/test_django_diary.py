from django.contrib.auth.models import User
from django.test import TestCase

from sojourn.testing.django import isolated_sessions, log_in, read_session


class DiaryTest(TestCase):
    def setUp(self):
        sessions = isolated_sessions()
        sessions.__enter__()
        self.addCleanup(sessions.__exit__, None, None, None)
        self.ann = User.objects.create_user("ann", password="pear")

    def test_visits_are_counted(self):
        assert [self.client.get("/").json()["visits"] for _ in range(2)] == [1, 2]

    def test_a_visitor_is_led_to_the_login_and_back(self):
        led = self.client.get("/diary/")
        assert led.headers["Location"] == "/login/?next=/diary/"
        done = self.client.post(led.headers["Location"], {"username": "ann", "password": "pear"}, follow=True)
        assert "ann's diary" in done.content.decode()

    def test_a_line_is_written_and_gone_with_the_logout(self):
        log_in(self.client, self.ann)
        assert "Written." in self.client.post("/diary/", {"line": "Rain."}, follow=True).content.decode()
        assert read_session(self.client)["lines"] == ["Rain."]
        self.client.post("/logout/")
        assert read_session(self.client) == {}
