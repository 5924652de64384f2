"""Where our Express profile is to differ from express-session, and nowhere else: one entry for each line group of the contract.

The model (`model.py`) follows Express; where an exemption applies it asks `Model.differs`, and takes our way or Express's. The
condition around that call is the exemption's matcher, the branch is our behaviour. So the model without any exemption has to
agree with Express, and the model with all of them with us. An entry without ``modelled`` is about something that no generated
scenario contains: the scenarios written by hand that name it say what is expected of either side.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["BY_CONSTRUCTION", "EXEMPTIONS", "OURS", "SAME", "UNLISTED", "Exemption"]


class Exemption(NamedTuple):
    """One difference."""

    lines: str
    """The contract's lines, as "Where we differ" groups them."""
    when: str
    """When it applies."""
    ours: str
    """What we do then."""
    modelled: bool = True


OURS: Final = (
    "6, 7, 38-41", "9, 12, 13", "15", "17", "24", "35", "36", "43, 48", "50, 53", "58", "63", "70", "71, 72", "84, 85, 193",
    "98", "101", "104", "116", "118, 139", "141", "142, 166", "143-147, 160", "152", "155, 148", "159", "167-170",
    "175, 176", "179", "186", "189, 191", "197, 199",
)  # fmt: skip
"""The line groups of the contract's "Where we differ" whose last column says that the Express profile has our behaviour."""

SAME: Final = ("11", "14", "28", "68", "80, 81", "102", "146")
"""Those where our own defaults differ and the Express profile does not. 14 differs in version 2 alone."""

EXEMPTIONS: Final = (
    Exemption("6, 7, 38-41", "no secret is configured", "it is refused at construction; the request brings none", modelled=False),
    Exemption("9, 12, 13", "resave or saveUninitialized is not given", "they are off"),
    Exemption("15", "two middlewares share a store, and the first begins a session", "each keeps its own cookie options"),
    Exemption("17", "the store is down", "a 503 where there is something to load or save, not silently no session", modelled=False),
    Exemption("24", "the path begins like the cookie's, but in the midst of a segment", "there is no session"),
    Exemption("35", "a loaded session's cookie is signed by an older secret", "it is sent anew, signed by the first"),
    Exemption("36", "several cookies have the name, and the first does not bring a live session", "the others are tried, in order"),
    Exemption("43, 48", "a new session that nothing was put into is saved, or is what a regenerate left", "nothing is stored or sent"),
    Exemption("50, 53", "the stored record cannot be read", "a fresh session with another id"),
    Exemption("58", "the request's session is replaced by a plain mapping", "it is another layer's: ours stays as it was, and is committed"),
    Exemption("63", "the id that was drawn is taken", "another is drawn, and nobody's record overwritten", modelled=False),
    Exemption("70", "only the session's cookie was changed", "that is a change: saved, and the cookie sent"),
    Exemption("71, 72", "a value has no form in JSON", "the commit is refused before anything leaves", modelled=False),
    Exemption("84, 85, 193", "time passes between a request's touches, its save and its end", "each write counts from when it is made; a touch moves the store's expiry alone"),
    Exemption("98", "a session is first changed, or regenerated, after the headers have left", "a new one is not stored; a regenerate is refused"),
    Exemption("101", "the session was looked at; its cookie is sent", "Vary: Cookie; Cache-Control: no-store"),
    Exemption("104", "a new session's cookie is Secure, and the connection is not", "nothing is stored"),
    Exemption("116", "SameSite=None without Secure", "refused, when configured and when assigned"),
    Exemption("118, 139", "a record's cookie differs from the configuration, but for what the session itself changed", "the configuration holds"),
    Exemption("141", "a function answers 'auto'", "it is resolved"),
    Exemption("142, 166", "a session is destroyed, or unset with unset='destroy', before the headers leave, and it is stored or the request brought an id", "every id that the request brought is ended, and the cookie expired on the client"),
    Exemption("143-147, 160", "a session was destroyed or regenerated: in this request, or by another while this one ran", "it is done when this request commits, once; nothing brings the old one back"),
    Exemption("152", "another's write is brought in by reload", "it is the base that later changes are told by"),
    Exemption("155, 148", "save() is called", "it is a whole commit: what it decided is not decided again"),
    Exemption("159", "another request has written the record meanwhile", "what each changed is merged"),
    Exemption("167-170", "the handler goes on after the headers", "the save has landed before they leave"),
    Exemption("175, 176", "the store fails to write", "a 503 and nothing else", modelled=False),
    Exemption("179", "a record that is gone is written", "nothing is inserted: see 160", modelled=False),
    Exemption("186", "-", "the store's own interface, which no request shows", modelled=False),
    Exemption("189, 191", "a session without a lifetime of its own is idle for a day", "it has expired"),
    Exemption("197, 199", "-", "connect-mongo and connect-mongodb-session: see tests/interop and tests/stores", modelled=False),
)  # fmt: skip

UNLISTED: Final = (
    Exemption("16", "another layer's session is on the request", "it stays there; ours goes into a copied request, and is committed"),
    Exemption("51", "a loaded record has names that sessions do not take", "that alone is no change"),
    Exemption("87", "save() stored what was then taken back or unset", "the browser learns of it: the cookie that the save decided on is sent"),
    Exemption("165", "the store fails to delete what is unset", "a 503, as of every write that fails", modelled=False),
    Exemption("156", "a save() failed, and the handler went on", "the end tries again", modelled=False),
)  # fmt: skip
"""Differences that the contract's table does not have."""

BY_CONSTRUCTION: Final = {
    10: "key is no option here: refused at construction",
    54: "the session's cookie is an attribute, and not among its keys",
    55: "assigning id is an AttributeError; there it is ignored",
    57: "methods return nothing; there some return the session",
    69: "Python has no undefined; a function is a value that cannot be stored (71)",
    80: "every store has a touch here",
    100: "an invalid date is refused when assigned, an invalid name at construction; there the cookie is left out of a normal 200",
    121: "a cookie is made of keywords",
    122: "an option called data is an unknown keyword; there it is ignored",
    125: "maxAge as a date is refused at construction; there it is deprecated",
    126: "maxAge of another type is refused at construction; there when a session begins",
    134: "expires = False is refused when assigned, and read as null; there its cookie goes out again with every change",
    138: "both maxAge and expires are refused at construction; there the last one wins",
}
"""What the language, a refusal or the store's interface settles otherwise here, and the contract's table does not list as ours."""
