from __future__ import annotations

import random
import subprocess
import sys

import pytest

from sojourn.chance import chance


def test_an_application_that_seeds_random_gets_neither_our_numbers_nor_the_same_ones_twice():
    random.seed(7)
    ours = chance.getrandbits(48)
    theirs = random.getrandbits(48)
    random.seed(7)
    assert chance.getrandbits(48) != ours
    assert random.getrandbits(48) == theirs


_FORKING = """
import os
from sojourn.chance import chance
def draw():
    os.write(1, b"%f " % chance.random())  # in one go, whatever the others write
    return os._exit(0)
children = [os.fork() or draw() for _ in range(2)]
for child in children:
    os.waitpid(child, 0)
draw()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing forks on Windows")
def test_forked_workers_draw_numbers_of_their_own():
    printed = subprocess.run(
        [sys.executable, "-c", _FORKING], check=True, capture_output=True, text=True
    ).stdout.split()
    assert len(printed) == len(set(printed)) == 3
