from __future__ import annotations

import logging

import pytest

from sojourn import logs
from sojourn.errors import StoreUnavailable
from sojourn.logs import OutageLog, warn_once


@pytest.fixture(autouse=True)
def _nothing_was_said(monkeypatch, caplog):
    monkeypatch.setattr(logs, "_said", set())
    caplog.set_level(logging.DEBUG, logger="sojourn")


def test_a_warning_is_said_once_for_each_topic(caplog):
    for number in range(3):
        warn_once("one", "first topic, number %d", number)
        warn_once("two", "second topic")
    assert caplog.messages == ["first topic, number 0", "second topic"]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_an_outage_is_one_line_when_it_begins_and_one_when_it_ends(caplog):
    outage = OutageLog()
    for _ in range(3):
        outage.failure(StoreUnavailable("it is down"), "requests get a 503")
    outage.success()
    outage.success()
    begin, end = caplog.records
    assert begin.getMessage() == "session store fails: StoreUnavailable: it is down; requests get a 503"
    assert begin.levelno == logging.ERROR and begin.exc_info
    assert end.getMessage() == "session store is back after 3 failed operation(s)"
    assert end.levelno == logging.WARNING


def test_a_second_outage_is_told_anew(caplog):
    outage = OutageLog()
    for _ in range(2):
        outage.failure(StoreUnavailable("it is down"), "503")
        outage.success()
    assert len(caplog.records) == 4


def test_a_store_that_works_is_not_worth_a_line(caplog):
    OutageLog().success()
    assert not caplog.records
