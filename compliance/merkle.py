"""Merkle tree of RFC 9162, section 2.1: hashes, roots and inclusion proofs from complete subtrees.

A tree of n leaves is kept as the roots of its complete subtrees, keyed (level, index): appending touches
O(log n) of them, and neither a root nor a proof reads a leaf again. Pure: storage is an argument.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TypeAlias

Node: TypeAlias = tuple[int, int]
"""(level, index): the complete subtree over leaves [index * 2^level, (index + 1) * 2^level)."""

Fetch: TypeAlias = Callable[[Node], bytes]

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Returns SHA-256(0x00 | entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Returns SHA-256(0x01 | left | right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def appended(size: int, leaf: bytes, fetch: Fetch) -> dict[Node, bytes]:
    """Returns the complete subtrees that a leaf hash at place `size` completes, the leaf itself included."""
    made: dict[Node, bytes] = {(0, size): leaf}
    level, index, digest = 0, size, leaf
    while index % 2 == 1:
        digest = node_hash(fetch((level, index - 1)), digest)
        level, index = level + 1, index // 2
        made[level, index] = digest
    return made


def root(size: int, fetch: Fetch) -> bytes:
    """Returns the tree hash of the first `size` leaves; SHA-256 of nothing for an empty tree."""
    return _range_root(0, size, fetch) if size > 0 else EMPTY_ROOT


def inclusion_proof(index: int, size: int, fetch: Fetch) -> list[bytes]:
    """Returns the audit path of leaf `index` in the tree of the first `size` leaves, lowest first.

    Raises:
        IndexError: there is no such leaf in the tree.
    """
    if not 0 <= index < size:
        raise IndexError(f"leaf {index} is not in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_root(middle, end, fetch))
            end = middle
        else:
            path.append(_range_root(start, middle, fetch))
            start = middle
    return path[::-1]


def included(leaf: bytes, index: int, size: int, path: list[bytes], tree_root: bytes) -> bool:
    """Whether path proves that leaf hash stands at index in the tree (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place % 2 == 1 or place == last:
            digest = node_hash(sibling, digest)
            while place % 2 == 0 and place != 0:
                place, last = place // 2, last // 2
        else:
            digest = node_hash(digest, sibling)
        place, last = place // 2, last // 2
    return last == 0 and digest == tree_root


def _range_root(start: int, end: int, fetch: Fetch) -> bytes:
    width = end - start
    if width & (width - 1) == 0 and start % width == 0:
        return fetch((width.bit_length() - 1, start // width))
    middle = start + _split(width)
    return node_hash(_range_root(start, middle, fetch), _range_root(middle, end, fetch))


def _split(width: int) -> int:
    return 1 << ((width - 1).bit_length() - 1)
