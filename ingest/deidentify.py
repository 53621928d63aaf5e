"""What may leave: pseudonyms under a project key, technical facts on an allow-list, splits by
patient.

In: identifiers and header facts. Out: keyed hashes, numbers in range, words of an enumeration.
Nothing else is let into a dataset; what does not match is left out, not masked. Sources: HMAC (RFC
2104); DICOM PS3.15 Annex E. An unkeyed hash of a UID can be undone by trying (pydicom#2341).
"""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from study.errors import UserError
from study.records import Instance, ScanPlan

KEY_BYTES = 32
PSEUDONYM_DIGITS = 32

MANUFACTURERS = (
    "SIEMENS",
    "GE",
    "PHILIPS",
    "TOSHIBA",
    "CANON",
    "HITACHI",
    "UIH",
    "FUJIFILM",
    "BRUKER",
    "NEUSOFT",
)
KERNELS = re.compile(
    r"^(?:[ABHUJTQ][a-z]?\d{2}[a-z]?|STANDARD|STND|STD\+?|SOFT|BONE|BONEPLUS|LUNG|DETAIL|EDGE|CHST|UB|UA|UC|YA|YB|FC\d{2})$"
)
BODY_PARTS = frozenset(
    [
        "HEAD",
        "BRAIN",
        "SKULL",
        "NECK",
        "CHEST",
        "ABDOMEN",
        "PELVIS",
        "SPINE",
        "CSPINE",
        "TSPINE",
        "LSPINE",
        "EXTREMITY",
        "BREAST",
        "HEART",
    ]
)

NUMBERS: dict[str, tuple[float, float]] = {
    "slice_thickness_mm": (0.0, 100.0),
    "echo_time_ms": (0.0, 10_000.0),
    "repetition_time_ms": (0.0, 100_000.0),
    "inversion_time_ms": (0.0, 20_000.0),
    "flip_angle_deg": (0.0, 180.0),
    "b_value_s_per_mm2": (0.0, 20_000.0),
    "magnetic_field_t": (0.0, 20.0),
    "kvp_kv": (0.0, 500.0),
}
"""Numeric facts that may leave, with the range outside of which they are left out."""


def project_key(file: Path) -> bytes:
    """The project's secret key; made on first use (mode 0600, never by a worker).

    Raises UserError where the file exists and is not a key.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(KEY_BYTES) + "\n")
    try:
        key = bytes.fromhex(file.read_text().strip())
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) != KEY_BYTES:
        raise UserError(
            f"{file} is not a project key: it must hold {2 * KEY_BYTES} hexadecimal digits"
        )
    return key


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """Keyed hash of an identifier; `kind` keeps studies, patients and digests apart. 32 hexadecimal
    digits."""
    return hmac.new(key, f"{kind}:{value}".encode(), hashlib.sha256).hexdigest()[:PSEUDONYM_DIGITS]


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


def digest_of(key: bytes, plan: ScanPlan) -> str:
    """Keyed digest of the source instances of a scan."""
    return pseudonym(key, "scan", "\n".join(plan.sop_uids))


def acquisition_facts(image: Instance) -> dict[str, str | float | int]:
    """Technical facts of an image that are on the allow-list and look as they should."""
    facts: dict[str, str | float | int] = {}
    for name, (low, high) in NUMBERS.items():
        value = getattr(image, name)
        if value is not None and math.isfinite(value) and low <= value <= high:
            facts[name] = round(float(value), 6)
    vendor = image.manufacturer.upper()
    facts["manufacturer"] = next(
        (m for m in MANUFACTURERS if re.search(rf"\b{m}\b", vendor)), "OTHER"
    )
    if KERNELS.match(image.convolution_kernel.split("\\")[0]):
        facts["convolution_kernel"] = image.convolution_kernel.split("\\")[0]
    if image.body_part.upper() in BODY_PARTS:
        facts["body_part"] = image.body_part.upper()
    return facts


def age_years(text: str) -> int | None:
    """PatientAge (PS3.5 AS: 034Y, 018M, 006W, 003D) in years; over 89 becomes 90.

    >>> age_years("034Y"), age_years("103Y"), age_years("018M"), age_years("old")
    (34, 90, 1, None)
    """
    match = re.fullmatch(r"(\d{3})([DWMY])", text)
    if not match:
        return None
    years = int(int(match[1]) / {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}[match[2]])
    return min(years, 90)


def sex_code(text: str) -> str:
    """PatientSex as M, F or O; anything else is left out."""
    return text if text in ("M", "F", "O") else ""


DATE = r"(?:\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}|\d{4}[/.-]\d{1,2}[/.-]\d{1,2})"
MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
PARTICLES = r"(?:(?:de|van|von|der|den|al|el|la|di|da)\s+)*"
PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "DATE",
        re.compile(
            rf"\b{DATE}\b|\b\d{{1,2}}\s+{MONTHS}\.?,?\s+\d{{4}}\b|\b{MONTHS}\.?\s+\d{{1,2}},?\s+\d{{4}}\b",
            re.I,
        ),
    ),
    (
        "DATE",
        re.compile(
            rf"\b\d{{1,2}}[ -]{MONTHS}[ -]\d{{2,4}}\b|\b{MONTHS}\.?,?\s+(?:of\s+)?(?:19|20)\d\d\b"
            r"|(?:(?<=\bon )|(?<=\bdated )|(?<=\bof ))\d{1,2}/\d{1,2}\b",
            re.I,
        ),
    ),
    ("AGE", re.compile(r"\b(?:9\d|1[0-2]\d)(?=[ -]*(?:years?|yrs?|y/?o|y\.o)\b)", re.I)),
    ("TIME", re.compile(r"\b\d{1,2}:\d{2}(?::\d{2})?\s*(?:[ap]\.?m\.?|hours|hrs)?(?=\W|$)", re.I)),
    ("PHONE", re.compile(r"(?<!\w)(?:\+?\d{1,2}[ .-])?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}\b")),
    ("EMAIL", re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]+\b")),
    ("UID", re.compile(r"\b[012](?:\.\d+){4,}\b")),
    (
        "ID",
        re.compile(
            r"\b(?:MRN|accession(?:\s+(?:number|no\.?))?|patient\s+id)\s*[:#]?\s*[A-Z0-9-]*\d[A-Z0-9-]*\b",
            re.I,
        ),
    ),
    ("NUMBER", re.compile(r"\b\d{6,}\b")),
    (
        "NAME",
        re.compile(rf"\b(?:Dr|Mr|Mrs|Ms|Prof)\.?\s+{PARTICLES}[A-Z][\w'-]*(?:\s+[A-Z][\w'-]+)?"),
    ),
)
"""Spans of reports that identify, whatever the header says."""


def scrub(text: str, identifying: Sequence[str]) -> str:
    """Report text with identifying spans replaced by [KIND]; `identifying` are header values of the
    study.

    A value counts when it has four characters or more, names also in parts ("Doe^Jane": "Doe",
    "Jane" from 3 letters).
    """
    for kind, pattern in PATTERNS:
        text = pattern.sub(f"[{kind}]", text)
    for value in sorted({v for v in identifying if len(v) >= 4}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "[HEADER]", text, flags=re.I)
    parts = {p for v in identifying if "^" in v for p in re.split(r"[\^\s=]+", v) if len(p) >= 3}
    for part in sorted(parts, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(part)}(?!\w)", "[NAME]", text, flags=re.I)
    return text
