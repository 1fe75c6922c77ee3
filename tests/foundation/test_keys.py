"""Keys are made where they are used, sign, and hash by domain."""

from __future__ import annotations

import hashlib
import hmac
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import FolderUnknown
from foundation.keys import RegionKeys, keyed_hash, load_keys, make_keys, signature_holds

# RFC 8032, section 7.1, test 2.
SECRET = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
SIGNATURE = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)
KEYS = RegionKeys(Ed25519PrivateKey.from_private_bytes(SECRET), bytes(32))


def test_signatures_are_those_of_rfc_8032():
    assert KEYS.public == PUBLIC
    assert KEYS.sign(b"\x72") == SIGNATURE
    assert signature_holds(PUBLIC, b"\x72", SIGNATURE)


@given(st.binary(max_size=64), st.integers(0, 511))
def test_a_flipped_bit_of_a_signature_is_found(message, bit):
    signature = bytearray.fromhex(KEYS.sign(message))
    assert signature_holds(PUBLIC, message, signature.hex())
    signature[bit // 8] ^= 1 << bit % 8
    assert not signature_holds(PUBLIC, message, signature.hex())


@pytest.mark.parametrize(
    ("public", "signature"),
    [("", SIGNATURE), (PUBLIC, ""), (PUBLIC[:-2], SIGNATURE), ("zz" * 32, SIGNATURE), (PUBLIC, "é" * 128)],
)
def test_malformed_keys_and_signatures_do_not_hold(public, signature):
    assert not signature_holds(public, b"\x72", signature)


def test_keys_survive_the_folder_and_differ_between_folders(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    made, other = make_keys(tmp_path / "one"), make_keys(tmp_path / "other")
    loaded = load_keys(tmp_path / "one")
    assert (loaded.public, loaded.subject_secret) == (made.public, made.subject_secret)
    assert made.public != other.public
    assert made.subject_secret != other.subject_secret


def test_key_files_are_for_their_owner_only(tmp_path):
    make_keys(tmp_path)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


@pytest.mark.parametrize("name", ["identity.key", "subject.key"])
def test_a_missing_or_cut_key_is_refused(tmp_path, name):
    make_keys(tmp_path)
    (tmp_path / name).write_bytes(bytes(31))
    with pytest.raises(FolderUnknown, match="32 bytes"):
        load_keys(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(FolderUnknown, match="no keys"):
        load_keys(tmp_path)


def test_keys_do_not_show_their_secret_when_printed(tmp_path):
    made = make_keys(tmp_path)
    assert (tmp_path / "identity.key").read_bytes().hex() not in repr(made)


def test_a_keyed_hash_is_hmac_sha256_of_domain_and_text():
    expected = hmac.new(b"k" * 32, b"fedprofile/holdout\0anna", hashlib.sha256).digest()
    assert keyed_hash(b"k" * 32, "holdout", "anna") == expected


@given(st.text(max_size=8), st.text(max_size=8))
def test_domains_separate_hashes(one, other):
    same = keyed_hash(b"k" * 32, "a", one) == keyed_hash(b"k" * 32, "a", other)
    assert same == (one == other)
    assert keyed_hash(b"k" * 32, "a", one) != keyed_hash(b"k" * 32, "b", one)
    assert keyed_hash(b"k" * 32, "a", one) != keyed_hash(b"l" * 32, "a", one)
