from __future__ import annotations

import logging
import warnings
from dataclasses import FrozenInstanceError, fields
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

import sojourn
from sojourn import logs
from sojourn.cookie import Cookie
from sojourn.errors import ConfigurationError, SojournWarning
from sojourn.ids import new_id
from sojourn.options import _ELSEWHERE, EXPRESS, NATIVE, Options, OptionsDict
from sojourn.wsgi import SessionMiddleware
from tests.core.making import SECRET


def options(**given: Any) -> Options:
    return Options.of({"secret": SECRET, **given})  # type: ignore[typeddict-item]


def test_the_defaults_are_the_documented_ones():
    made = options()
    assert made.name == "sid"
    assert made.cookie == Cookie()
    assert (made.idle_ms, made.absolute_ms, made.touch_after_ms) == (None, 30 * 86_400_000, None)
    assert (made.rolling, made.resave, made.save_uninitialized, made.lazy) == (False, False, False, False)
    assert (made.unset, made.on_store_error, made.trust_proxy, made.hash_ids) == ("destroy", "fail", None, True)
    assert (made.store, made.codec, made.exclusive, made.store_error_page, made.exclude) == (None, None, None, None, ())
    assert made.profile is NATIVE
    assert len(made.generate_id({})) == len(new_id())


def test_type_checkers_are_told_of_every_option_under_its_type():
    told, had = get_type_hints(OptionsDict), get_type_hints(Options)
    assert set(told) == {field.name for field in fields(Options) if field.init}
    assert {name: had[name] for name in told} == told
    assert not OptionsDict.__required_keys__


def test_options_do_not_change():
    with pytest.raises(FrozenInstanceError):
        options().rolling = True  # type: ignore[misc]


@pytest.mark.parametrize("name", ["idle_timeout", "absolute_timeout", "touch_after"])
@pytest.mark.parametrize(
    ("given", "ms"), [(60, 60_000), (0.5, 500), (timedelta(days=14), 14 * 86_400_000), (None, None)]
)
def test_durations_are_worked_out_once_in_milliseconds(name, given, ms):
    made = options(**{name: given})
    assert {"idle_timeout": made.idle_ms, "absolute_timeout": made.absolute_ms, "touch_after": made.touch_after_ms}[
        name
    ] == ms


def test_a_touch_on_every_request_may_be_asked_for():
    assert options(touch_after=0).touch_after_ms == 0


# contract 8, 34
@pytest.mark.parametrize(
    ("given", "secrets"),
    [
        ("s" * 32, (b"s" * 32,)),
        ("ü" * 16, ("ü".encode() * 16,)),
        (b"\x00" * 32, (b"\x00" * 32,)),
        ("\udcff" * 11, (b"\xed\xb3\xbf" * 11,)),  # an environment variable that was no UTF-8
        (["a" * 32, b"b" * 32], (b"a" * 32, b"b" * 32)),
        (("a" * 32,), (b"a" * 32,)),
        (iter(["a" * 32]), (b"a" * 32,)),
    ],
)
def test_a_secret_is_text_bytes_or_several(given, secrets):
    assert options(secret=given).secrets == secrets


def test_a_short_secret_is_a_warning_that_does_not_show_it():
    with pytest.warns(SojournWarning, match="shorter than 32 bytes") as caught:
        options(secret=["long enough" * 3, "hunter2"])
    assert len(caught) == 1
    assert "hunter2" not in str(caught[0].message)


def test_a_warning_points_at_the_code_that_made_the_middleware():
    def app(environ, start_response):
        raise AssertionError

    with pytest.warns(SojournWarning) as caught:
        SessionMiddleware(app, secret="short", store="memory://")
    assert caught[0].filename == __file__


async def an_async_page(request: object) -> str:
    return ""


# contract 3, 4, 5, 6
REFUSED: list[tuple[str, Any, dict[str, Any]]] = [
    # the option, what is given, and other options beside it
    ("secret", (), {}),
    ("secret", "", {}),
    ("secret", b"", {}),
    ("secret", [], {}),
    ("secret", None, {}),
    ("secret", 5, {}),
    ("secret", [SECRET, ""], {}),
    ("secret", [SECRET, None], {}),
    ("secret", [SECRET, 5], {}),
    ("name", "", {}),
    ("name", None, {}),
    ("name", "a b", {}),
    ("name", "a;b", {}),
    ("name", "a=b", {}),
    ("name", "sid\n", {}),
    ("name", "süd", {}),
    ("name", "__Host-sid", {}),
    ("name", "__host-sid", {"cookie": Cookie(secure=False)}),
    ("name", "__Host-sid", {"cookie": Cookie(secure=True, path="/app")}),
    ("name", "__Host-sid", {"cookie": Cookie(secure=True, domain="example.com")}),
    ("name", "__Secure-sid", {}),
    ("cookie", {"path": "/"}, {}),
    ("cookie", None, {}),
    ("idle_timeout", 0, {}),
    ("idle_timeout", timedelta(0), {}),
    ("idle_timeout", 0.0001, {}),
    ("idle_timeout", -1, {}),
    ("idle_timeout", "60", {}),
    ("idle_timeout", True, {}),
    ("idle_timeout", 61, {"absolute_timeout": 60}),
    ("absolute_timeout", 0, {}),
    ("absolute_timeout", float("nan"), {}),
    ("touch_after", -1, {}),
    ("touch_after", "never", {}),
    ("rolling", 1, {}),
    ("rolling", None, {}),
    ("resave", "no", {}),
    ("save_uninitialized", 0, {}),
    ("hash_ids", None, {}),
    ("lazy", "yes", {}),
    ("unset", "destory", {}),
    ("unset", None, {}),
    ("unset", True, {}),
    ("on_store_error", "ignore", {}),
    ("trust_proxy", "yes", {}),
    ("trust_proxy", 1, {}),
    ("generate_id", "an id", {}),
    ("generate_id", None, {}),
    ("clock", 1_750_000_000_000, {}),
    ("exclusive", True, {}),
    ("exclusive", "/cart", {}),
    ("fresh", True, {}),
    ("close_on_end", "yes", {}),
    ("connect_flash", "yes", {}),
    ("describe", "user-agent", {}),
    ("on_event", 7, {}),
    ("on_event", "audit", {}),
    ("on_event", [print, 7], {}),
    ("passport", True, {}),
    ("passport", int, {}),
    ("passport", None, {}),
    ("passport", 1, {"profile": EXPRESS}),
    ("passport", 0, {"profile": EXPRESS}),
    ("passport", str, {"profile": EXPRESS}),
    ("passport", "int", {"profile": EXPRESS}),
    ("clear_site_data", "cache", {}),
    ("clear_site_data", None, {}),
    ("clear_site_data", ["cache", "everything"], {}),
    ("clear_site_data", ['"cache"'], {}),
    ("clear_site_data", [["cache"]], {}),
    ("store_error_page", b"<p>", {}),
    ("store_error_page", 503, {}),
    ("store_error_page", an_async_page, {}),
    ("secret", {"new": "a secret that is long enough for everybody"}, {}),
    ("exclude", "/static", {}),
    ("exclude", None, {}),
    ("exclude", ["static"], {}),
    ("exclude", ["/static", ""], {}),
    ("exclude", ["/static", 5], {}),
    ("exclude", ["/static/*"], {}),
    ("exclude", ["/static?v=1"], {}),
    ("exclude", ["/a#b"], {}),
    ("exclude", ["/a/../b"], {}),
    ("profile", "express", {}),
    ("profile", None, {}),
    ("rollling", True, {}),
    ("secure", True, {}),
]


@pytest.mark.parametrize(("option", "given", "beside"), REFUSED)
def test_a_wrong_option_is_refused_by_name_with_what_was_given_and_what_would_be_right(option, given, beside):
    with pytest.raises(ConfigurationError) as caught:
        options(**{**beside, option: given})
    error = caught.value
    assert error.option == option
    assert error.given and error.remedy
    assert str(error) == f"{option}: got {error.given}; {error.remedy}"


@pytest.mark.parametrize(
    ("option", "given", "shown"),
    [
        ("name", "a b", "'a b'"),
        ("cookie", {"path": "/"}, "dict"),
        ("rolling", 1, "1"),
        ("unset", "destory", "'destory'"),
        ("idle_timeout", "60", "'60'"),
        ("idle_timeout", timedelta(0), "0"),
        ("exclude", ["/a", "b"], "'b'"),
        ("secret", 7, "int"),
        ("maxAge", 7, "an unknown option"),
    ],
)
def test_what_was_given_is_repeated_unless_it_may_be_a_secret(option, given, shown):
    with pytest.raises(ConfigurationError) as caught:
        options(**{option: given})
    assert caught.value.given == shown


@pytest.mark.parametrize(
    "given",
    [[SECRET, 7_654_321], {"hunter2": 1, b"": 2}, [["hunter2" * 6]], (b"hunter2", object())],
)
def test_a_refused_secret_is_not_shown(given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SojournWarning)
        with pytest.raises(ConfigurationError) as caught:
            options(secret=given)
    error: BaseException | None = caught.value
    while error is not None:
        for hidden in ("hunter2", "7654321", SECRET.decode()):
            assert hidden not in str(error) and hidden not in repr(error) and hidden not in repr(vars(error))
        assert not isinstance(error, UnicodeError)  # which keeps the whole text
        error = error.__cause__ or error.__context__


def test_options_show_no_secret_and_no_password():
    shown = repr(options(secret="hunter2" * 6, store="redis://user:hunter2@localhost"))
    assert "hunter2" not in shown


def test_an_unknown_option_is_told_which_ones_there_are():
    with pytest.raises(ConfigurationError, match="idle_timeout") as caught:
        options(maxAge=60)
    assert caught.value.option == "maxAge"
    assert "secrets" not in caught.value.remedy  # which is derived, not given


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"cookie": Cookie(max_age=timedelta(days=31))}, "cookie.max_age"),
        ({"cookie": Cookie(max_age=61), "absolute_timeout": 60}, "cookie.max_age"),
        ({"idle_timeout": timedelta(days=31)}, "idle_timeout"),
    ],
)
def test_nothing_may_outlast_the_absolute_timeout(given, option):
    with pytest.raises(ConfigurationError) as caught:
        options(**given)
    assert caught.value.option == option
    assert "absolute_timeout" in caught.value.remedy
    assert options(**given | {"absolute_timeout": None}).absolute_ms is None
    assert options(**given | {"absolute_timeout": timedelta(days=31)}).absolute_ms == 31 * 86_400_000


@pytest.mark.parametrize(
    ("name", "cookie"),
    [
        ("__Host-sid", Cookie(secure=True)),
        ("__Secure-sid", Cookie(secure=True, path="/app", domain="example.com")),
        ("__Host-sid", lambda request: Cookie(secure=True)),  # known only when a request comes
        ("__sid", Cookie()),
        ("__Host", Cookie()),
        ("connect.sid", Cookie()),
        ("!#$%&'*+-.^_`|~09AZaz", Cookie()),
    ],
)
def test_names_that_browsers_take_are_taken(name, cookie):
    assert options(name=name, cookie=cookie).name == name


def test_paths_without_sessions_may_come_in_any_sequence():
    assert options(exclude=["/static", "/health"]).exclude == ("/static", "/health")
    assert options(exclude=(path for path in ("/a",))).exclude == ("/a",)


@pytest.mark.parametrize("container", [set, frozenset])
def test_secrets_without_an_order_are_told_once_and_not_shown(container, caplog, monkeypatch):
    monkeypatch.setattr(logs, "_said", set())
    two = container(["an older secret that is long enough", "a newer secret that is long enough as well"])
    for _ in range(2):
        assert len(options(secret=two).secrets) == 2
    options(secret=container(["only one secret that is long enough"]))
    options(secret=list(two))
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "secret is a set, which has no order: which of them signs differs from process to process; give a list, the newest first"
    )


def test_the_two_profiles_differ_where_the_worlds_do():
    assert (NATIVE.signature, NATIVE.host_prefix, NATIVE.max_age_attribute, NATIVE.tombstone_ms) == (
        "native",
        True,
        True,
        30_000,
    )
    assert (EXPRESS.signature, EXPRESS.host_prefix, EXPRESS.max_age_attribute, EXPRESS.tombstone_ms) == (
        "express",
        False,
        False,
        0,
    )


# contract 11, 14, 61, 81, 102; design, "Express profile"
def test_express_is_a_set_of_options():
    made = Options.of(sojourn.express(secret=SECRET))
    assert (made.name, made.unset, made.touch_after_ms, made.hash_ids) == ("connect.sid", "keep", 0, False)
    assert (made.absolute_ms, made.resave, made.save_uninitialized) == (None, False, False)
    assert made.cookie == Cookie(secure=False, samesite=None)
    assert made.profile is EXPRESS
    assert made.codec.name == "plain"


def test_an_option_given_takes_the_place_of_the_profiles():
    made = Options.of(sojourn.express(secret=SECRET, name="sid", unset="destroy", touch_after=60))
    assert (made.name, made.unset, made.touch_after_ms, made.hash_ids) == ("sid", "destroy", 60_000, False)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("secret_key", "secret"),
        ("session_cookie", "name"),
        ("https_only", "Cookie(secure=True)"),
        ("lifetime", "idle_timeout"),
    ],
)
def test_an_option_as_another_library_calls_it_is_refused_with_what_it_is_here(name: str, ours: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        options(**{name: 1})
    assert caught.value.option == name and ours in caught.value.remedy


def test_what_options_are_called_elsewhere_are_none_of_ours() -> None:
    assert not _ELSEWHERE.keys() & get_type_hints(OptionsDict).keys()


def test_a_secret_that_is_none_asks_whether_its_variable_is_set() -> None:
    with pytest.raises(ConfigurationError, match=r"secret: got None; .*is the variable set") as caught:
        Options.of({"secret": None})  # type: ignore[typeddict-item]
    assert caught.value.option == "secret"
