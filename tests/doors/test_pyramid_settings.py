"""The settings ``sojourn.*``, from an .ini file or from code, and `setup` in their place."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pyramid.config import Configurator
from pyramid.exceptions import ConfigurationConflictError
from pyramid.session import SignedCookieSessionFactory
from webtest import TestApp

from sojourn import Cookie, EncryptedCodec, JSONCodec, express
from sojourn.codecs import LenientCodec
from sojourn.errors import ConfigurationError
from sojourn.options import EXPRESS, Options, OptionsDict
from sojourn.pyramid import setup
from sojourn.pyramid.door import NAME
from sojourn.stores import AsyncMemoryStore, MemoryStore
from sojourn.testing.pyramid import read_session
from sojourn.transports import CookieTransport, HeaderTransport
from tests.doors.pyramid_apps import SECRET, add, cookie, make

CODEC = JSONCodec()
TRANSPORTS = [CookieTransport(), HeaderTransport()]


def is_exclusive(_environ: Any) -> bool:
    return False


def options_of(settings: dict[str, Any], **options: Any) -> Options:
    given = {"sojourn.secret": SECRET, "sojourn.store": "memory://", **settings}
    with Configurator(settings=given) as config:
        setup(config, **options)
    found: Options = config.registry[NAME].options
    return found


HERE = "tests.doors.test_pyramid_settings"
READ: list[tuple[str, str, Any]] = [
    ("name", "shop", "shop"),
    ("transports", f"{HERE}.TRANSPORTS", TRANSPORTS),
    ("idle_timeout", "1800", 1800),
    ("idle_timeout", "0.5", 0.5),
    ("idle_timeout", "none", None),
    ("absolute_timeout", "None", None),
    ("rolling", "true", True),
    ("resave", "yes", True),
    ("save_uninitialized", "On", True),
    ("hash_ids", "false", False),
    ("lazy", "1", True),
    ("unset", "keep", "keep"),
    ("unset", "Keep", "keep"),
    ("trust_proxy", "none", None),
    ("trust_proxy", "true", True),
    ("trust_proxy", "no", False),
    ("touch_after", "0", 0),
    ("exclude", "/static /favicon.ico", ("/static", "/favicon.ico")),
    ("exclude", "\n/static\n/favicon.ico", ("/static", "/favicon.ico")),
    ("on_store_error", "anonymous", "anonymous"),
    ("store_error_page", "<p>Later.", "<p>Later."),
    ("store_error_page", "Later.", "Later."),
    ("store_error_page", f"{HERE}:is_exclusive", is_exclusive),
    ("signature_cache", "0", 0),
    ("generate_id", "tests.doors.pyramid_apps.cookie", cookie),
    ("exclusive", f"{HERE}:is_exclusive", is_exclusive),
    ("fresh", f"{HERE}:is_exclusive", is_exclusive),
    ("close_on_end", "true", True),
    ("connect_flash", "true", True),
    ("describe", f"{HERE}:is_exclusive", is_exclusive),
    ("on_event", f"{HERE}:is_exclusive", is_exclusive),
    ("clear_site_data", "cache storage", ("cache", "storage")),
    ("clock", "sojourn.clock.system_clock", Options(secret=SECRET).clock),
    ("cookie.path", "/shop", Cookie(path="/shop")),
    ("cookie.domain", "example.com", Cookie(domain="example.com")),
    ("cookie.httponly", "off", Cookie(httponly=False)),
    ("cookie.secure", "auto", Cookie()),
    ("cookie.secure", "true", Cookie(secure=True)),
    ("cookie.samesite", "Strict", Cookie(samesite="strict")),
    ("cookie.partitioned", "true", Cookie(partitioned=True)),
    ("cookie.priority", "high", Cookie(priority="high")),
    ("cookie.max_age", "60", Cookie(max_age=60)),
    ("cookie.max_age", "none", Cookie()),
    ("cookie.expires", "2030-01-01T00:00:00+00:00", Cookie(expires=datetime(2030, 1, 1, tzinfo=UTC))),
]


# pyramid contract 20
@pytest.mark.parametrize(("name", "text", "expected"), READ)
def test_a_setting_is_read_from_its_text(name: str, text: str, expected: Any) -> None:
    options = options_of({f"sojourn.{name}": f" {text} ", "other.setting": "of another"})
    assert getattr(options, name.partition(".")[0]) == expected


def test_every_option_and_every_attribute_of_the_cookie_can_be_set() -> None:
    read = {name for name, _, _ in READ} | {"secret", "store", "profile", "codec", "cookie", "passport"}
    attributes = {f"cookie.{name}" for name in Cookie.__dataclass_fields__ if name != "max_age_ms"}
    assert read == OptionsDict.__annotations__.keys() | attributes


def test_of_passport_it_is_said_how_ids_are_written() -> None:
    for text, kind in (("true", True), ("int", int), ("no", False)):
        assert options_of({"sojourn.profile": "express", "sojourn.passport": text}).passport is kind
    with pytest.raises(ConfigurationError, match=r"sojourn\.passport"):
        options_of({"sojourn.profile": "express", "sojourn.passport": "ids"})


def test_what_is_given_in_code_is_taken_as_it_is() -> None:
    cookie = Cookie(max_age=60)
    settings = {"sojourn.cookie": cookie, "sojourn.idle_timeout": 30, "sojourn.lazy": True, "sojourn.exclude": ["/x"]}
    options = options_of(settings)
    assert (options.cookie, options.idle_timeout, options.lazy, options.exclude) == (cookie, 30, True, ("/x",))
    assert options_of({"sojourn.codec": f"{HERE}.CODEC"}).codec.beneath is CODEC
    lenient = LenientCodec(CODEC)
    assert options_of({"sojourn.codec": lenient}).codec is lenient


def test_secrets_are_lines_and_may_be_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_SECRET", "one that is in the environment, and long")
    options = options_of({"sojourn.secret": f"\n  env:SHOP_SECRET\n  {SECRET}\n"})
    assert options.secrets == (b"one that is in the environment, and long", SECRET.encode())
    monkeypatch.setenv("SHOP_STORE", "memory://")
    assert options_of({"sojourn.store": "env:SHOP_STORE"}).store == "memory://"
    with pytest.raises(ConfigurationError, match=r"sojourn.store: got the environment variable 'NOBODY', which is not"):
        options_of({"sojourn.store": "env:NOBODY"})


# pyramid contract 20
@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("lazy", "perhaps", "sojourn.lazy: got 'perhaps'; give true or false"),
        ("trust_proxy", "auto", "sojourn.trust_proxy: got 'auto'; give true, false or none"),
        ("cookie.secure", "always", "sojourn.cookie.secure: got 'always'; give true, false or auto"),
        ("idle_timeout", "1 day", "sojourn.idle_timeout: got '1 day'; give a number of seconds, or none"),
        ("idle_timeout", "nan", "sojourn.idle_timeout: got 'nan'; give a number of seconds, or none"),
        ("idle_timeout", "-1", r"sojourn.idle_timeout: got -1.0; give a duration from 0 to 400 years"),
        ("signature_cache", "4 MiB", "sojourn.signature_cache: got '4 MiB'; give a whole number"),
        ("cookie.expires", "2030-13-01", "sojourn.cookie.expires: got '2030-13-01'; give a date with a time zone"),
        ("cookie.expires", "2030-01-01", "sojourn.cookie.expires: .+ give a datetime with a time zone"),
        ("cookie.samesite", "none", "sojourn.cookie.samesite: .+ browsers refuse"),
        ("cookie.domain", "", "sojourn.cookie.domain: got ''; give a host name"),
        ("cookie", "nowhere.at_all", "sojourn.cookie: got 'nowhere.at_all'; give the dotted name"),
        ("codec", ".codec", "sojourn.codec: got '.codec'; give the dotted name"),
        ("exclusive", "os.nothing", "sojourn.exclusive: got 'os.nothing'; give the dotted name"),
        ("unset", "forget", "sojourn.unset: got 'forget'; give 'destroy' or 'keep'"),
        ("exclude", "static", "sojourn.exclude: got 'static'; give paths that start with"),
        ("name", "a b", "sojourn.name: got 'a b'; give a cookie name"),
        ("store", "oracle://", "sojourn.store: got a URL of scheme 'oracle'; the schemes are"),
        ("secret", "", "sojourn.secret: got none; give at least 32 random bytes"),
        ("profile", "rails", "sojourn.profile: got 'rails'; give native or express"),
        ("timeout", "1200", "sojourn.timeout: got an unknown setting; after 'sojourn.' comes one of secret, store"),
        ("cookie.max-age", "60", "sojourn.cookie.max-age: got an unknown setting"),
        ("store", AsyncMemoryStore(), "sojourn.store: got AsyncMemoryStore, .+; give a sync one"),
    ],
)
def test_a_setting_that_is_not_right_is_refused_by_its_name(name: str, given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        options_of({f"sojourn.{name}": given})


def test_a_cookie_and_attributes_of_one_are_too_many() -> None:
    with pytest.raises(ConfigurationError, match=r"sojourn.cookie: got attributes of it as well; give one of the two"):
        options_of({"sojourn.cookie": Cookie(), "sojourn.cookie.path": "/shop"})


def test_without_a_secret_it_is_told_which_setting_there_is_none_of() -> None:
    with Configurator() as config, pytest.raises(ConfigurationError, match="secret: got none"):
        config.include("sojourn.pyramid")


def test_an_option_goes_before_its_setting_and_is_refused_by_its_own_name() -> None:
    options = options_of({"sojourn.name": "shop", "sojourn.lazy": "true"}, name="site")
    assert (options.name, options.lazy) == ("site", True)
    with pytest.raises(ConfigurationError, match=r"^name: got 'a b'"):
        options_of({"sojourn.name": "shop"}, name="a b")
    with pytest.raises(ConfigurationError, match=r"^lifetime: got an unknown option"):
        options_of({}, lifetime=1)


def test_the_profile_of_express_has_its_own_defaults_and_what_is_set() -> None:
    options = options_of({"sojourn.profile": "express", "sojourn.cookie.domain": "example.com"})
    expected = Options(**express(secret=[SECRET], store="memory://"))
    assert options.profile is EXPRESS and options.name == "connect.sid"
    assert options.cookie == Cookie(secure=False, samesite=None, domain="example.com")
    assert options.codec.beneath.reserved == expected.codec.reserved
    assert options_of({"sojourn.profile": EXPRESS}).profile is EXPRESS
    assert options_of({"sojourn.profile": "native"}).name == "sid"
    assert options_of({}, **express(secret=SECRET)).name == "connect.sid"


# pyramid contract 21
def test_two_session_factories_are_a_conflict_that_pyramid_tells() -> None:
    config = Configurator(settings={"sojourn.secret": SECRET, "sojourn.store": "memory://"})
    config.include("sojourn.pyramid")
    config.include(other)
    with pytest.raises(ConfigurationConflictError, match="ISessionFactory"):
        config.commit()


def other(config: Any) -> None:
    config.set_session_factory(SignedCookieSessionFactory(SECRET))


def test_what_an_application_says_itself_goes_before_an_include() -> None:
    with Configurator(settings={"sojourn.secret": SECRET, "sojourn.store": "memory://"}) as config:
        config.include("sojourn.pyramid")
        setup(config, name="mine")
        add(config)
    app = TestApp(config.make_wsgi_app())
    assert cookie(app.get("/count")).startswith("mine=") and app.get("/count").json == 2


# pyramid contract 15
def test_the_order_of_includes_does_not_matter() -> None:
    with Configurator(settings={"sojourn.secret": SECRET, "sojourn.store": "memory://"}) as config:
        config.include("pyramid_retry")
        config.include("sojourn.pyramid")
        add(config)
    assert TestApp(config.make_wsgi_app()).get("/count").json == 1


# pyramid contract 20
def test_tweens_that_are_listed_in_the_settings_leave_nothing_out() -> None:
    with Configurator(
        settings={
            "sojourn.secret": SECRET,
            "sojourn.store": "memory://",
            "pyramid.tweens": "pyramid.tweens.excview_tween_factory",
        }
    ) as config:
        config.include("sojourn.pyramid")
        add(config)
    app = TestApp(config.make_wsgi_app())
    assert [app.get("/count").json for _ in range(2)] == [1, 2] and read_session(app) == {"n": 2}


def test_an_encrypted_session_goes_through_the_door() -> None:
    store = MemoryStore()
    app = make(store=store, codec=EncryptedCodec(b"k" * 32))
    assert [app.get("/count").json for _ in range(2)] == [1, 2]
    ((_, stored),) = store.scan()
    assert stored.data.startswith(b'"sj1.')
