"""docs/command-line.md has every command and option of the command line, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import click

from sojourn.cli.app import sojourn

PAGE = (Path(__file__).parent.parent / "docs" / "command-line.md").read_text()
SHARED = PAGE.partition("## Which store")[2].partition("\n## ")[0]
SECTIONS = {
    name: text.partition("\n## ")[0]
    for name, text in re.findall(r"### `sojourn ([\w-]+)`\n(.*?)(?=\n### |\Z)", PAGE, re.DOTALL)
}


def described(text: str) -> set[str]:
    """The options that a table has rows for."""
    rows = re.findall(r"^\| (`--.*?) \|", text, re.MULTILINE)
    return {option for row in rows for option in re.findall(r"`(--[\w-]+)", row)}


def options_of(command: click.Command) -> set[str]:
    return {
        option
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }


def test_every_command_has_its_section_and_no_other_has() -> None:
    assert set(SECTIONS) == set(sojourn.commands)


def test_every_option_has_its_row_and_no_other_has() -> None:
    shared = described(SHARED)
    for name, command in sojourn.commands.items():
        options = options_of(command)
        of_store = shared if "--store" in options else set()
        if "--json" not in options:
            of_store = of_store - {"--json"}
        own = described(SECTIONS[name])
        assert own | of_store == options, name


def test_every_command_and_option_says_what_it_is_for() -> None:
    for name, command in sojourn.commands.items():
        assert command.help, name
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, (name, parameter.name)
