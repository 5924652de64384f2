"""``request.session`` is our session with what Pyramid's have, saved after whatever Pyramid does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pyramid import testing
from pyramid.authentication import SessionAuthenticationHelper
from pyramid.config import Configurator
from pyramid.csrf import SessionCSRFStoragePolicy, get_csrf_token, new_csrf_token
from pyramid.events import NewResponse
from pyramid.exceptions import ConfigurationExecutionError
from pyramid.httpexceptions import HTTPForbidden, HTTPFound, HTTPNotFound
from pyramid.interfaces import ISession
from pyramid.request import Request
from pyramid.response import FileIter, FileResponse, Response
from pyramid.scripting import prepare
from pyramid.testing import DummyRequest
from pyramid_retry import RetryableException
from webtest import TestApp
from zope.interface.verify import verifyClass, verifyObject

from sojourn import (
    SessionEncodeError,
    SessionTooLarge,
    StoreError,
    express,
)
from sojourn.pyramid import LoginHelper, PyramidSession, next_page, setup
from sojourn.stores import MemoryStore
from sojourn.testing import ManualClock
from sojourn.testing.pyramid import log_in, new_session, read_session, write_session
from sojourn.wsgi import SessionMiddleware
from tests.doors.flask_apps import Store
from tests.doors.pyramid_apps import SECRET, add, cookie, count, make, show

# -- the session ---------------------------------------------------------------------------------------------------------


# pyramid contract 1, 2
def test_request_session_is_ours_and_a_session_of_pyramid_s() -> None:
    def face(request: Any) -> Any:
        session = request.session
        assert verifyObject(ISession, session) and verifyClass(ISession, PyramidSession)
        assert isinstance(session, PyramidSession) and session is request.session
        assert session.created == int(session.created_at.timestamp())
        return session.new

    def mapping(request: Any) -> Any:
        session = request.session
        session.clear()
        session.update({"a": 1, "b": 2}, c=3)
        assert session.setdefault("a", 9) == 1 and session.pop("c") == 3 and session.pop("c", None) is None
        assert session.popitem() == ("b", 2) and "a" in session and len(session) == 1
        assert list(session) == list(session.keys()) == ["a"] and list(session.values()) == [1]
        return list(session.items())

    app = make(face, mapping)
    assert app.get("/face").json is True
    app.get("/count")
    assert app.get("/face").json is False
    assert app.get("/mapping").json == [["a", 1]]


# pyramid contract 1
def test_it_is_loaded_when_the_request_begins_or_lazily_when_it_is_asked_for() -> None:
    for lazy in (False, True):
        store = Store()
        app = make(store=store, lazy=lazy)
        app.get("/count")
        store.asked.clear()
        assert "Vary" not in app.get("/nothing").headers
        assert store.asked == ([] if lazy else ["load"])
        assert app.get("/show").json == {"n": 1} and store.asked[-1] == "load"


# pyramid contract 3, 4
def test_messages_are_kept_in_queues_until_they_are_taken() -> None:
    def say(request: Any) -> Any:
        session = request.session
        session.flash("saved")
        session.flash("saved")
        session.flash("saved", allow_duplicate=False)
        session.flash({"text": "no"}, "errors")
        session.flash({"text": "no"}, "errors", False)
        return session.peek_flash("errors")

    def take(request: Any) -> Any:
        return [request.session.pop_flash(), request.session.pop_flash("errors"), request.session.peek_flash()]

    def take_all(request: Any) -> Any:
        return [list(flash) for flash in request.session.flashes()]

    app = make(say, take, take_all)
    assert app.get("/say").json == [{"text": "no"}]
    assert app.get("/show").json == {"_f_": ["saved", "saved"], "_f_errors": [{"text": "no"}]}
    assert app.get("/take").json == [["saved", "saved"], [{"text": "no"}], []]
    assert app.get("/take").json == [[], [], []]
    app.get("/say")
    assert app.get("/take_all").json == [["", "saved"], ["", "saved"], ["errors", {"text": "no"}]]
    other = make(say, take)
    assert other.get("/take").json == [[], [], []] and not other.cookies


def test_what_another_program_put_in_a_queue_s_place_is_no_queue() -> None:
    def take(request: Any) -> Any:
        request.session["_f_"] = "text"
        request.session.flash("saved")
        return request.session.flashes("")

    assert make(take).get("/take").json == [["", "saved"]]


# pyramid contract 5
@pytest.mark.parametrize("policy", [None, SessionCSRFStoragePolicy(), SessionCSRFStoragePolicy(key="mine")])
def test_csrf_tokens_of_either_storage_policy_are_in_the_session(policy: Any) -> None:
    def token(request: Any) -> Any:
        return get_csrf_token(request)

    def another(request: Any) -> Any:
        return new_csrf_token(request)

    def save(request: Any) -> Any:
        return "saved"

    def include(config: Any) -> None:
        config.set_default_csrf_options(require_csrf=True)
        if policy is not None:
            config.set_csrf_storage_policy(policy)

    app = make(token, another, save, include=include)
    first = app.get("/token").json
    assert len(first) == (40 if policy is None else 32) and app.get("/token").json == first
    assert read_session(app) == {"mine" if policy is not None and policy.key == "mine" else "_csrft_": first}
    assert app.post("/save", {"csrf_token": first}).json == "saved"
    assert app.post("/save", {"csrf_token": "wrong"}, status=400)
    second = app.get("/another").json
    assert second != first and app.post("/save", {"csrf_token": first}, status=400)
    assert app.post("/save", headers={"X-CSRF-Token": second}).json == "saved"


# pyramid contract 6
# others contract 18
def test_an_invalidated_session_has_ended_and_goes_on_empty() -> None:
    def invalidate(request: Any) -> Any:
        request.session.invalidate()
        return dict(request.session)

    def leave(request: Any) -> Any:
        request.session.destroy()
        request.session.flash("Goodbye.")
        return request.session.new

    store = Store()
    app = make(invalidate, leave, store=store)
    app.get("/count")
    stolen = TestApp(app.app)
    for one in app.cookiejar:
        stolen.cookiejar.set_cookie(one)
    assert stolen.get("/show").json == {"n": 1}
    answer = app.get("/invalidate")
    assert answer.json == {} and "Max-Age=0" in cookie(answer) and not app.cookies
    assert stolen.get("/show").json == {} and store.count() == 0
    app.get("/count")
    before = dict(app.cookies)
    assert app.get("/leave").json is True
    assert dict(app.cookies) != before and app.get("/show").json == {"_f_": ["Goodbye."]}


# pyramid contract 7
def test_nested_changes_are_saved_untold_and_changed_begins_its_life_anew() -> None:
    def nest(request: Any) -> Any:
        request.session.setdefault("cart", {}).setdefault("tent", []).append(1)
        return request.session["cart"]

    def changed(request: Any) -> Any:
        request.session.changed()
        return None

    store = Store()
    app = make(nest, changed, store=store, touch_after=3600)
    app.get("/nest")
    assert app.get("/nest").json == {"tent": [1, 1]} and app.get("/show").json == {"cart": {"tent": [1, 1]}}
    store.asked.clear()
    app.get("/changed")
    assert store.asked == ["load", "touch"]
    assert cookie(TestApp(app.app).get("/changed")) == ""  # a visitor that has no session gets none


class Translated(str):
    """Text that is more than text, as translation strings are."""

    __slots__ = ("domain",)


# pyramid contract 8
def test_values_that_pyramid_s_own_serializer_writes_are_written() -> None:
    def put(request: Any) -> Any:
        request.session.flash(Translated("Saved."))
        request.session["pair"] = (1, 2)
        request.session["by number"] = {1: float("inf")}
        return None

    def types(request: Any) -> Any:
        session = request.session
        return [type(session.peek_flash()[0]) is str, session["pair"] == (1, 2), session["by number"]["1"] > 1e308]

    app = make(put, types)
    app.get("/put")
    assert app.get("/types").json == [True, True, True]


# pyramid contract 9, 10, 11
def test_the_cookie_has_an_id_alone_and_is_sent_when_the_session_is_new() -> None:
    def fill(request: Any) -> Any:
        request.session["text"] = "x" * 100_000
        return None

    app = make(fill)
    answer = app.get("/fill")
    assert "HttpOnly" in cookie(answer) and "SameSite=Lax" in cookie(answer) and len(cookie(answer)) < 200
    assert answer.headers["Vary"] == "Cookie" and answer.headers["Cache-Control"] == "no-store"
    again = app.get("/count")
    assert cookie(again) == "" and again.headers["Vary"] == "Cookie"
    secure = TestApp(app.app, extra_environ={"wsgi.url_scheme": "https"}).get("/count")
    assert cookie(secure).startswith("__Host-sid=") and "Secure" in cookie(secure)


# -- when it is saved -----------------------------------------------------------------------------------------------------


# pyramid contract 12
def test_what_any_part_of_pyramid_puts_in_is_saved_with_whatever_response() -> None:
    def note(request: Any, key: str) -> None:
        request.session[key] = True

    def view(request: Any) -> Any:
        request.add_response_callback(lambda request, _response: note(request, "callback"))
        request.add_finished_callback(lambda request: note(request, "finished"))
        note(request, "view")
        return None

    def include(config: Any) -> None:
        config.add_tween("tests.doors.test_pyramid.noting_tween_factory")
        config.add_subscriber(lambda event: note(event.request, "subscriber"), NewResponse)

    app = make(view, include=include)
    assert cookie(app.get("/view"))
    assert read_session(app) == dict.fromkeys(("view", "callback", "finished", "tween", "subscriber"), True)


def noting_tween_factory(handler: Any, _registry: Any) -> Any:
    def noting_tween(request: Any) -> Any:
        response = handler(request)
        request.session["tween"] = True
        return response

    return noting_tween


# pyramid contract 12
def test_redirects_errors_and_their_views_are_saved() -> None:
    def moved(request: Any) -> Any:
        request.session["moved"] = True
        raise HTTPFound("/show")

    def forbidden(request: Any) -> Any:
        request.session["forbidden"] = True
        return HTTPForbidden()

    def handled(request: Any) -> Any:
        request.session["before"] = True
        raise ZeroDivisionError

    def include(config: Any) -> None:
        config.add_view(not_found, context=HTTPNotFound, renderer="string")
        config.add_view(sorry, context=ZeroDivisionError, renderer="string")

    def not_found(request: Any) -> str:
        request.session["missed"] = request.path
        return "where?"

    def sorry(request: Any) -> str:
        request.response.status_code = 500
        request.session["sorry"] = True
        return "sorry"

    app = make(moved, forbidden, handled, include=include)
    assert app.get("/moved").follow().json == {"moved": True}
    app.get("/forbidden", status=403)
    assert app.get("/nowhere", status=200).text == "where?"
    assert app.get("/handled", status=500).text == "sorry"
    expected = {"moved": True, "forbidden": True, "missed": "/nowhere", "before": True, "sorry": True}
    assert app.get("/show").json == expected


# pyramid contract 13
def test_what_nobody_handles_saves_nothing_and_ends_what_was_to_end() -> None:
    def fail(request: Any) -> Any:
        request.session["half"] = True
        raise ZeroDivisionError

    def leave(request: Any) -> Any:
        request.session.invalidate()
        raise ZeroDivisionError

    app = make(fail, leave)
    app.get("/count")
    with pytest.raises(ZeroDivisionError):
        app.get("/fail")
    assert app.get("/show").json == {"n": 1}
    with pytest.raises(ZeroDivisionError):
        app.get("/leave")
    assert app.get("/show").json == {}


# pyramid contract 12, 18
def test_what_is_changed_while_a_body_is_made_is_saved_at_its_end() -> None:
    def stream(request: Any) -> Any:
        session = request.session

        def body() -> Iterator[bytes]:
            session["first"] = True  # before the headers leave
            yield b"one"
            session["late"] = True
            yield b"two"

        return Response(app_iter=body())

    app = make(stream)
    answer = app.get("/stream")
    assert answer.body == b"onetwo" and cookie(answer)
    assert app.get("/show").json == {"first": True, "late": True}


def test_a_file_is_left_to_the_server() -> None:
    seen: list[Any] = []

    def file(request: Any) -> Any:
        request.session["n"] = 1
        return FileResponse(__file__, request)

    app = make(file)

    def note(environ: Any, start_response: Any) -> Any:
        body = app.app({**environ, "wsgi.file_wrapper": FileIter}, start_response)
        seen.append(type(body))
        return body

    assert cookie(TestApp(note).get("/file")) and seen == [FileIter]


# -- errors ---------------------------------------------------------------------------------------------------------------


def apologetic(config: Any) -> None:
    """Exception views for whatever becomes of a session."""

    def sorry(context: Any, request: Any) -> Any:
        assert request.exception is context
        return Response(f"{type(context).__name__}: sorry", 500 if isinstance(context, SessionEncodeError) else 503)

    for error in (SessionEncodeError, SessionTooLarge, StoreError):
        config.add_exception_view(sorry, context=error)


def unstorable(request: Any) -> Any:
    request.session["bad"] = object()


def leave_and_fail(request: Any) -> Any:
    request.session.invalidate()
    request.session["bad"] = object()


# pyramid contract 14
def test_exception_views_hear_of_a_value_that_cannot_be_stored() -> None:
    app = make(unstorable, leave_and_fail, include=apologetic)
    app.get("/count")
    answer = app.get("/unstorable", status=500)
    assert answer.text == "SessionEncodeError: sorry" and cookie(answer) == ""
    assert app.get("/show").json == {"n": 1}
    answer = app.get("/leave_and_fail", status=500)
    assert "Max-Age=0" in cookie(answer) and app.get("/show").json == {}


def test_so_they_do_in_the_midst_of_a_body() -> None:
    def stream(request: Any) -> Any:
        session = request.session

        def body() -> Iterator[bytes]:
            session["bad"] = object()
            yield b"never seen"

        return Response(app_iter=body())

    app = make(stream, include=apologetic)
    assert app.get("/stream", status=500).text == "SessionEncodeError: sorry"


def test_without_an_exception_view_it_is_an_error_that_nobody_handles() -> None:
    app = make(unstorable)
    app.get("/count")
    with pytest.raises(SessionEncodeError, match="bad"):
        app.get("/unstorable")
    assert app.get("/count").json == 2


def test_an_exception_view_that_fails_itself_is_none() -> None:
    def include(config: Any) -> None:
        def bad(_context: Any, _request: Any) -> Any:
            raise StoreError("this one, too")

        config.add_exception_view(bad, context=SessionEncodeError)

    app = make(unstorable, include=include)
    with pytest.raises(SessionEncodeError):
        app.get("/unstorable")


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("operation", ["load", "replace"])
def test_exception_views_hear_of_a_store_that_fails(operation: str, lazy: bool) -> None:
    store = Store()
    app = make(store=store, lazy=lazy, include=apologetic)
    app.get("/count")
    store.down = frozenset({operation})
    answer = app.get("/count", status=503)
    assert answer.text == "StoreUnavailable: sorry" and cookie(answer) == ""
    store.down = frozenset()
    assert app.get("/count").json == 2


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("operation", ["load", "replace"])
def test_without_an_exception_view_it_is_our_503(operation: str, lazy: bool, caplog: Any) -> None:
    store = Store()
    app = make(store=store, lazy=lazy, store_error_page="<p>Later.")
    app.get("/count")
    store.down = frozenset({operation})
    assert app.get("/count", status=503).text == "<p>Later."
    assert caplog.text.count("requests get a 503") == 1


def test_a_logout_that_the_store_does_not_carry_out_is_a_503_even_if_a_value_failed_first() -> None:
    store = Store()
    app = make(leave_and_fail, store=store, include=apologetic)
    app.get("/count")
    store.down = frozenset({"delete"})
    assert app.get("/leave_and_fail", status=503).text == "StoreUnavailable: sorry"
    store.down = frozenset()
    assert app.get("/show").json == {"n": 1}


def test_a_view_that_hides_that_its_session_failed_hides_nothing() -> None:
    def hide(request: Any) -> Any:
        try:
            return dict(request.session)
        except StoreError:
            return "all is well"

    store = Store()
    app = make(hide, store=store, lazy=True, include=apologetic)
    app.get("/count")
    store.down = frozenset({"load"})
    assert "unavailable" in app.get("/hide", status=503).text


def test_a_save_that_fails_in_a_view_is_a_503(caplog: Any) -> None:
    def save(request: Any) -> Any:
        request.session["n"] = 1
        request.session.save()

    store = Store()
    app = make(save, store=store)
    store.down = frozenset({"create"})
    assert "unavailable" in app.get("/save", status=503).text
    assert "requests get a 503" in caplog.text


def test_with_anonymous_a_store_that_fails_lets_the_response_out() -> None:
    store = Store()
    app = make(store=store, on_store_error="anonymous")
    app.get("/count")
    store.down = frozenset({"load"})
    assert app.get("/count").json == 1


def early_tween_factory(_handler: Any, _registry: Any) -> Any:
    def early_tween(request: Any) -> Any:
        request.environ["sojourn.session"]["bad"] = object()
        return Response("early")

    return early_tween


def test_past_pyramid_s_request_no_exception_view_hears_of_a_value() -> None:
    def include(config: Any) -> None:
        apologetic(config)
        config.add_tween("tests.doors.test_pyramid.early_tween_factory")

    with pytest.raises(SessionEncodeError):
        make(include=include).get("/count")


# -- attempts and subrequests ----------------------------------------------------------------------------------------------


# pyramid contract 15
@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("handled", [False, True])
def test_each_attempt_of_pyramid_retry_begins_with_what_is_stored(is_new: bool, handled: bool) -> None:
    numbers = iter(range(100))

    def transact(request: Any) -> Any:
        request.session.increment("n", 10)
        request.session[f"attempt {next(numbers)}"] = True
        if request.environ["retry.attempt"] < 2:
            raise RetryableException
        return dict(request.session)

    def include(config: Any) -> None:
        config.include("pyramid_retry")
        if handled:
            config.add_exception_view(lambda _context, _request: Response("sorry", 500), context=RetryableException)

    app = make(transact, include=include)
    if not is_new:
        app.get("/count")
    expected = {"n": 10 if is_new else 11, "attempt 2": True}
    assert app.get("/transact").json == expected
    assert app.get("/show").json == expected


def test_a_logout_of_an_attempt_is_no_more_than_its_changes() -> None:
    def log_out(request: Any) -> Any:
        user = request.session["n"]
        request.session.invalidate()
        if request.environ["retry.attempt"] < 2:
            raise RetryableException
        return user

    app = make(log_out, include=lambda config: config.include("pyramid_retry"))
    app.get("/count")
    assert app.get("/log_out").json == 1 and not app.cookies


def test_an_attempt_that_does_not_touch_the_session_is_the_one_that_counts() -> None:
    def transact(request: Any) -> Any:
        if request.environ["retry.attempt"] == 0:
            request.session["first"] = True
            raise RetryableException

    app = make(transact, include=lambda config: config.include("pyramid_retry"))
    assert cookie(app.get("/transact")) == "" and app.get("/show").json == {}


def test_an_attempt_of_an_exclusive_request_gives_the_session_back() -> None:
    def transact(request: Any) -> Any:
        request.session.increment("n")
        if request.environ["retry.attempt"] < 2:
            raise RetryableException

    def everybody(_environ: Any) -> bool:
        return True

    app = make(transact, exclusive=everybody, include=lambda config: config.include("pyramid_retry"))
    app.get("/count")
    app.get("/transact")
    assert app.get("/show").json == {"n": 2}


# pyramid contract 16
def test_a_subrequest_has_the_session_that_its_cookie_names_and_its_response_tells() -> None:
    def outer(request: Any) -> Any:
        request.session.increment("outer")
        subrequest = Request.blank("/count")
        if "same" in request.params:
            subrequest = request.copy()
            subrequest.path_info = "/count"
        if "cookie" in request.params:
            subrequest.headers["Cookie"] = request.headers["Cookie"]
        response = request.invoke_subrequest(subrequest, use_tweens="tweens" in request.params)
        return [response.json, cookie(response) != ""]

    for tweens in ("", "&tweens=1"):
        app = make(outer)
        assert app.get(f"/outer?{tweens}").json == [1, True], "another visitor"
        assert app.get(f"/outer?cookie=1{tweens}").json == [1, False], "the same visitor"
        assert app.get("/show").json == {"outer": 2, "n": 1}, "merged"
        assert app.get(f"/outer?same=1{tweens}").json == [2, False], "the same session"
        assert app.get("/show").json == {"outer": 3, "n": 2}


def test_a_subrequest_that_fails_saves_nothing_and_a_store_that_fails_it_is_a_503() -> None:
    def fail(request: Any) -> Any:
        request.session["half"] = True
        raise ZeroDivisionError

    def outer(request: Any) -> Any:
        subrequest = Request.blank(request.params["path"], headers={"Cookie": request.headers["Cookie"]})
        try:
            request.invoke_subrequest(subrequest)
        except ZeroDivisionError:
            return "failed"

    store = Store()
    app = make(fail, outer, store=store)
    app.get("/count")
    assert app.get("/outer?path=/fail").json == "failed"
    assert app.get("/show").json == {"n": 1}
    store.down = frozenset({"replace"})
    assert app.get("/outer?path=/count", status=503)


# pyramid contract 17
def test_behind_the_debug_toolbar_its_page_is_a_response_as_any(caplog: Any) -> None:
    def fail(request: Any) -> Any:
        request.session["half"] = True
        raise ZeroDivisionError("of this test")

    app = make(fail, include=lambda config: config.include("pyramid_debugtoolbar"))
    answer = app.get("/fail", status=500, extra_environ={"REMOTE_ADDR": "127.0.0.1"})
    assert "of this test" in answer.text and cookie(answer)
    assert SECRET not in answer.text
    assert app.get("/show").json == {"half": True}
    app.set_cookie("pdtb_active", "session")  # its panel that looks at the session
    assert app.get("/count", extra_environ={"REMOTE_ADDR": "127.0.0.1"}).json == 1


# pyramid contract 18
def test_a_script_has_a_session_to_look_at_others_by() -> None:
    app = make()
    app.get("/count")
    log_in(app, "ann")
    environment = prepare(registry=app.app.registry)
    try:
        session = environment["request"].session
        assert session.new and dict(session) == {}
        assert [dict(one) for one in session.sessions.by_owner("ann")] == [{"n": 1}]
    finally:
        environment["closer"]()


def test_in_another_middleware_of_ours_it_is_the_same_session_with_another_face(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sojourn.logs._said", set())
    inner = make()
    client = TestApp(SessionMiddleware(inner.app, secret=SECRET, store="memory://"))
    assert [client.get("/count").json for _ in range(2)] == [1, 2]
    assert "is it installed twice?" in caplog.text


def test_at_an_excluded_path_there_is_no_session_and_no_error_unless_one_is_asked_for() -> None:
    app = make(exclude=["/nothing", "/show"])
    app.get("/count")
    assert app.get("/nothing").json is None
    with pytest.raises(RuntimeError, match=r"this path has none: .+ excluded"):
        app.get("/show")


def test_a_store_error_at_an_excluded_path_is_the_application_s(caplog: Any) -> None:
    def fail(_request: Any) -> Any:
        raise StoreError("of another store")

    with pytest.raises(StoreError, match="of another store"):
        make(fail, exclude=["/fail"]).get("/fail")


# -- logins ----------------------------------------------------------------------------------------------------------------


class Policy:
    """A security policy on a helper."""

    def __init__(self, helper: Any) -> None:
        self.helper = helper

    def authenticated_userid(self, request: Any) -> Any:
        return self.helper.authenticated_userid(request)

    identity = authenticated_userid

    def permits(self, request: Any, context: Any, permission: str) -> bool:
        return self.identity(request) is not None

    def remember(self, request: Any, userid: Any, **kw: Any) -> Any:
        return self.helper.remember(request, userid, **kw)

    def forget(self, request: Any, **kw: Any) -> Any:
        return self.helper.forget(request, **kw)


def who(request: Any) -> Any:
    return [request.authenticated_userid, request.session.owner]


def enter(request: Any) -> Any:
    from pyramid.security import remember

    assert remember(request, request.params["name"]) == []


def leave(request: Any) -> Any:
    from pyramid.security import forget

    assert forget(request) == []
    request.session.flash("Goodbye.")


# pyramid contract 19
def test_pyramid_s_own_helper_works_and_leaves_the_id_as_it_is() -> None:
    policy = Policy(SessionAuthenticationHelper())
    app = make(who, enter, leave, include=lambda config: config.set_security_policy(policy))
    app.get("/count")
    before = dict(app.cookies)
    app.get("/enter?name=ann")
    assert app.get("/who").json == ["ann", None] and dict(app.cookies) == before
    app.get("/leave")
    assert app.get("/who").json == [None, None] and app.get("/count").json == 2


# pyramid contract 19
def test_our_helper_changes_the_id_names_the_owner_and_ends_the_session() -> None:
    app = make(who, enter, leave, include=lambda config: config.set_security_policy(Policy(LoginHelper())))
    app.get("/count")
    before = dict(app.cookies)
    app.get("/enter?name=ann")
    assert app.get("/who").json == ["ann", "ann"] and dict(app.cookies) != before
    assert app.get("/count").json == 2, "what the visitor gathered stays"
    app.get("/enter?name=bob")
    assert app.get("/who").json == ["bob", "bob"] and app.get("/count").json == 1, "nothing of ann's"
    app.get("/leave")
    assert app.get("/who").json == [None, None] and app.get("/show").json == {"_f_": ["Goodbye."]}


# -- tests -----------------------------------------------------------------------------------------------------------------


# pyramid contract 22
def test_a_dummy_request_has_its_dummy_or_a_session_of_ours() -> None:
    with testing.testConfig(settings={"sojourn.secret": SECRET, "sojourn.store": "memory://"}) as config:
        config.include("sojourn.pyramid")
        assert show(DummyRequest()) == {}
    request = DummyRequest(session=new_session({"n": 4}, owner="ann"))
    assert count(request) == 5 and request.session.owner == "ann"
    request.session.flash("saved")
    assert request.session.pop_flash() == ["saved"]
    assert new_session().owner is None and new_session() == {}


# pyramid contract 23
def test_a_client_s_session_is_read_written_and_logged_in_in_a_line() -> None:
    app = make(who)
    assert read_session(app) == {}
    write_session(app, {"n": 7})
    assert app.get("/count").json == 8
    log_in(app, "ann")
    assert app.get("/who").json[1] == "ann" and read_session(app) == {"n": 8}

    class Outer:
        def __init__(self, app: Any) -> None:
            self.app = app

        def __call__(self, environ: Any, start_response: Any) -> Any:
            return self.app(environ, start_response)

    wrapped = TestApp(Outer(app.app), cookiejar=app.cookiejar)
    assert read_session(wrapped) == {"n": 8}


def test_a_client_of_an_application_without_sessions_of_ours_is_told() -> None:
    apps: list[Any] = [Configurator().make_wsgi_app(), lambda environ, start_response: []]
    for app in apps:
        with pytest.raises(LookupError, match=r'config.include\("sojourn.pyramid"\)'):
            read_session(TestApp(app))


# -- the profile of Express -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_settings", [True, False])
def test_the_profile_of_express_goes_through_the_door(by_settings: bool, tmp_path: Any) -> None:
    store = MemoryStore()
    with Configurator(
        settings={"sojourn.profile": "express", "sojourn.secret": SECRET, "sojourn.store": store} if by_settings else {}
    ) as config:
        if by_settings:
            config.include("sojourn.pyramid")
        else:
            setup(config, **express(secret=SECRET, store=store))
        add(config)
    app = TestApp(config.make_wsgi_app())
    answer = app.get("/count")
    assert cookie(answer).startswith("connect.sid=s%3A") and "SameSite" not in cookie(answer)
    assert app.get("/count").json == 2
    ((key, stored),) = store.scan()
    assert cookie(answer).startswith(f"connect.sid=s%3A{key}.") and stored.data.startswith(b'{"cookie":{')


# -- the password, asked for again -----------------------------------------------------------------------------------------


def delete(request: Any) -> Any:
    return request.session.owner


def confirm(request: Any) -> Any:
    request.session.confirm()
    return next_page(request)


def asking(clock: ManualClock, view: Any = None, **settings: Any) -> TestApp:
    def include(config: Any) -> None:
        config.add_route("delete", "/delete/{what}")
        config.add_view(delete, route_name="delete", renderer="json", require_fresh=timedelta(minutes=15))
        if view is not None:
            config.add_exception_view(view, context=HTTPForbidden, renderer="json")

    return make(confirm, include=include, clock=clock, **settings)


def test_whose_password_was_given_too_long_ago_is_asked_for_it_and_led_back() -> None:
    clock = ManualClock()
    app = asking(clock, confirm_route="confirm")
    app.get("/delete/a", status=403)
    log_in(app, "ann")
    assert app.get("/delete/a").json == "ann"
    clock.advance(15 * 60_000 + 1)
    sent = app.get("/delete/a%20b?x=1", status=303)
    assert sent.location == "http://localhost/confirm?next=/delete/a%2520b%3Fx%3D1"
    assert app.post("/delete/a", status=303).location == "http://localhost/confirm"
    assert app.get(sent.location).json == "/delete/a%20b?x=1" and app.get("/delete/a").json == "ann"
    assert app.get("/confirm?next=//evil.test").json == "/"


def test_without_a_route_for_it_an_exception_view_may_say_what_is_sent() -> None:
    app = asking(ManualClock(), view=lambda _request: "the password, please")
    log_in(app, "ann", remember=timedelta(days=1))
    assert app.get("/delete/a").json == "the password, please"
    app = asking(ManualClock())
    log_in(app, "ann", remember=timedelta(days=1))
    app.get("/delete/a", status=403)


def test_a_view_that_no_duration_is_given_is_refused() -> None:
    with pytest.raises(ConfigurationExecutionError, match="require_fresh"):
        make(include=lambda config: config.add_view(delete, name="delete", require_fresh=True))


def test_all_that_a_login_can_do_goes_through_this_door() -> None:
    def login(request: Any) -> Any:
        session = request.session
        session.begin_login("ann", stamp="hash")
        found = [session.owner, session.pending_owner]
        session.complete_login(sid="idp", max_sessions=1)
        return [*found, session.owner, session.check("hash")]

    def attempt(request: Any) -> Any:
        return [request.session.try_login("ann", max_sessions=1), request.session.sessions.end_sid("idp")]

    app = make(login, attempt)
    assert app.get("/login").json == [None, "ann", "ann", True]
    other = TestApp(app.app)
    assert other.get("/attempt").json == [False, 1] and other.get("/attempt").json == [True, 0]


def test_our_helper_hands_over_what_a_login_takes() -> None:
    from pyramid.security import remember

    def enter_so(request: Any) -> Any:
        remember(request, "ann", remember=timedelta(days=1), stamp="hash", sid="idp", max_sessions=1, max_age=5)
        session = request.session
        return [session.confirmed_at is None, session.check("hash"), session.cookie.max_age]

    app = make(enter_so, include=lambda config: config.set_security_policy(Policy(LoginHelper())))
    assert app.get("/enter_so").json == [True, True, pytest.approx(86_400, abs=0.01)]
