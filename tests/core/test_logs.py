from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NoReturn

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


def test_a_failure_while_the_end_of_an_outage_is_told_begins_another(caplog):
    def fail_again(what: BaseException | int) -> None:
        if what == 2:  # failures: it is back
            outage.failure(StoreUnavailable("it is down again"), "requests get a 503")

    outage = OutageLog(fail_again)
    for _ in range(2):
        outage.failure(StoreUnavailable("it is down"), "requests get a 503")
    outage.success()
    assert outage.failures == 1 and outage.awaits
    outage.success()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"] * 2
    assert outage.failures == 0


class DriverError(Exception):
    """A driver's, which quotes what the server said."""

    def __init__(self, text: str, **codes: object) -> None:
        super().__init__(text)
        vars(self).update(codes)


SAID = "WRITE of secret-key failed\nERROR root all is well"
TELLS: list[tuple[Callable[[], NoReturn], str]] = []


def fail(error: Exception, cause: Exception | None = None) -> NoReturn:
    raise error from cause


def _raises(says: str) -> Callable[[Callable[[], NoReturn]], None]:
    return lambda raising: TELLS.append((raising, says))


@_raises("it is down (DriverError)")
def _() -> NoReturn:
    raise StoreUnavailable("it is down") from DriverError(SAID)


@_raises("DriverError 23505")
def _() -> NoReturn:
    raise StoreUnavailable(f"the server says: {SAID}") from DriverError(SAID, sqlstate="23505")


@_raises("DriverError 11000")
def _() -> NoReturn:
    raise StoreUnavailable(f"the server says: {SAID}", driver_error=DriverError(SAID, code=11000)) from None


@_raises("it is down: DriverError")
def _() -> NoReturn:
    raise StoreUnavailable("it is down: DriverError", driver_error=DriverError(SAID, code=11000))


@_raises("DriverError")
def _() -> NoReturn:
    try:
        fail(DriverError(SAID, code="secret-key of somebody", sqlstate=None))
    except DriverError as error:
        raise StoreUnavailable(str(error)) from None


@_raises("the target fails: StoreUnavailable (DriverError 5)")
def _() -> NoReturn:
    try:
        fail(StoreUnavailable("it is down"), DriverError(SAID, errno=5))
    except StoreUnavailable as error:
        raise StoreUnavailable(f"the target fails: {type(error).__name__}") from error


@_raises("'one line\\nanother'")
def _() -> NoReturn:
    raise StoreUnavailable("one line\nanother")


@_raises("it is down")
def _() -> NoReturn:
    raise StoreUnavailable("it is down")


@pytest.mark.parametrize(("raising", "says"), TELLS)
def test_of_what_led_to_a_failure_class_and_code_are_told_and_nothing_that_it_says(raising, says, caplog):
    with pytest.raises(StoreUnavailable) as failed:
        raising()
    before = failed.value.args, failed.value.__cause__, failed.value.__context__
    OutageLog().failure(failed.value, "requests get a 503")
    (record,) = caplog.records
    assert record.getMessage() == f"session store fails: StoreUnavailable: {says}; requests get a 503"
    shown = logging.Formatter().format(record)
    assert "secret-key" not in shown and "ERROR root" not in shown
    assert "in _\n" in shown, "where it was raised"
    assert record.exc_info is not None and record.exc_info[0] is StoreUnavailable
    assert (failed.value.args, failed.value.__cause__, failed.value.__context__) == before


def test_errors_that_led_to_one_another_are_no_endless_story(caplog):
    error, other = StoreUnavailable("it is down"), DriverError("")
    error.__cause__, other.__cause__ = other, error
    OutageLog().failure(error, "503")
    assert "StoreUnavailable: it is down (DriverError); 503" in caplog.text


class Odd(StoreUnavailable):
    """A store's own error, which wants something."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is down")


def test_a_stores_own_class_of_error_is_told_by_its_name(caplog):
    OutageLog().failure(Odd("db1"), "503")
    assert "session store fails: Odd: db1 is down; 503" in caplog.text


def test_a_second_outage_is_told_anew(caplog):
    outage = OutageLog()
    for _ in range(2):
        outage.failure(StoreUnavailable("it is down"), "503")
        outage.success()
    assert len(caplog.records) == 4


def test_a_store_that_works_is_not_worth_a_line(caplog):
    OutageLog().success()
    assert not caplog.records


@pytest.fixture
def levels():
    """Sets levels of loggers by name, and takes them back in the end."""
    before: dict[str | None, int] = {}

    def set_level(name, level):
        logger = logging.getLogger(name)
        before.setdefault(name, logger.level)
        logger.setLevel(level)

    yield set_level
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_what_a_driver_says_is_logged_only_where_its_logger_has_the_level_by_name(caplog, levels):
    error = ValueError("WRITE of 5eb63bbb failed\nsession store is back")
    levels("sojourn", logging.DEBUG)
    for level in (logging.WARNING, logging.DEBUG):  # it is inherited from neither
        levels(None, level)
        StoreUnavailable("it is down", driver_error=error)
    levels("sojourn.driver", logging.INFO)
    StoreUnavailable("it is down", driver_error=error)
    assert not caplog.records
    levels("sojourn.driver", logging.DEBUG)
    StoreUnavailable("it is down", driver_error=error)
    StoreUnavailable("it is down")
    assert caplog.record_tuples == [
        ("sojourn.driver", logging.DEBUG, r"ValueError: 'WRITE of 5eb63bbb failed\nsession store is back'")
    ]
