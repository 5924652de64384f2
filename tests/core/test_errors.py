from __future__ import annotations

import copy
import inspect
import pickle
import traceback
from typing import Any

import pytest

import sojourn
from sojourn import errors
from sojourn.errors import (
    ConfigurationError,
    SessionConflict,
    SessionDecodeError,
    SessionEncodeError,
    SessionTooLarge,
    SojournError,
    SojournWarning,
    StoreError,
    StoreTimeout,
    StoreUnavailable,
)

MADE: dict[Any, Any] = {
    ConfigurationError: ConfigurationError("name", "'a b'", "give a token"),
    SessionEncodeError: SessionEncodeError("cart.items[2]", "a set has no form in JSON"),
    SessionTooLarge: SessionTooLarge(2000, 1000),
}
NAMED = dict(inspect.getmembers(errors, inspect.isclass))
CLASSES = [value for name, value in NAMED.items() if name == value.__name__]
ALIASES = {name: value for name, value in NAMED.items() if name != value.__name__}
ERRORS = [one for one in CLASSES if issubclass(one, Exception) and one is not SojournWarning]


def test_the_module_names_all_its_errors_and_the_package_names_them_too():
    assert sorted(NAMED) == sorted(errors.__all__)
    assert set(errors.__all__) <= set(sojourn.__all__)


def test_a_name_that_was_given_up_still_stands_for_the_new_one():
    assert {"SessionLate": errors.HeadersAlreadySent} == ALIASES


@pytest.mark.parametrize("kind", ERRORS)
def test_there_is_one_root(kind):
    assert issubclass(kind, SojournError)


@pytest.mark.parametrize("kind", [StoreTimeout, StoreUnavailable, SessionConflict])
def test_what_a_store_fails_with_is_a_store_error(kind):
    assert issubclass(kind, StoreError)


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (ConfigurationError, ValueError),
        (SessionDecodeError, ValueError),
        (SessionTooLarge, ValueError),
        (SessionEncodeError, TypeError),
    ],
)
def test_an_error_about_a_value_is_also_pythons_own(kind, builtin):
    assert issubclass(kind, builtin)


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_reaches_another_process_whole(kind, again):
    error = MADE.get(kind) or kind("it failed")
    other = again(error)
    assert type(other) is kind
    assert str(other) == str(error)
    assert vars(other) == vars(error)


def test_a_refused_option_says_what_was_given_and_what_would_be_right():
    error = MADE[ConfigurationError]
    assert str(error) == "name: got 'a b'; give a token"
    assert (error.option, error.given, error.remedy) == ("name", "'a b'", "give a token")


def test_a_refused_value_says_where_it_is():
    error = MADE[SessionEncodeError]
    assert str(error) == "session value at cart.items[2]: a set has no form in JSON"
    assert (error.path, error.reason) == ("cart.items[2]", "a set has no form in JSON")
    assert str(SessionEncodeError("", "too deep")) == "session value at the top level: too deep"


def test_a_refused_record_says_both_sizes():
    error = MADE[SessionTooLarge]
    assert (error.size, error.limit) == (2000, 1000)
    assert "2000" in str(error) and "1000" in str(error)


def test_the_package_lists_its_names_and_knows_no_others():
    assert dir(sojourn) == sorted(sojourn.__all__)
    assert all(getattr(sojourn, name) is not None for name in sojourn.__all__)
    with pytest.raises(AttributeError, match="NoSuch"):
        sojourn.NoSuch  # noqa: B018


def failed(kind: type[StoreError] = StoreError) -> StoreError:
    try:
        try:
            int("WRONG key 5eb63bbb\nand a second line")
        except ValueError as error:
            raise kind("the store failed", driver_error=error) from None
    except StoreError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("kind", [StoreError, StoreUnavailable, StoreTimeout, SessionConflict])
def test_the_drivers_error_is_at_hand_and_nothing_shows_it(kind: type[StoreError]):
    error = failed(kind)
    assert type(error.driver_error) is ValueError and error.__cause__ is None
    shown = "".join(traceback.format_exception(error)) + repr(error) + str(error)
    assert "the store failed" in shown and "ValueError" not in shown and "key 5eb63bbb" not in shown
    assert kind("no driver").driver_error is None


def test_the_drivers_error_stays_behind_when_an_error_is_pickled():
    error: Any = failed(StoreTimeout)
    error.more = "kept"
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert (type(other), str(other), vars(other)) == (StoreTimeout, "the store failed", {"more": "kept"})
        assert other.driver_error is None
