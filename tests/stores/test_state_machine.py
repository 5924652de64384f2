"""Stores against a dictionary, in whatever order Hypothesis thinks of."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from sojourn.stores.memory.store import AsyncMemoryStore, MemoryStore
from sojourn.testing import store_state_machine
from tests.stores import broken_stores

TestMemoryStore = store_state_machine(lambda clock: MemoryStore(clock=clock)).TestCase
TestMemoryStore.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)

TestAsyncMemoryStore = store_state_machine(lambda clock: AsyncMemoryStore(clock=clock)).TestCase
TestAsyncMemoryStore.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)

TestAsyncMemoryStoreOnTrio = store_state_machine(lambda clock: AsyncMemoryStore(clock=clock), backend="trio").TestCase
TestAsyncMemoryStoreOnTrio.settings = settings(max_examples=10, stateful_step_count=20, deadline=None)

SEARCH = settings(
    max_examples=1000,
    stateful_step_count=50,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize(
    "broken",
    [
        broken_stores.ReplaceInserts,
        broken_stores.ReplaceIgnoresTheVersion,
        broken_stores.CreateTakesTombstones,
        broken_stores.TouchRevives,
        broken_stores.TouchChangesTheVersion,
        broken_stores.LoadForgetsSuccessors,
        broken_stores.DeleteForgetsSuccessors,
        broken_stores.DeleteTakesTheFirstKey,
        broken_stores.DeleteCountsKeys,
        broken_stores.TombstonesKeepTheFirstSuccessor,
        broken_stores.RegenerateCopies,
        broken_stores.RegenerateLooksAtTheNewKeyFirst,
        broken_stores.RegenerateKeepsTheOwner,
        broken_stores.TombstonesLastAsLongAsTheSession,
        broken_stores.VersionsStartAnew,
        broken_stores.TtlFitsIn32Bits,
        broken_stores.ClearRemovesTombstones,
        broken_stores.CountSeesTombstones,
        broken_stores.ScanSeesTheExpired,
        broken_stores.LocksAreProlongedByTrying,
        broken_stores.LocksAreReleasedByAnyToken,
    ],
    ids=lambda broken: broken.__name__,
)
def test_a_broken_store_is_told_from_a_dictionary(broken: type[MemoryStore]) -> None:
    with pytest.raises(AssertionError):
        run_state_machine_as_test(store_state_machine(lambda clock: broken(clock=clock)), settings=SEARCH)
