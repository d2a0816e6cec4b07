"""The garbage collector while a process starts."""

from __future__ import annotations

import gc

import pytest

from liteq.utils.imports import SELDOM, seldom_collected


def test_the_collector_looks_seldom_within_the_block_and_as_before_behind_it():
    before = gc.get_threshold()
    with pytest.raises(ImportError), seldom_collected():
        assert gc.get_threshold() == (SELDOM, *before[1:])
        raise ImportError
    assert gc.get_threshold() == before


@pytest.mark.parametrize("young", [0, 10 * SELDOM])
def test_a_program_that_wants_it_rarer_keeps_its_own_threshold(young):
    before = gc.get_threshold()
    try:
        gc.set_threshold(young, *before[1:])
        with seldom_collected():
            assert gc.get_threshold()[0] == young
        assert gc.get_threshold()[0] == young
    finally:
        gc.set_threshold(*before)
