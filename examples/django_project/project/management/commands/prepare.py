"""``manage.py prepare``: the database, and two users. It may be run again."""

from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    help = "Make the database, the user ann with the password pear, and the administrator root with the password plum."

    def handle(self, **_options: Any) -> None:
        call_command("migrate", verbosity=0)
        if not User.objects.filter(username="ann").exists():
            User.objects.create_user("ann", password="pear")
            User.objects.create_superuser("root", password="plum")
        self.stdout.write("Log in as ann, with the password pear; in the admin as root, with plum.")
