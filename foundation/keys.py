"""Keys of one region: an Ed25519 identity, and a secret for keyed hashes of subject ids.

Both are made where they are used and never leave it (0600). The registry of public keys, passphrases
and rotation come with `compliance/membership.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from foundation.errors import FolderUnknown
from foundation.files import write_atomically

SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class RegionKeys:
    """The identity key signs receipts; the subject secret keys every hash of a subject id."""

    identity: Ed25519PrivateKey
    subject_secret: bytes

    @property
    def public(self) -> str:
        """Raw Ed25519 public key, 64 hex digits."""
        return self.identity.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()

    def sign(self, message: bytes) -> str:
        """Returns the Ed25519 signature (RFC 8032) of message, 128 hex digits."""
        return self.identity.sign(message).hex()


def make_keys(folder: Path) -> RegionKeys:
    """Makes fresh keys in folder and returns them.

    Raises:
        FolderUnknown: there are keys already; they are never replaced.
    """
    if (folder / "identity.key").exists() or (folder / "subject.key").exists():
        raise FolderUnknown(f"{folder} has keys already", do="choose another folder")
    write_atomically(folder / "identity.key", secrets.token_bytes(SECRET_BYTES))
    write_atomically(folder / "subject.key", secrets.token_bytes(SECRET_BYTES))
    return load_keys(folder)


def load_keys(folder: Path) -> RegionKeys:
    """Returns the keys kept in folder.

    Raises:
        FolderUnknown: a key is missing or has not 32 bytes.
    """
    try:
        identity, secret = (folder / "identity.key").read_bytes(), (folder / "subject.key").read_bytes()
    except FileNotFoundError:
        raise FolderUnknown(f"no keys in {folder}") from None
    if len(identity) != SECRET_BYTES or len(secret) != SECRET_BYTES:
        raise FolderUnknown(f"a key in {folder} has not {SECRET_BYTES} bytes")
    return RegionKeys(Ed25519PrivateKey.from_private_bytes(identity), secret)


def signature_holds(public: str, message: bytes, signature: str) -> bool:
    """Whether signature (hex) is that of message under the raw Ed25519 public key (hex)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def keyed_hash(secret: bytes, domain: str, text: str) -> bytes:
    """Returns HMAC-SHA256 of text under secret, separated by domain; 32 bytes."""
    return hmac.digest(secret, f"fedprofile/{domain}\0{text}".encode(), hashlib.sha256)
