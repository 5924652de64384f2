"""Scenarios that Hypothesis makes: 2,000, the same each time, or as many others as SOJOURN_DIFFERENTIAL_EXAMPLES says."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential.judge import Judge
from tests.differential.scenario import Scenario
from tests.differential.strategies import scenarios

pytestmark = pytest.mark.express

EXAMPLES = os.environ.get("SOJOURN_DIFFERENTIAL_EXAMPLES")


@settings(
    max_examples=int(EXAMPLES or 2000),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
@given(scenario=scenarios())
def test_express_and_we_differ_where_an_exemption_says_so_and_nowhere_else(judge: Judge, scenario: Scenario) -> None:
    judge.compare(scenario)
