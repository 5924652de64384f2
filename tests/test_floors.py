"""The package keeps to its floors (see `scripts.floors`): no module imports upwards, and no two import each other."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from scripts.floors import FLOORS, PACKAGE, floor_of, sources

MODULES = sources()


def imports(module: str, source: str, *, is_package: bool, known: frozenset[str]) -> Iterator[tuple[str, int]]:
    """The package's own modules that a module imports, anywhere in it, with the line."""
    package = ["sojourn", *(part for part in module.split(".") if part)]
    if not is_package:
        package.pop()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*start, *([node.module] if node.module else [])])
            targets = [(origin, alias.name) for alias in node.names]
        else:
            continue
        for origin, name in targets:
            root, _, inside = origin.partition(".")
            if root == "sojourn":
                submodule = f"{inside}.{name}".lstrip(".")
                yield submodule if name and submodule in known else inside, node.lineno


def upward(modules: Mapping[str, Path]) -> Iterator[str]:
    for module, path in modules.items():
        floor = floor_of(module)
        for imported, line in edges(module, path, modules):
            other = floor_of(imported)
            if floor is None or other is None or other > floor:
                yield f"{path.name}:{line}: {module or 'sojourn'} (floor {floor}) imports {imported} (floor {other})"


def edges(module: str, path: Path, modules: Mapping[str, Path]) -> list[tuple[str, int]]:
    source = path.read_text(encoding="utf-8")
    return list(imports(module, source, is_package=path.name == "__init__.py", known=frozenset(modules)))


def cycle(graph: Mapping[str, set[str]]) -> list[str] | None:
    """Some cycle of a graph, its first node repeated at the end, or None."""
    done: set[str] = set()

    def visit(node: str, trail: list[str]) -> list[str] | None:
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in done:
            return None
        found = next((found for after in sorted(graph.get(node, ())) if (found := visit(after, [*trail, node]))), None)
        done.add(node)
        return found

    return next((found for node in sorted(graph) if (found := visit(node, []))), None)


def test_every_module_stands_on_a_floor() -> None:
    assert [module for module in MODULES if floor_of(module) is None] == []


def test_no_module_imports_upwards() -> None:
    assert list(upward(MODULES)) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: {imported for imported, _ in edges(module, path, MODULES)} for module, path in MODULES.items()}
    assert cycle(graph) is None


def test_importing_the_package_loads_no_driver_no_framework_and_no_asyncio() -> None:
    # -S: a .pth file of the environment may load anything before us; the path is handed over instead.
    probe = (
        f"import sys; sys.path[:] = {[str(PACKAGE.parent), *sys.path]!r}; before = set(sys.modules); import sojourn;"
        "import json; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    command = [sys.executable, "-I", "-S", "-W", "error", "-c", probe]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded: list[str] = json.loads(done.stdout)
    assert "sojourn" in loaded
    assert "asyncio" not in loaded
    roots = {name.partition(".")[0] for name in loaded}
    allowed = {"sojourn", "msgspec", "typing_extensions"}  # msgspec takes the last one where it finds it
    assert roots - sys.stdlib_module_names - allowed == set()
    assert [
        name for name in loaded if (floor_of(name.partition(".")[2]) or 0) > 1 and name.startswith("sojourn.")
    ] == []


@pytest.mark.parametrize(
    ("module", "is_package", "source", "expected"),
    [
        ("session", False, "from .errors import SojournError", ["errors"]),
        ("session", False, "from . import errors, policy", ["errors", "policy"]),
        ("session", False, "from . import Cookie", [""]),
        ("session", False, "import sojourn.policy", ["policy"]),
        ("session", False, "from sojourn.stores import base", ["stores.base"]),
        ("session", False, "from sojourn import stores", ["stores"]),
        ("session", False, "import json, sojournal", []),
        ("session", False, "def late():\n    from .policy import close", ["policy"]),
        ("session", False, "if TYPE_CHECKING:\n    from .stores.base import Store", ["stores.base"]),
        ("stores", True, "from .base import Store", ["stores.base"]),
        ("stores", True, "from ..errors import StoreError", ["errors"]),
        ("stores.base", False, "from . import memory", ["stores"]),
        ("stores.base", False, "from .. import errors", ["errors"]),
        ("", True, "from .session import Session", ["session"]),
    ],
)
def test_an_import_is_read_in_every_form(module: str, is_package: bool, source: str, expected: list[str]) -> None:
    known = frozenset({"", "errors", "policy", "session", "stores", "stores.base"})
    assert [found for found, _ in imports(module, source, is_package=is_package, known=known)] == expected


def test_an_import_from_a_higher_floor_is_found(tmp_path: Path) -> None:
    modules = {name: tmp_path / f"{name}.py" for name in ("cookie", "ids", "core")}
    for path in modules.values():
        path.touch()
    modules["cookie"].write_text("from .core import close\nfrom .ids import new_id\n")
    found = list(upward(modules))
    assert found == ["cookie.py:1: cookie (floor 0) imports core (floor 1)"]


def test_a_module_without_a_floor_is_unknown_and_a_module_of_a_package_has_its_floor() -> None:
    assert floor_of("nowhere") is None
    assert floor_of("stores.redis._sync.store") == FLOORS["stores"]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        ({}, None),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, None),
        ({"a": {"a"}}, ["a", "a"]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, ["b", "c", "b"]),
    ],
)
def test_a_circle_is_found(graph: dict[str, set[str]], expected: list[str] | None) -> None:
    assert cycle(graph) == expected
