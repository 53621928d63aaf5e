"""Pseudonyms under a project key, and splits by patient: the same whichever way a study comes in.

In: a key file and identifiers. Out: keyed hashes of them. Sources: HMAC (RFC 2104); DICOM PS3.15
Annex E. An unkeyed hash of a UID can be undone by trying (pydicom#2341).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import warnings
from pathlib import Path

from study import private
from study.errors import UserError

KEY_FILE = "project.key"
"""In the run folder, mode 0600."""
KEY_BYTES = 32
PSEUDONYM_DIGITS = 32


def project_key(file: Path) -> bytes:
    """The project's secret key; made on first use (mode 0600), by the client: a worker never asks.

    A key that others could read is closed to them, with a warning: whoever copied it can undo the
    pseudonyms. Raises UserError where the file exists and is not a key.
    """
    if not file.exists():
        _make_key(file)
    if file.stat().st_mode & 0o077:
        warnings.warn(
            f"{file}: the project key was readable by others; it has mode 0600 now. If they are "
            "not to be trusted, write a new dataset under a new key",
            stacklevel=2,
        )
        file.chmod(private.FILE_MODE)
    try:
        key = bytes.fromhex(file.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise UserError(
            f"{file} is not a project key: it must hold {2 * KEY_BYTES} hexadecimal digits"
        )
    return key


def _make_key(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True, mode=private.FOLDER_MODE)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, private.FILE_MODE)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(KEY_BYTES) + "\n")


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """Keyed hash of an identifier; `kind` keeps studies, patients and digests apart. 32 hexadecimal
    digits."""
    return hmac.new(
        key, f"{kind}:{value}".encode("utf-8", "surrogatepass"), hashlib.sha256
    ).hexdigest()[:PSEUDONYM_DIGITS]


def key_fingerprint(key: bytes) -> str:
    """Tells keys apart without telling the key."""
    return pseudonym(key, "fingerprint", "")[:16]


def split_of(patient: str, valid_fraction: float, test_fraction: float) -> str:
    """train, valid or test, from the patient's pseudonym alone: stable whatever else is
    ingested."""
    draw = int(hashlib.sha256(f"split:{patient}".encode()).hexdigest()[:12], 16) / 16**12
    if draw < test_fraction:
        return "test"
    return "valid" if draw < test_fraction + valid_fraction else "train"
