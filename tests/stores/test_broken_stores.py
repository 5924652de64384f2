"""The contract suite can fail: each of its cases is failed by some store that is broken in one way."""

from __future__ import annotations

import copy
from typing import Any

import anyio.lowlevel
import pytest

from sojourn.core.store import CONFLICT, MISSING, Stored
from sojourn.stores.memory.store import AsyncMemoryStore, MemoryStore
from sojourn.testing import AsyncStoreContract, ManualClock, StoreContract
from tests.stores import broken_stores

CAUGHT_BY: dict[type[MemoryStore], tuple[str, ...]] = {
    broken_stores.ReplaceInserts: (
        "a_key_never_created_is_missing_to_every_operation",
        "replace_inserts_nothing_however_the_key_came_to_be_missing",
    ),
    broken_stores.ReplaceIgnoresTheVersion: ("no_update_is_lost_among_many_that_retry_on_conflict",),
    broken_stores.ReplaceIsNotAtomic: (
        "no_update_is_lost_among_many_that_retry_on_conflict",
        "a_session_replaced_and_regenerated_at_once_takes_one_of_the_two_ways",
        "of_many_that_replace_the_same_version_one_succeeds",
    ),
    broken_stores.ReplaceTouchesOnConflict: (
        "replace_with_a_former_version_is_a_conflict_and_changes_nothing",
        "neither_loading_nor_a_refused_write_prolongs_a_life",
    ),
    broken_stores.ReplaceKeepsTheExpiry: (
        "every_write_can_prolong_a_life",
        "replace_overwrites_data_and_expiry",
    ),
    broken_stores.ReplaceKeepsTheOwner: ("replace_sets_the_owner",),
    broken_stores.ReplaceRefusesEqualData: (
        "replace_sets_the_owner",
        "writing_equal_data_succeeds_and_sets_the_expiry",
    ),
    broken_stores.CreateOverwrites: (
        "of_many_that_create_one_key_one_succeeds",
        "another_store_over_the_same_data_sees_what_was_written",
    ),
    broken_stores.CreateTouchesWhatExists: ("create_refuses_a_live_key_and_changes_nothing",),
    broken_stores.CreateIsNotAtomic: ("of_many_that_create_one_key_one_succeeds",),
    broken_stores.CreateSucceedsOnceForEachKey: ("a_key_once_deleted_can_be_the_new_one",),
    broken_stores.CreateTakesTombstones: ("a_tombstone_is_no_place_for_a_new_record",),
    broken_stores.TouchRevives: (
        "touch_revives_nothing_however_the_key_came_to_be_missing",
        "an_expired_record_is_missing_to_every_write_at_once",
        "of_two_callers_who_read_the_same_the_second_to_write_is_told",
        "of_two_stores_over_the_same_data_the_second_to_write_is_told",
    ),
    broken_stores.TouchAlwaysSucceeds: ("a_deleted_record_stays_deleted_while_others_write",),
    broken_stores.TouchChangesTheVersion: (
        "a_touch_changes_neither_data_nor_version",
        "touches_among_writes_cause_no_conflict",
    ),
    broken_stores.TouchForgetsTheOwner: ("neither_a_touch_nor_a_refused_write_changes_the_owner",),
    broken_stores.TouchOnlyProlongs: (
        "a_ttl_may_be_a_single_millisecond",
        "a_touch_sets_the_expiry_later_or_earlier",
    ),
    broken_stores.TouchAdds: ("a_ttl_may_be_a_single_millisecond",),
    broken_stores.TouchProlongsTombstones: ("no_write_to_a_tombstone_prolongs_it",),
    broken_stores.LoadProlongs: ("a_created_record_is_loaded_with_its_data_and_expiry",),
    broken_stores.LoadSeesTheExpired: (
        "a_tombstone_may_outlive_the_session",
        "a_record_is_live_until_its_time_is_up_and_missing_from_then_on",
    ),
    broken_stores.LoadTellsSeconds: (
        "a_created_record_is_loaded_with_its_data_and_expiry",
        "a_key_deleted_or_expired_can_be_created_anew",
    ),
    broken_stores.LoadChangesTheVersion: ("loading_changes_nothing",),
    broken_stores.LoadRemembers: ("the_longest_keys_differ_in_their_last_character",),
    broken_stores.WritesReturnTrue: (
        "a_touch_changes_neither_data_nor_version",
        "the_versions_that_load_and_a_write_return_serve_alike",
    ),
    broken_stores.LoadForgetsTombstones: (
        "a_session_may_move_again_and_again",
        "regenerate_may_keep_the_data",
    ),
    broken_stores.LoadForgetsSuccessors: (
        "any_key_can_be_a_successor",
        "a_key_that_is_used_again_has_nothing_of_its_former_successor",
        "regenerate_moves_a_session_to_a_new_key",
    ),
    broken_stores.DeleteRemovesTombstones: (
        "deleting_a_tombstone_returns_its_successor_each_time_and_changes_nothing",
        "delete_finds_nothing_however_the_key_came_to_be_missing",
    ),
    broken_stores.DeleteProlongsTombstones: ("no_write_to_a_tombstone_prolongs_it",),
    broken_stores.DeleteForgetsSuccessors: (
        "a_session_deleted_and_regenerated_at_once_is_live_under_no_key",
        "a_session_that_keeps_moving_is_ended_nevertheless",
        "a_session_that_moved_several_times_is_found_link_by_link",
        "a_successor_of_two_tombstones_is_returned_once",
    ),
    broken_stores.DeleteSortsSuccessors: ("any_key_can_be_a_successor",),
    broken_stores.DeleteRepeatsSuccessors: (
        "a_key_that_is_given_twice_counts_once",
        "a_successor_of_two_tombstones_is_returned_once",
    ),
    broken_stores.DeleteSeesExpiredTombstones: ("an_expired_tombstone_has_no_successor",),
    broken_stores.DeleteFollowsSuccessors: (
        "delete_tells_records_tombstones_and_missing_keys_apart",
        "deleting_a_tombstone_returns_its_successor_each_time_and_changes_nothing",
    ),
    broken_stores.DeleteInTwoStepsIsNotAtomic: ("a_session_deleted_and_regenerated_at_once_is_live_under_no_key",),
    broken_stores.DeleteTakesTheFirstKey: ("delete_removes_every_record_that_it_is_given_and_no_other",),
    broken_stores.DeleteNeedsAKey: ("delete_without_keys_does_nothing",),
    broken_stores.DeleteCountsKeys: ("a_key_that_is_given_twice_counts_once",),
    broken_stores.DeleteReturnsABoolean: ("delete_removes_a_live_record_once",),
    broken_stores.DeleteAlwaysSucceeds: ("delete_removes_a_live_record_once",),
    broken_stores.DeleteDoesNothing: ("a_key_once_deleted_can_be_the_new_one",),
    broken_stores.DeleteIsNotAtomic: ("of_many_that_delete_a_record_one_is_told_that_it_was_there",),
    broken_stores.DeleteReleasesTheLock: ("a_lock_and_a_record_under_one_key_know_nothing_of_each_other",),
    broken_stores.RegenerateCopies: ("a_session_may_move_again_and_again",),
    broken_stores.RegenerateLooksAtTheNewKeyFirst: ("the_outcome_of_the_old_key_comes_before_that_of_the_new_one",),
    broken_stores.RegenerateOverwrites: (
        "regenerate_refuses_a_live_new_key_and_changes_nothing",
        "regenerate_refuses_the_old_key_as_the_new_one",
    ),
    broken_stores.RegenerateTakesTombstones: ("a_tombstone_is_no_place_for_a_new_record",),
    broken_stores.RegenerateIgnoresTheVersion: ("regenerate_with_a_former_version_is_a_conflict_and_changes_nothing",),
    broken_stores.RegenerateInserts: (
        "a_key_never_created_is_missing_to_every_operation",
        "regenerate_creates_nothing_however_the_old_key_came_to_be_missing",
    ),
    broken_stores.RegenerateIsNotAtomic: (
        "of_many_that_regenerate_into_one_key_one_succeeds",
        "of_many_that_regenerate_one_session_one_succeeds",
    ),
    broken_stores.RegenerateKeepsTheOwner: (
        "regenerate_sets_the_owner_of_the_new_record",
        "by_owner_finds_exactly_the_live_records_of_an_owner",
    ),
    broken_stores.RegenerateKeepsTheExpiry: (
        "every_write_can_prolong_a_life",
        "every_write_sets_the_expiry_anew_rather_than_adding_to_it",
        "regenerate_moves_a_session_to_a_new_key",
    ),
    broken_stores.TombstonesKeepTheWrongKey: ("the_new_record_and_the_old_key_go_their_own_ways",),
    broken_stores.TombstonesKeepTheFirstSuccessor: ("a_key_that_is_used_again_has_nothing_of_its_former_successor",),
    broken_stores.TombstonesLastForEver: (
        "a_tombstone_ends_before_the_session_would_have",
        "a_tombstone_expires_by_itself_and_leaves_the_key_free",
        "delete_expired_removes_tombstones_without_counting_them",
    ),
    broken_stores.TombstonesLastAsLongAsTheSession: ("a_tombstone_ends_before_the_session_would_have",),
    broken_stores.TombstonesAreAlwaysLeft: ("a_tombstone_of_zero_leaves_none",),
    broken_stores.VersionsStartAnew: (
        "a_version_from_before_the_expiry_conflicts_with_the_record_created_after",
        "a_version_from_before_a_delete_conflicts_with_the_record_created_after",
    ),
    broken_stores.KeysIgnoreCase: ("every_key_is_a_key_of_its_own",),
    broken_stores.KeysAreStripped: ("scan_finds_every_odd_key_and_owner",),
    broken_stores.KeysAreNormalized: ("every_key_is_a_key_of_its_own",),
    broken_stores.KeysAreCutShort: ("the_longest_keys_differ_in_their_last_character",),
    broken_stores.KeysAreMadeSafe: ("scan_finds_every_odd_key_and_owner",),
    broken_stores.DataAreText: ("data_are_any_bytes",),
    broken_stores.DataEndAtNull: ("data_are_any_bytes",),
    broken_stores.DataAreCutShort: ("a_record_of_the_greatest_size_is_stored_and_one_byte_more_is_refused",),
    broken_stores.SizeIsNotLimited: ("a_record_of_the_greatest_size_is_stored_and_one_byte_more_is_refused",),
    broken_stores.SizeIsLimitedTooEarly: ("a_record_of_the_greatest_size_is_stored_and_one_byte_more_is_refused",),
    broken_stores.TtlFitsIn32Bits: ("a_ttl_may_be_a_month_or_more_than_a_year",),
    broken_stores.TtlIsWholeSeconds: ("records_expire_each_in_its_own_time_in_whatever_order_they_came",),
    broken_stores.TtlIsAMonthAtMost: ("a_ttl_may_be_a_month_or_more_than_a_year",),
    broken_stores.TtlIsOneBucketLate: ("an_expired_key_is_free_for_regenerate",),
    broken_stores.CloseIsFinal: ("opening_and_closing_may_be_repeated_or_left_out",),
    broken_stores.ScanGivesTwice: ("a_scan_may_be_left_half_way",),
    broken_stores.ScanLeavesOut: ("a_scan_sees_all_that_stays_once_while_others_come_change_and_go",),
    broken_stores.ScanSeesTheExpired: ("a_record_is_out_of_scan_and_count_as_soon_as_its_time_is_up",),
    broken_stores.ScanGivesAnotherVersion: ("scan_gives_each_record_as_load_does",),
    broken_stores.ScanHoldsTheStore: ("a_scan_may_be_left_half_way",),
    broken_stores.ScanKeepsBusyWhenLeft: ("a_scan_may_be_left_half_way",),
    broken_stores.CountSeesTheExpired: ("a_record_is_out_of_scan_and_count_as_soon_as_its_time_is_up",),
    broken_stores.CountSeesTombstones: (
        "clear_leaves_tombstones",
        "scan_and_count_find_exactly_the_live_records",
    ),
    broken_stores.CountSeesLocks: ("a_lock_is_no_record",),
    broken_stores.ClearRemovesTombstones: ("clear_leaves_tombstones",),
    broken_stores.ClearRemovesLocks: ("a_lock_is_no_record",),
    broken_stores.ClearCountsTheExpired: ("clear_deletes_every_live_record_and_tells_how_many",),
    broken_stores.DeleteExpiredDoesNothing: ("delete_expired_removes_what_has_expired_and_nothing_else",),
    broken_stores.DeleteExpiredCountsTombstones: ("a_record_is_out_of_scan_and_count_as_soon_as_its_time_is_up",),
    broken_stores.DeleteExpiredRemovesTombstones: ("delete_expired_removes_what_has_expired_and_nothing_else",),
    broken_stores.OwnersIgnoreCase: ("an_owner_is_found_by_the_very_name_alone",),
    broken_stores.OwnersAreForgottenLate: (
        "regenerate_sets_the_owner_of_the_new_record",
        "a_key_created_anew_has_nothing_of_its_former_owner",
    ),
    broken_stores.SetOwnerTouches: ("set_owner_says_whose_a_record_is_and_changes_nothing_else",),
    broken_stores.SetOwnerIgnoresTheVersion: ("what_is_not_there_or_is_no_longer_this_version_gets_no_owner",),
    broken_stores.PagesLeaveOut: ("the_pages_have_every_record_as_load_gives_it",),
    broken_stores.PagesAreCounted: ("what_ends_between_two_pages_is_left_out_and_nothing_else",),
    broken_stores.FactsHaveNoServer: ("a_store_says_what_it_runs_on",),
    broken_stores.WhatIsGoneHasExpired: (
        "has_expired_knows_records_whose_time_is_up_from_those_that_never_were_or_were_ended",
    ),
    broken_stores.LookSeesTheExpired: ("look_finds_nothing_as_soon_as_the_time_is_up_or_the_key_is_deleted",),
    broken_stores.LookTakesAFew: ("look_tells_odd_keys_apart_and_takes_500_at_once",),
    broken_stores.LookSeesNoTombstones: ("look_tells_of_each_key_what_load_would_by_the_mark_of_its_version",),
    broken_stores.LookMarksTheExpiry: (
        "look_tells_of_each_key_what_load_would_by_the_mark_of_its_version",
        "a_mark_is_another_after_a_change_and_the_same_after_a_touch",
    ),
    broken_stores.PulseStandsStill: ("the_pulse_is_another_after_any_write_and_the_same_after_none",),
    broken_stores.LocksAreForAll: ("of_many_that_lock_one_key_one_succeeds",),
    broken_stores.LocksLastForEver: (
        "a_lock_expires_by_itself",
        "failing_to_take_a_lock_does_not_prolong_it",
    ),
    broken_stores.LocksOutliveAClockThatWasSetBack: (
        "a_lock_that_lasts_longer_than_any_may_was_taken_before_the_clock_was_set_back",
    ),
    broken_stores.LocksAreForWhoAsksForLess: (
        "a_lock_that_lasts_longer_than_any_may_was_taken_before_the_clock_was_set_back",
    ),
    broken_stores.LocksAreProlongedByTrying: ("a_lock_expires_by_itself",),
    broken_stores.LocksAreNotAtomic: (
        "of_many_that_lock_one_key_one_succeeds",
        "what_a_lock_guards_is_done_by_one_at_a_time",
    ),
    broken_stores.LocksHaveOneToken: ("a_lock_is_held_by_one_until_it_is_released",),
    broken_stores.LocksAreReleasedByAnyToken: ("a_lock_is_released_by_its_own_token_once",),
}


def suite_of(broken: type[MemoryStore]) -> StoreContract:
    class Suite(StoreContract):
        def make_store(self, clock: ManualClock) -> MemoryStore:
            self.made = broken(clock=clock)
            return self.made

        def make_peer(self, clock: ManualClock) -> MemoryStore:
            peer = copy.copy(self.made)  # shares records, tombstones, locks and the mutex
            if isinstance(peer, broken_stores.LoadRemembers):
                peer.cache = {}
            return peer

    return Suite()


def async_suite_of(broken: type[MemoryStore]) -> AsyncStoreContract:
    class Suite(AsyncStoreContract):
        def make_store(self, clock: ManualClock) -> AsyncMemoryStore:
            store = AsyncMemoryStore(clock=clock)
            store._store = broken(clock=clock)
            return store

    return Suite()


def is_failure(error: BaseException) -> bool:
    """Whether a case said what is wrong, rather than breaking itself or hanging; a race says it in a group."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_failure(inner) for inner in error.exceptions)
    return isinstance(error, AssertionError | pytest.fail.Exception)


def fails(suite: StoreContract | AsyncStoreContract, name: str) -> bool:
    try:
        getattr(suite, f"test_{name}")()
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - judged by is_failure
        return is_failure(error)
    return False


CASES = {name.removeprefix("test_") for name in dir(StoreContract) if name.startswith("test_")}


@pytest.mark.parametrize("broken", CAUGHT_BY, ids=lambda broken: broken.__name__)
def test_a_broken_store_is_caught(broken: type[MemoryStore]) -> None:
    assert [name for name in CAUGHT_BY[broken] if not fails(suite_of(broken), name)] == []


@pytest.mark.parametrize("broken", CAUGHT_BY, ids=lambda broken: broken.__name__)
def test_a_broken_store_is_caught_in_the_async_colour(broken: type[MemoryStore]) -> None:
    # What breaks between threads only, or between two stores, has no counterpart here.
    elsewhere = broken.__name__.endswith("NotAtomic") or broken is broken_stores.PulseStandsStill
    names = [name for name in CAUGHT_BY[broken] if not elsewhere and "_stores_" not in name and "_store_" not in name]
    assert [name for name in names if not fails(async_suite_of(broken), name)] == []


def test_every_case_catches_some_broken_store() -> None:
    assert {name for names in CAUGHT_BY.values() for name in names} == CASES


def test_every_broken_store_is_in_the_table() -> None:
    broken = {
        kind
        for name, kind in vars(broken_stores).items()
        if isinstance(kind, type) and issubclass(kind, MemoryStore) and kind is not MemoryStore and name[0] != "_"
    }
    assert broken == set(CAUGHT_BY)


def test_a_store_that_suspends_between_check_and_write_is_caught() -> None:
    class NotAtomic(AsyncMemoryStore):
        async def replace(self, key: str, data: bytes, ttl: int, *, version: Any, owner: str | None = None) -> Any:
            found = await self.load(key)
            await anyio.lowlevel.checkpoint()
            if not isinstance(found, Stored):
                return MISSING
            if found.version != version:
                return CONFLICT
            await anyio.lowlevel.checkpoint()
            now = await self.load(key)
            version = now.version if isinstance(now, Stored) else version
            return await super().replace(key, data, ttl, version=version, owner=owner)

    class Suite(AsyncStoreContract):
        def make_store(self, clock: ManualClock) -> AsyncMemoryStore:
            return NotAtomic(clock=clock)

    for name in (
        "of_many_that_replace_the_same_version_one_succeeds",
        "no_update_is_lost_among_many_that_retry_on_conflict",
    ):
        assert fails(Suite(), name), name
