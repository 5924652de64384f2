"""What `scripts.public_types` makes of pyright's report."""

from __future__ import annotations

from typing import Any

import pytest

from scripts import public_types


def symbol(name: str, *messages: str, known: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "isTypeKnown": known,
        "isTypeAmbiguous": known and bool(messages),
        "diagnostics": [{"severity": "error", "message": message} for message in messages],
    }


def report(*symbols: dict[str, Any], known: int, missing: int, general: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "generalDiagnostics": [{"message": message} for message in general],
        "typeCompleteness": {
            "symbols": list(symbols),
            "completenessScore": known / ((known + missing) or 1),
            "exportedSymbolCounts": {"withKnownType": known, "withAmbiguousType": missing, "withUnknownType": 0},
        },
    }


def test_a_name_is_told_with_its_cause_and_what_only_mentions_it_is_not() -> None:
    found = report(
        symbol("a.known"),
        symbol("a.log", "Type is missing\n  type annotation"),
        symbol("a.f", 'Type of parameter "x" is partially unknown', known=False),
        known=1,
        missing=2,
    )
    assert list(public_types.check(found)) == ["a.log: Type is missing type annotation"]


@pytest.mark.parametrize(("known", "status"), [(1000, 0), (0, 1), (500, 1)])
def test_too_few_names_with_types_or_none_at_all_are_refused(
    known: int, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    general = () if known else ("No py.typed file found",)
    missing = (1000 - known) if known else 0
    monkeypatch.setattr(public_types, "_report", lambda: report(known=known, missing=missing, general=general))
    assert public_types.main() == status
    told = capsys.readouterr().out
    assert f"{known} of {known + missing} public names" in told
    assert not general or general[0] in told
