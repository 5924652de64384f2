"""What runs Django's tests, within Django's ``runtests.py``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from unittest import TestCase, TestSuite

from django.contrib.sessions import middleware
from django.test.runner import DiscoverRunner

from . import SUITES, reasons

__all__ = ["Runner"]

_ENGINE_TESTS = "scripts.django_suite.engine_tests"


class Runner(DiscoverRunner):
    """Expects what the table has a reason for to fail, and nothing else."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        layer = os.environ["SOJOURN_LAYER"]
        self._told = reasons(layer)
        self._missing: set[str] = set()
        if layer == "middleware":
            from sojourn.django import SessionMiddleware  # noqa: PLC0415 - before it there are no settings

            middleware.SessionMiddleware = SessionMiddleware  # type: ignore[misc]  # by its path and by import

    def build_suite(self, test_labels: Sequence[str] | None = None, **options: Any) -> TestSuite:
        labels = list(test_labels or ())
        suite = super().build_suite([*labels, _ENGINE_TESTS] if "sessions_tests" in labels else labels, **options)
        tests: dict[str, Any] = {  # it is flat, as there is one process
            test.id().removeprefix(f"{_ENGINE_TESTS}."): test for test in suite if isinstance(test, TestCase)
        }
        for name in self._told.keys() & tests.keys():
            tests[name].__unittest_expecting_failure__ = True
        if set(SUITES) <= set(labels):
            self._missing = self._told.keys() - tests.keys()
        return suite

    def suite_result(self, suite: TestSuite, result: Any, **options: Any) -> int:
        for test in result.unexpectedSuccesses:
            print(f"!! {test.id()} passes, and has a reason not to")
        for name in sorted(self._missing):
            print(f"!! {name} has a reason, and there is no such test")
        failed: int = super().suite_result(suite, result, **options)
        return failed + len(self._missing)
