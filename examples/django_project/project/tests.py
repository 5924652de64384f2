"""The tests of the project: with Django's own test client, and with what `sojourn.testing.django` adds to it."""

from django.contrib.auth.models import User
from django.test import TestCase

from sojourn.testing.django import isolated_sessions, log_in, read_session, write_session


class Visits(TestCase):
    def setUp(self) -> None:
        self.enterContext(
            isolated_sessions()
        )  # Django rolls back its database after a test; this is the same for the store
        self.ann = User.objects.create_user("ann", password="pear")

    def test_each_visit_counts(self) -> None:
        self.assertContains(self.client.get("/"), "1 visit<")
        assert self.client.get("/counter/").json() == {"visits": 2}
        write_session(self.client, {"visits": 41})
        self.assertContains(self.client.get("/"), "42 visits")

    async def test_each_visit_counts_on_an_event_loop(self) -> None:
        assert (await self.async_client.get("/counter/")).json() == {"visits": 1}
        assert (await self.async_client.get("/counter/")).json() == {"visits": 2}

    def test_a_choice_survives_the_login_and_ends_with_the_logout(self) -> None:
        self.client.post("/colour/", {"colour": "rust"})
        page = self.client.post("/login/", {"username": "ann", "password": "pear"}, follow=True)
        self.assertContains(page, "Welcome, ann.")
        self.assertContains(page, "Your colour is rust now.")
        self.assertContains(page, 'class="rust"')
        page = self.client.post("/logout/", follow=True)
        self.assertContains(page, "Goodbye.")
        self.assertNotContains(page, 'body class="rust"')

    def test_the_other_devices_are_listed_and_logged_out(self) -> None:
        other = self.client_class()
        log_in(other, self.ann)
        log_in(self.client, self.ann)
        self.assertContains(self.client.get("/dashboard/"), "Another device")
        page = self.client.post("/dashboard/end-others/", follow=True)
        self.assertContains(page, "1 other device is logged out.")
        self.assertRedirects(other.get("/dashboard/"), "/login/?next=/dashboard/")
        assert read_session(self.client)["_auth_user_id"] == str(self.ann.pk)

    def test_the_admin_is_for_administrators(self) -> None:
        log_in(self.client, self.ann)
        assert self.client.get("/admin/").status_code == 302
        log_in(self.client, User.objects.create_superuser("root"))
        self.assertContains(self.client.get("/admin/"), "Site administration")
