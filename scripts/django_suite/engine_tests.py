"""The tests that Django keeps for whatever engine there is, on ours."""

from __future__ import annotations

from django.conf import settings
from django.test import TestCase
from django.utils.module_loading import import_string
from sessions_tests import tests as djangos  # type: ignore[import-not-found]  # of the source distribution

__all__ = ["EngineTests"]


class EngineTests(djangos.SessionTestsMixin, TestCase):  # type: ignore[misc]
    """The mixin by which Django tests each of its backends."""

    backend = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
