"""Pseudonyms under a project key, for what comes into a dataset without passing through ingestion.

In: a key file and identifiers. Out: keyed hashes, the same that ingestion makes under that key
(`ingest.deidentify`, which this folder may not import; a test holds the two against each other), so
that one study has one key whichever way it came. Source: HMAC (RFC 2104).
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from study import private
from study.errors import UserError

KEY_BYTES = 32
PSEUDONYM_DIGITS = 32


def project_key(file: Path) -> bytes:
    """The project's secret key, made on first use (mode 0600). UserError where the file is not a
    key, or others may read it."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=private.FOLDER_MODE)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, private.FILE_MODE)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
    if file.stat().st_mode & 0o077:
        raise UserError(f"{file}: others may read this project key; chmod 600 it first")
    try:
        key = bytes.fromhex(file.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise UserError(f"{file} is not a project key: {2 * KEY_BYTES} hexadecimal digits")
    return key


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """Keyed hash of an identifier, 32 hexadecimal digits; `kind` keeps studies, patients and
    digests apart."""
    text = f"{kind}:{value}".encode("utf-8", "surrogatepass")
    return hmac.new(key, text, hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]


def key_fingerprint(key: bytes) -> str:
    """Tells keys apart without telling the key."""
    return pseudonym(key, "fingerprint", "")[:16]


def split_of(patient: str, valid_fraction: float, test_fraction: float) -> str:
    """train, valid or test, from the patient's pseudonym alone."""
    draw = int(hashlib.sha256(f"split:{patient}".encode()).hexdigest()[:12], 16) / 16**12
    if draw < test_fraction:
        return "test"
    return "valid" if draw < test_fraction + valid_fraction else "train"
