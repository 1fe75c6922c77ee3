"""Who is held out: each person for themselves, for the folder's life."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.holdout import FOLDS, KeyedShare, PublicFold

IDENTIFIERS = st.lists(st.text(max_size=8), max_size=30, unique=True)
RULES = [KeyedShare(bytes(32)), KeyedShare(b"k" * 32), PublicFold(3)]


def held(rule, subjects, share=0.2):
    return dict(zip(subjects, rule.held_out(np.array(subjects, dtype=np.str_), share), strict=True))


@pytest.mark.parametrize("rule", RULES, ids=["secret", "another secret", "fold"])
@settings(max_examples=50, deadline=None)
@given(subjects=IDENTIFIERS, newcomer=st.text(max_size=8))
def test_a_newcomer_moves_nobody(rule, subjects, newcomer):
    subjects = list(dict.fromkeys(str(np.str_(each)) for each in subjects))
    with_newcomer = [newcomer, *(each for each in subjects if each != newcomer)]
    before, after = held(rule, subjects), held(rule, with_newcomer)
    assert all(after[each] == before[each] for each in subjects if each in after)


@settings(max_examples=50, deadline=None)
@given(IDENTIFIERS)
def test_a_larger_share_keeps_everyone_that_a_smaller_one_held_out(subjects):
    fewer, more = (held(RULES[0], subjects, share) for share in (0.1, 0.4))
    assert all(more[each] for each in subjects if fewer[each])


def test_the_share_is_kept():
    subjects = [f"person-{i}" for i in range(5000)]
    for rule in RULES:
        assert abs(np.mean(list(held(rule, subjects).values())) - 0.2) < 0.03


def test_another_secret_holds_out_others():
    subjects = [f"person-{i}" for i in range(200)]
    assert held(RULES[0], subjects) != held(RULES[1], subjects)


def test_folds_share_out_everyone_once():
    subjects = [f"person-{i}" for i in range(300)]
    counts = np.sum([list(held(PublicFold(fold), subjects).values()) for fold in range(FOLDS)], axis=0)
    assert (counts == 1).all()


def test_a_fold_is_one_fifth():
    with pytest.raises(ValueError, match="fold"):
        PublicFold(0).held_out(np.array(["ann"]), 0.25)


@pytest.mark.parametrize("rule", RULES, ids=["secret", "another secret", "fold"])
def test_nobody_is_nobody(rule):
    held_out = rule.held_out(np.array([], dtype=np.str_), 0.2)
    assert (held_out.shape, held_out.dtype) == ((0,), np.bool_)
