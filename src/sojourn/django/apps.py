"""The application that ``"sojourn.django"`` in ``INSTALLED_APPS`` stands for: it has no models, and adds the system checks."""

from __future__ import annotations

from django.apps import AppConfig

__all__ = ["SojournConfig"]


class SojournConfig(AppConfig):
    """In ``INSTALLED_APPS`` it is found by the package's name."""

    name = "sojourn.django"
    label = "sojourn"
