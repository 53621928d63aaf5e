"""Encryption between client, scheduler and workers, and a warning where patient data goes without.

In: the settings of `ingest.speed.tls`, an address. Out: dask's `Security`, or words. A dask
scheduler runs the code that it is sent by whoever reaches it; with TLS that is only who holds a
certificate of the same authority. Source: distributed.dask.org, "TLS/SSL".
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

from study.cluster_sections import Tls
from study.errors import UserError

if TYPE_CHECKING:
    from distributed import Security


def security_of(tls: Tls) -> Security | None:
    """What dask needs for TLS; None: no TLS.

    Raises UserError where a file cannot be read or is no certificate, or `cryptography` is missing.
    """
    if not tls.is_on:
        return None
    from distributed import Security

    if tls.temporary:
        try:
            return Security.temporary()
        except ImportError:
            raise UserError(
                "ingest.speed.tls.temporary needs the package cryptography: "
                "pip install 'dicom2clip[tls]'"
            ) from None
    _check_files(tls)
    return Security(
        require_encryption=True,
        tls_ca_file=tls.ca,
        **{
            f"tls_{role}_{part}": file
            for role in ("client", "scheduler", "worker")
            for part, file in (("cert", tls.cert), ("key", tls.key))
        },
    )


def _check_files(tls: Tls) -> None:
    for name in ("ca", "cert", "key"):
        file = Path(getattr(tls, name))
        if not file.is_file() or not os.access(file, os.R_OK):
            raise UserError(f"ingest.speed.tls.{name}: there is no readable file {file}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_verify_locations(tls.ca)
    except ssl.SSLError as error:
        raise UserError(f"ingest.speed.tls.ca: {tls.ca} is no certificate: {error}") from None
    try:
        context.load_cert_chain(tls.cert, tls.key)
    except ssl.SSLError as error:
        raise UserError(
            f"ingest.speed.tls: {tls.cert} and {tls.key} are no certificate and its key: {error}"
        ) from None


def is_local(address: str) -> bool:
    """Whether what is sent to an address stays on this machine.

    >>> [is_local(a) for a in ("tcp://127.0.0.1:8786", "inproc://10.0.0.5/1/2", "tcp://node7:1")]
    [True, True, False]
    """
    protocol, _, rest = address.rpartition("://")
    host = rest.rpartition(":")[0].strip("[]") or rest
    if protocol == "inproc" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def warning_of(address: str) -> str:
    """What to say about patient data that would cross hosts in the clear; empty: nothing."""
    if is_local(address) or address.startswith("tls://"):
        return ""
    return (
        f"WARNING: patient data goes to and from {address} unencrypted, and whoever reaches that "
        "port can run code as you; set ingest.speed.tls (see docs/slurm.md)"
    )
