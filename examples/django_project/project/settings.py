"""All settings. What concerns sessions comes first."""

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

# -- sessions -------------------------------------------------------------------------------------------------------------

# The engine keeps sessions in the store. Alone it would do, under Django's own middleware.
SESSION_ENGINE = "sojourn.django"

# Every option of Sojourn that has no setting of Django's. A store is given by its URL: redis://, postgresql://, mongodb://, sqlite://.
SOJOURN = {"store": os.environ.get("SESSION_STORE", f"sqlite:///{HERE}/sessions.db")}

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    # In the place of Django's own: a signed cookie, one commit with the response, and no thread for it on an event loop.
    "sojourn.django.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

# Messages are kept in the session, too. Django's default tries a cookie of their own first.
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# django.contrib.sessions is not among them: that has the table of Django's own engine, and nobody needs it here.
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "sojourn.django",  # its checks: `manage.py check` tells of settings that contradict each other
    "project",
]

# Signs the cookie, among others. Where you change it, the former goes to SECRET_KEY_FALLBACKS, and nobody is logged out.
SECRET_KEY = os.environ.get("SESSION_SECRET", "an example secret of more than 32 bytes")

# -- and what every project has -------------------------------------------------------------------------------------------

DEBUG = os.environ.get("DEBUG", "1") == "1"
TIME_ZONE = "UTC"
ROOT_URLCONF = "project.urls"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "front"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("DATABASE", f"{HERE}/db.sqlite3"),
    }
}
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
