"""A site on Django's own sessions, which logs visitors in. Run as a program, with what it needs as JSON: prints a key for each session.

It is a process of its own, as a process has the settings of one Django.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import timedelta
from typing import Any


def main(told: dict[str, Any]) -> list[str]:
    os.environ["TZ"] = told.get("time_zone", "UTC")  # as a module with settings does
    time.tzset()
    import django
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["testserver"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        USE_TZ=told.get("use_tz", True),
        TIME_ZONE=told.get("time_zone", "UTC"),
        SECRET_KEY=told["secret"],
        DATABASES={"default": told["database"]},
        CACHES={"default": told.get("cache", {"BACKEND": "django.core.cache.backends.dummy.DummyCache"})},
        SESSION_ENGINE=f"django.contrib.sessions.backends.{told['engine']}",
    )
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    keys = []
    for data in told["sessions"]:
        user, age = data.pop("user", None), data.pop("age", None)
        client = Client()
        if user is not None:
            client.force_login(User.objects.get_or_create(username=user)[0])
        session = client.session
        session.update(data)
        if isinstance(age, str):  # so many seconds, to a fixed moment
            session.set_expiry(timedelta(seconds=int(age)))
        elif age is not None:
            session.set_expiry(age)
        session.save()
        assert session.session_key is not None
        keys.append(session.session_key)
    return keys


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
