"""Express contract, section 3: reading the cookie."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sojourn import SojournWarning
from tests.behaviour.harness import OLD_SECRET, SECRET, Client, Make, read, sign


# contract 29, 38, 39, 40, 41
def test_only_the_cookie_header_is_read(make: Make) -> None:
    world = make()
    world.plant({"n": 1})
    value = sign("planted", world.profile)
    parsed = {world.name: value}
    answer = world.get(
        read,
        f"/?{world.name}={value}&sid=planted",
        method="POST",
        headers=[("X-Session-Id", value), ("Authorization", f"Bearer {value}"), ("Cookie2", f"{world.name}={value}")],
        extra={"tests.cookies": parsed, "tests.signed_cookies": {world.name: "planted"}, "cookies.x": parsed},
    )
    assert answer.seen == {} and answer.ops == []


# contract 30, 31, 32, 39, 40
@pytest.mark.parametrize(
    "value",
    [
        "",
        "planted",
        "s:planted",
        "s%3Aplanted",
        ".",
        "s:.",
        "planted.",
        ".signature",
        "planted.signature",
        "s:planted.signature",
        "planted." + "A" * 43,
        "s:planted." + "A" * 43,
        "s%3Aplanted." + "A" * 43,
        "%",
        "%zz",
        "%FF%FE.%00",
        '"',
        '""',
        "=" * 10,
        "\x80\xff",
        "x" * 8000,
        "." * 8000,
    ],
)
def test_what_is_not_signed_by_us_is_ignored_and_the_store_not_asked(make: Make, value: str) -> None:
    world = make()
    world.plant({"n": 1})
    answer = world.get(lambda ctx: (dict(ctx.session), ctx.session.update(n=2)), cookies=f"{world.name}={value}")
    assert answer.status == 200 and answer.seen[0] == {}
    assert answer.ops == ["create"] and answer.id != "planted"
    assert world.data("planted") == {"n": 1}


# contract 30
def test_a_value_of_the_other_profiles_form_is_ignored(make: Make) -> None:
    world = make()
    world.plant({"n": 1})
    other = sign("planted", "express" if world.profile == "native" else "native")
    answer = world.get(read, cookies=f"{world.name}={other}")
    assert answer.seen == {} and answer.ops == []


# contract 31
@pytest.mark.parametrize("position", [0, 20, 42])
def test_a_signature_that_is_wrong_in_one_place_is_ignored(make: Make, position: int) -> None:
    world = make()
    world.plant({"n": 1})
    message, _, signature = sign("planted", world.profile).rpartition(".")
    signature = signature.replace("%2F", "/").replace("%2B", "+")
    # the last character has two bits that say nothing, so that the change must be of the others
    changed = signature[:position] + ("A" if signature[position] not in "ABCD" else "z") + signature[position + 1 :]
    answer = world.get(read, cookies=f"{world.name}={message}.{changed}")
    assert answer.seen == {} and answer.ops == []


# contract 31
def test_a_signature_belongs_to_its_id(make: Make) -> None:
    world = make()
    world.plant({"n": 1})
    signature = sign("another", world.profile).rpartition(".")[2]
    prefix = "s%3A" if world.profile == "express" else ""
    assert world.get(read, cookies=f"{world.name}={prefix}planted.{signature}").ops == []


# contract 33
@pytest.mark.parametrize(
    "value",
    [
        "s%3AwulJLPAtqX6RqdOGY6Z30DOzphrja_7w.uVtzCGGkRhuzCsTOKThOZCXPFwsYYojMoqr32b1o4Go",
        "s%3AY43IOTrnPQ2egdddayQgNnHsbFs6cI89.d6lO%2Fo22sIIFz435xIAoylfTxUGegWbIK09unofMA28",
        "s%3AmEAhIkHCWm8m7Yv6aAL1OdwMhAQ_tHu6.sOpaxkYGyky4RsP8fUWPveiH6OTXLsnXz%2FH%2BoGIsTYM",
    ],
)
def test_cookies_that_express_signed_are_read(expressive: Make, value: str) -> None:
    with pytest.warns(SojournWarning):
        world = expressive(secret="keyboard cat")
    world.plant({"n": 1}, session_id=value[4:36])
    assert world.get(read, cookies=f"connect.sid={value}").seen == {"n": 1}


# contract 33
def test_the_signature_is_hmac_sha256_of_the_id(make: Make) -> None:
    world = make(generate_id=lambda _request: "an-id-of-ours")
    answer = world.get(lambda ctx: ctx.session.update(n=1))
    assert answer.the_cookie.value == sign("an-id-of-ours", world.profile)


# contract 34
def test_all_secrets_verify_and_only_the_first_signs(make: Make) -> None:
    world = make(secret=[SECRET, OLD_SECRET])
    for secret in (SECRET, OLD_SECRET):
        client = world.plant({"n": 1}).holding("planted", secret=secret)
        assert client.get(read).seen == {"n": 1}
    answer = Client(world).get(lambda ctx: ctx.session.update(n=2))
    assert answer.the_cookie.value == sign(answer.id, world.profile, SECRET)
    only_old = make(secret=OLD_SECRET, store=world.store)
    assert only_old.get(read, cookies=f"{world.name}={answer.the_cookie.value}").seen == {}


# contract 35
@pytest.mark.parametrize("look", [True, False])
def test_a_cookie_under_an_older_secret_is_signed_anew_on_the_next_response(make: Make, *, look: bool) -> None:
    world = make(secret=[SECRET, OLD_SECRET], touch_after=3600)
    client = world.plant({"n": 1}).holding("planted", secret=OLD_SECRET)
    answer = client.get(read if look else None)
    assert answer.id == "planted" and answer.the_cookie.value == sign("planted", world.profile, SECRET)
    assert answer.writes == []
    assert client.get(read).cookie is None


# contract 35
def test_a_dead_cookie_under_an_older_secret_is_not_signed_anew(make: Make) -> None:
    world = make(secret=[SECRET, OLD_SECRET])
    assert Client(world).holding("unknown", secret=OLD_SECRET).get(read).cookie is None


def other_values(profile: str) -> list[str]:
    return ["", "junk", sign("planted", profile, "not our secret, but as long as ours"), sign("dead", profile)]


# contract 36
@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("first", [True, False])
def test_every_cookie_of_the_name_is_tried(make: Make, index: int, *, first: bool) -> None:
    world = make()
    world.plant({"n": 1})
    bad, good = other_values(world.profile)[index], sign("planted", world.profile)
    values = [good, bad] if first else [bad, good]
    answer = world.get(read, cookies="; ".join(f"{world.name}={value}" for value in values))
    assert answer.seen == {"n": 1}
    assert answer.cookie is None
    assert answer.ops.count("load") == (2 if bad == sign("dead", world.profile) and not first else 1)


# contract 36
def test_of_two_live_sessions_the_first_counts(make: Make) -> None:
    world = make()
    world.plant({"n": 1})
    world.plant({"n": 2}, session_id="second")
    values = [sign(session_id, world.profile) for session_id in ("planted", "second")]
    answer = world.get(read, cookies="; ".join(f"{world.name}={value}" for value in values))
    assert answer.seen == {"n": 1}


# contract 36
def test_many_cookies_cost_a_bounded_number_of_loads(make: Make) -> None:
    world = make()
    values = [sign(f"dead-{index}", world.profile) for index in range(100)]
    answer = world.get(read, cookies="; ".join(f"{world.name}={value}" for value in values + values))
    assert answer.seen == {} and 1 <= len(answer.ops) <= 10


# contract 36
def test_the_same_cookie_twice_is_loaded_once(make: Make) -> None:
    world = make()
    value = sign("dead", world.profile)
    assert world.get(read, cookies=f"{world.name}={value}; {world.name}={value}").ops == ["load"]


# contract 29
def test_cookie_headers_on_several_lines_are_all_read(make: Make) -> None:
    world = make()
    world.plant({"n": 1})
    headers = [("Cookie", "a=b"), ("Cookie", f"{world.name}={sign('planted', world.profile)}"), ("Cookie", "c=d")]
    assert world.get(read, headers=headers).seen == {"n": 1}


# contract 29, 32
@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("{cookie}", True),
        ("a=b; {cookie}; c=d", True),
        ("a=b;{cookie};c=d", True),
        ("  {cookie}  ", True),
        (";;;{cookie};;", True),
        ("a; {cookie}", True),
        ("={cookie}; {cookie}", True),
        ('a="x; {cookie}', True),
        ("{name}={quoted}", True),
        ("{name} = {value}", True),
        ("x{cookie}", False),
        ("a={cookie}", False),
        ("{cookie}x", False),
        ("{cookie},a=b", True),
        ("{upper}={value}", False),
        ("__Host-{cookie}", False),
        ("__Secure-{cookie}", False),
        ("%73id={value}", False),
    ],
)
def test_a_cookie_is_found_by_its_exact_name_alone(make: Make, header: str, *, found: bool) -> None:
    world = make()
    world.plant({"n": 1})
    value = sign("planted", world.profile)
    text = header.format(
        cookie=f"{world.name}={value}", name=world.name, value=value, quoted=f'"{value}"', upper=world.name.upper()
    )
    assert world.get(read, cookies=text).seen == ({"n": 1} if found else {})


def test_over_https_only_the_host_prefixed_name_is_read(native: Make) -> None:
    world = native()
    world.plant({"n": 1})
    value = sign("planted", "native")
    assert world.get(read, scheme="https", cookies=f"sid={value}").seen == {}, "a subdomain may have set that one"
    assert world.get(read, scheme="https", cookies=f"__Host-sid={value}").seen == {"n": 1}
    assert world.get(read, scheme="http", cookies=f"__Host-sid={value}").seen == {}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=200))
def test_no_cookie_header_is_an_error_or_a_session(make: Make, junk: str) -> None:
    world = make()
    world.plant({"n": 1})
    for header in (junk, f"{world.name}={junk}", f"{junk}; {world.name}=s:{junk}.{'A' * 43}"):
        answer = world.get(read, cookies=header)
        assert answer.status == 200 and answer.seen == {} and answer.ops == []
