"""Holds the reference model to sentences of the specification, each in one row, and walks it for what must never be.

"(choice 3)": the model's own reading, see its docstring.

A row: what was found, how many ids were brought | the operations, the headers (`;`) and those after them, or `raise` |
options | all that is to be seen | the sentence. `first=n@ann~60`: live, with the key n, ann's, with a max_age of its own.
"""

from itertools import product

import pytest

from tests.core.reference import OPS, SUCCESSOR, Expected, Fate, Live, Options, expected

# fmt: off
ROWS = [line for line in """
NOTHING 0     | put                     |                    | new=m send                                       | a plain put on NOTHING creates a record under a new id and sends the cookie
NOTHING 1     | read                    | rolling            | first=gone                                       | rolling with saveUninitialized false, untouched new: no cookie, no save (contract 93)
NOTHING 0     | read                    | save_uninitialized | new=- send                                       | store and send also new sessions that nothing was put into
NOTHING 0     | ; put                   |                    | end!refused                                      | late: a new session is refused with an error in the log, nothing is stored
NOTHING 0     | ; put save              |                    | save!HeadersAlreadySent end!refused              | a late save() that would need a cookie raises HeadersAlreadySent
NOTHING 0     | none                    |                    | nothing                                          | destroy and null on a brand-new session: no cookie, nothing stored (contract 163)
NOTHING 0     | put save                |                    | new=m send                                       | save() in the middle commits what is there; what it owes leaves with the headers
NOTHING 0     | put raise               |                    | nothing                                          | when the handler raises, nothing is saved
NOTHING 0     | put save regenerate     |                    | nothing                                          | regenerate() with nothing worth storing sends no cookie (choice 18: not even one that was owed)
RECORD 2      | read                    |                    | first=n second=n                                 | a session that is only read is not written; touch is not due
RECORD 1      | read                    | rolling            | first=n send                                     | known id, rolling: cookie even if unmodified (contract 90)
RECORD 1      | read                    | resave             | first=n renewed                                  | loaded, unmodified, resave: written, and the expiry moves (contract 79)
RECORD 1      | ; touch                 | resave             | first=n renewed                                  | with resave it is written when the headers leave, changed or not
RECORD 1      | touch                   |                    | first=n renewed                                  | touch() moves the expiry with this response in any case
RECORD 1      | put                     |                    | first=n,m renewed                                | the browser-session cookie is not sent again when modified (contract 92)
RECORD 1      | cookie                  |                    | first=n~60 send renewed                          | a cookie-only change is a change, and is sent
RECORD 1      | pop                     |                    | first=- renewed                                  | deleting the last key by other means: the record stays
RECORD 1      | put raise               |                    | first=n                                          | when the handler raises, half of a change is no change
RECORD 1      | ; put                   |                    | first=n,m renewed                                | an existing session's late change is saved when the application returns
RECORD 1      | ; touch                 |                    | first=n renewed                                  | a late touch is carried out at the end (choice 9)
RECORD 2      | logout                  |                    | first=gone second=gone expire                    | every rightly signed id that the request brought is ended, loaded or not; the cookie is expired
RECORD 2      | ; logout                |                    | first=gone second=gone                           | a late destroy() is carried out; the browser's cookie stays
RECORD 2      | put logout raise        |                    | first=gone second=gone                           | when the handler raises a destroy() is carried out
RECORD 1      | logout read logout save |                    | first=gone expire read!SessionDestroyed          | save() after destroy() carries it out; any other use raises SessionDestroyed
RECORD 2      | clear                   |                    | first=gone second=gone expire                    | invalidate(), left empty: as a delete with the cookie expired
RECORD 2      | clear put               |                    | first=tombstone second=gone new=m send           | written to: one regenerate without data, and the keys that end with it
RECORD 2      | clear put raise         |                    | first=gone second=gone                           | if the handler raises, the endings are carried out and nothing is stored
RECORD 1      | ; clear put             |                    | first=gone put!HeadersAlreadySent                | late it deletes, and the first write afterwards raises HeadersAlreadySent
RECORD 1      | clear                   | clear_keeps        | first=- renewed                                  | Django's face and the Express profile keep id and record at clear()
RECORD 2      | invalidate unstorable   |                    | first=gone second=gone commit!SessionEncodeError | if the session was invalidated, the endings are carried out still
RECORD 1      | put unstorable          |                    | first=n commit!SessionEncodeError                | SessionEncodeError when the response starts, and nothing is saved
RECORD 1      | put regenerate          |                    | first=gone                                       | regenerate() with nothing worth storing deletes the old record, creates none, sends no cookie
RECORD 1      | cookie regenerate_keep  |                    | first=tombstone new=n~60 send                    | with keep_data=True the data and the session's own lifetime move along
RECORD 2      | cookie login            |                    | first=tombstone second=n new=-@ann send          | without it all start anew; login() notes the owner; only the loaded id is replaced
RECORD 1      | login raise             |                    | first=n                                          | when the handler raises, a regenerate is not carried out
RECORD 1      | ; put login             |                    | first=n end!refused                              | a late login() leaves the old record as it was, with an error in the log
RECORD 1      | login ; put             |                    | first=tombstone new=m@ann send                   | what login() began is an existing session for the late change
RECORD 1      | login save logout       |                    | first=gone expire                                | where one is a tombstone, its successor too
RECORD 2      | none put                |                    | first=gone second=gone expire                    | None in the slot does what unset says: destroy ends the session
RECORD 1      | put none                | keep rolling       | first=n                                          | keep: the record is left, this request's changes dropped, no set and no touch (contract 161)
RECORD 1      | put none save           | keep               | first=n                                          | a save() of a session that is unset is silent
RECORD 2      | enum                    | keep               | first=gone second=gone expire                    | the enum member ends the session whatever unset says
RECORD 2      | regenerate_keep none    | keep               | first=gone second=gone expire                    | regenerate() then None under keep ends all brought ids
RECORD 2      | clear none              | keep               | first=gone second=gone expire                    | invalidate() then None under keep likewise
RECORD 1      | pop regenerate_keep     |                    | first=tombstone new=- send                       | nothing worth storing: no data, no owner, nothing kept; here a record was kept (choice 3)
RECORD 1      | ; regenerate            |                    | first=n end!refused                              | a late regenerate() is refused with an error in the log
RECORD 1      | ; clear touch           |                    | first=gone                                       | only a write raises after a late invalidate() (choice 10)
RECORD 1      | cookie ; unstorable     |                    | first=n~60 send renewed end!SessionEncodeError   | a SessionEncodeError at the end undoes nothing of the first commit (choice 15)
RECORD 1      | none raise              |                    | first=gone                                       | the endings are carried out when the handler raises; None is one (choice 17)
TOMBSTONE 1   | put save                | rolling            | first=tombstone successor=n                      | a request with the old id gets a session that is not persisted and sets no cookie
TOMBSTONE 1   | login                   |                    | first=tombstone successor=n new=-@ann send       | unless it itself logs in: a double-clicked login works
TOMBSTONE 1   | clear put               |                    | first=gone successor=gone new=m send             | with clear() and a write the later commit ends the earlier session
TOMBSTONE 1   | logout                  |                    | first=gone successor=gone expire                 | whoever holds the old id can end the new session
TOMBSTONE 1   | regenerate save put     |                    | first=tombstone successor=n new=m send           | unless it itself regenerates explicitly (choice 6: for the rest of the request)
TOMBSTONE 1   | ; regenerate            | save_uninitialized | first=tombstone successor=n                      | save_uninitialized stores an empty new one, not late
PENDING 1     | touch raise             |                    | first=n                                          | a touch that the handler's exception overtakes is not done
PENDING 2     | clear put               |                    | first=gone second=gone new=m send                | where nothing was loaded invalidate() deletes all brought ids, then creates
PENDING 2     | read clear put          |                    | first=tombstone second=gone new=m send           | the first data access loads it
PENDING 1     |                         | save_uninitialized | first=n                                          | a request that does not use its session costs no read
PENDING 1     | ; read                  | resave             | first=n                                          | resave writes an unchanged loaded session, not late
UNAVAILABLE 1 | put save                | rolling            | first=n                                          | anonymous: the request goes on with an unsaved session
UNAVAILABLE 2 | logout                  |                    | first=gone second=gone expire                    | ended, loaded or not
UNAVAILABLE 1 | login                   |                    | first=n commit!StoreUnavailable                  | a failed regenerate is always a 503
UNAVAILABLE 2 | clear login             |                    | first=gone second=gone new=-@ann send            | where nothing was loaded invalidate() deletes all brought ids, then creates
UNAVAILABLE 1 | ; regenerate            |                    | first=n end!refused                              | late, a regenerate() is refused before it is a 503 (choice 11)
""".splitlines() if line]
# fmt: on


def options_of(text: str) -> Options:
    unset = "keep" if "keep" in text.split() else "destroy"
    return Options(unset, **{word: True for word in text.split() if word != "keep"})  # type: ignore[arg-type]


def shown(fate: Fate) -> str:
    if not isinstance(fate, Live):
        return fate
    owner, age = f"@{fate.owner}" if fate.owner else "", f"~{fate.max_age}" if fate.max_age else ""
    return f"{','.join(fate.data) or '-'}{owner}{age}"


def seen(one: Expected, ops: list[str]) -> str:
    parts = [f"{key}={shown(fate)}" for key, fate in one.fates.items()]
    parts += [f"new={shown(one.new)}"] if one.new else []
    parts += [one.cookie] if one.cookie else []
    parts += ["renewed"] if one.renewed else []
    parts += [f"{op}!{error}" for op, error in zip(ops, one.errors, strict=True) if error]
    parts += [f"commit!{one.commit}"] if one.commit else []
    parts += [f"end!{one.end}"] if one.end else []
    return " ".join(parts) or "nothing"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join("|".join(row.split("|")[:3]).split()))
def test_the_model_says_what_the_specification_says(row):
    world, ops, options, outcome, _sentence = (cell.strip() for cell in row.split("|"))
    found, brought = world.split()
    before, _, after = ops.partition(";")
    failed = before.endswith("raise")
    first, second = before.removesuffix("raise").split(), after.split()
    one = expected(found, int(brought), first, second, failed=failed, options=options_of(options))
    assert seen(one, first + second) == outcome


WORLDS = [("NOTHING", 0), *product(("NOTHING", "RECORD", "TOMBSTONE", "PENDING", "UNAVAILABLE"), (1, 2))]


@pytest.mark.parametrize(("found", "brought"), WORLDS)
@pytest.mark.parametrize("options", ["", "keep rolling resave save_uninitialized clear_keeps"])
def test_in_all_short_requests_nothing_happens_that_must_never_happen(found, brought, options):
    chosen = options_of(options)
    for ops in (ops for length in range(4) for ops in product(OPS, repeat=length)):
        for cut in range(len(ops) + 1):
            one = expected(found, brought, ops[:cut], ops[cut:], options=chosen)
            if cut == len(ops) and one.cookie == "send":
                assert one.new or isinstance(one.fates["first"], Live), "the cookie of a dead id"
            if one.cookie == "expire" and brought:
                assert one.fates["first"] == "gone", "the cookie of a live id"
            assert one.commit is None or one.cookie is None
            if found == "TOMBSTONE":
                assert (one.fates["first"], one.fates["successor"]) in (("tombstone", SUCCESSOR), ("gone", "gone"))
            if "logout" in ops and one.commit is None:
                assert set(one.fates.values()) <= {"gone"} and one.new is None
            if one.end == "refused" and "save" not in ops[cut:]:
                now = expected(found, brought, ops[:cut], options=chosen)
                assert (one.fates, one.new, one.cookie) == (now.fates, now.new, now.cookie)
        failed = expected(found, brought, ops, failed=True, options=chosen)
        assert failed.cookie is None
        if "save" not in ops:
            assert failed.new is None
