"""The recipes for uvicorn and gunicorn run as their first lines say: probes, visits, and an end on SIGTERM."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.processes import serving
from tests.servers import free_port

EXAMPLES = Path(__file__).parent.parent / "examples"
RECIPES = {
    "uvicorn": "uvicorn health_asgi:app --workers 2 --port {port}",
    "gunicorn": "gunicorn health_wsgi:app --workers 2 --threads 4 --bind 127.0.0.1:{port}",
    "gunicorn, preloaded": "gunicorn health_wsgi:app --workers 2 --threads 4 --preload --bind 127.0.0.1:{port}",
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_is_probed_visited_and_ended(recipe: str, tmp_path: Path) -> None:
    env = {
        "SESSION_STORE": f"sqlite:///{tmp_path}/sessions.db",
        "SESSION_SECRET": "a secret for tests of more than 32 bytes",
    }
    command = recipe.format(port=free_port()).split()
    transport = httpx.HTTPTransport(retries=8)  # the address is printed before the workers listen
    with (
        serving("-m", *command, cwd=EXAMPLES, env=env) as running,
        httpx.Client(base_url=running.address, transport=transport, timeout=30) as prober,
    ):
        for _ in range(4):  # of either worker
            ready = prober.get("/health/ready", headers={"Connection": "close"})
            assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert prober.get("/health/live").json() == {"status": "live"}
        assert [prober.get("/counter").json()["visits"] for _ in range(3)] == [1, 2, 3]
        assert running.stop() == 0
