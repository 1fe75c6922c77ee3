"""The tree of RFC 9162: known vectors, and proofs that hold for what is there and for nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.merkle import EMPTY_ROOT, appended, included, inclusion_proof, leaf_hash, node_hash, root

KNOWN = json.loads(
    (Path(__file__).parents[1] / "golden" / "merkle_certificate_transparency.json").read_text(
        encoding="utf-8"
    )
)
LEAVES = [bytes.fromhex(each) for each in KNOWN["leaves"]]
ENTRIES = st.lists(st.binary(max_size=8), min_size=1, max_size=40)


def tree(entries):
    """Returns the complete subtrees of a tree grown one entry at a time."""
    nodes = {}
    for size, entry in enumerate(entries):
        made = appended(size, leaf_hash(entry), nodes.__getitem__)
        assert not set(made) & set(nodes)
        nodes |= made
    return nodes


def tree_head(entries):
    """Returns MTH of RFC 9162, section 2.1.1, by its recursive definition."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\0" + entries[0]).digest()
    split = 1
    while 2 * split < len(entries):
        split *= 2
    return hashlib.sha256(b"\1" + tree_head(entries[:split]) + tree_head(entries[split:])).digest()


@pytest.mark.parametrize("size", range(9))
def test_known_roots(size):
    assert root(size, tree(LEAVES[:size]).__getitem__).hex() == KNOWN["roots"][size]
    assert root(size, tree(LEAVES).__getitem__).hex() == KNOWN["roots"][size]


@pytest.mark.parametrize("case", KNOWN["inclusion"], ids=str)
def test_known_inclusion_paths(case):
    nodes, path = tree(LEAVES), [bytes.fromhex(each) for each in case["path"]]
    assert inclusion_proof(case["index"], case["size"], nodes.__getitem__) == path
    head = bytes.fromhex(KNOWN["roots"][case["size"]])
    assert included(leaf_hash(LEAVES[case["index"]]), case["index"], case["size"], path, head)


@given(ENTRIES)
def test_roots_are_those_of_the_recursive_definition(entries):
    assert root(len(entries), tree(entries).__getitem__) == tree_head(entries)


@given(st.integers(0, 200))
def test_appending_makes_as_many_subtrees_as_the_leaf_completes(size):
    made = appended(size, leaf_hash(b""), lambda _: bytes(32))
    trailing_ones = len(bin(size)) - len(bin(size).rstrip("1"))
    assert len(made) == 1 + trailing_ones
    assert all(index == size >> level for level, index in made)


@given(ENTRIES)
def test_every_entry_of_every_size_is_proved(entries):
    fetch = tree(entries).__getitem__
    for size in range(1, len(entries) + 1):
        head = root(size, fetch)
        for index in range(size):
            path = inclusion_proof(index, size, fetch)
            assert included(leaf_hash(entries[index]), index, size, path, head)


@given(ENTRIES, st.data())
def test_a_flipped_bit_anywhere_breaks_the_proof(entries, data):
    size, fetch = len(entries), tree(entries).__getitem__
    index = data.draw(st.integers(0, size - 1))
    parts = [leaf_hash(entries[index]), root(size, fetch), *inclusion_proof(index, size, fetch)]
    which, bit = data.draw(st.integers(0, len(parts) - 1)), data.draw(st.integers(0, 255))
    flipped = bytearray(parts[which])
    flipped[bit // 8] ^= 1 << bit % 8
    parts[which] = bytes(flipped)
    leaf, head, *path = parts
    assert not included(leaf, index, size, path, head)


@given(st.integers(1, 40), st.data())
def test_a_proof_holds_at_its_own_place_only(size, data):
    entries = [bytes([number]) for number in range(size)]
    fetch = tree(entries).__getitem__
    index, other = data.draw(st.integers(0, size - 1)), data.draw(st.integers(-2, size + 2))
    path = inclusion_proof(index, size, fetch)
    holds = included(leaf_hash(entries[index]), other, size, path, root(size, fetch))
    assert holds == (other == index)


@given(st.integers(1, 40), st.data())
def test_a_path_of_another_length_does_not_hold(size, data):
    entries = [bytes([number]) for number in range(size)]
    fetch, index = tree(entries).__getitem__, data.draw(st.integers(0, size - 1))
    path, head = inclusion_proof(index, size, fetch), root(size, fetch)
    leaf = leaf_hash(entries[index])
    assert not included(leaf, index, size, [*path, bytes(32)], head)
    assert not included(leaf, index, size, [*path, head], head)
    assert not path or not included(leaf, index, size, path[:-1], head)


@given(st.integers(1, 40), st.integers(1, 400), st.data())
def test_a_path_that_is_too_short_for_the_size_told_does_not_hold(size, more, data):
    entries = [bytes([number]) for number in range(size)]
    fetch, index = tree(entries).__getitem__, data.draw(st.integers(0, size - 1))
    path, head = inclusion_proof(index, size, fetch), root(size, fetch)
    grown = (size + more - 1).bit_length() > (size - 1).bit_length()
    assert not (grown and included(leaf_hash(entries[index]), index, size + more, path, head))


def test_a_node_is_not_taken_for_a_leaf():
    one, other = leaf_hash(b"a"), leaf_hash(b"b")
    assert leaf_hash(one + other) != node_hash(one, other)


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_there_is_no_proof_of_what_is_not_in_the_tree(index, size):
    with pytest.raises(IndexError):
        inclusion_proof(index, size, tree(LEAVES).__getitem__)


def test_the_empty_tree_has_the_hash_of_nothing_and_holds_nothing():
    assert root(0, {}.__getitem__) == EMPTY_ROOT == bytes.fromhex(KNOWN["roots"][0])
    assert not included(leaf_hash(b""), 0, 0, [], EMPTY_ROOT)
