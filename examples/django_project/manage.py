"""Sessions in Django: a counter, logins, a dashboard, messages, and the admin.

python manage.py                                  # makes the database and two users, then serves http://127.0.0.1:8000
gunicorn project.wsgi                             # after `python manage.py prepare`
uvicorn project.asgi:application --lifespan off   # likewise
python manage.py test                             # its tests
"""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if len(sys.argv) > 1:
        execute_from_command_line(sys.argv)
    else:
        execute_from_command_line([sys.argv[0], "prepare"])
        execute_from_command_line([sys.argv[0], "runserver", os.environ.get("PORT", "8000"), "--noreload"])
