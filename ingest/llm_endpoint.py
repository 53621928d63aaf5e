"""Where texts may go, and the client that takes them there.

In: `Llm` settings, and whether the texts were scrubbed. Out: an `openai` client, or a `UserError`.
The idea: a text leaves this machine and its private network only when it was scrubbed and the
configuration allows it. An address is local when it is, or all that its name stands for are,
loopback (127/8, ::1), private (RFC 1918, RFC 4193) or link-local in IPv6 (RFC 4291); a name is
looked up once, before the first text. Link-local IPv4 (169.254/16) and shared space (100.64/10)
are not: clouds and carriers live there. Redirects are not followed, and a local endpoint is reached
without the proxy of the environment: both would take a text elsewhere.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from urllib.parse import urlsplit

from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from study.errors import UserError
from study.llm_sections import Llm

LOCAL = tuple(
    ipaddress.ip_network(net)
    for net in (
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "fe80::/10",
    )
)
NO_KEY = "none"
"""Sent to endpoints that need no key: the client insists on one, and would take OPENAI_API_KEY."""


def is_local(url: str) -> bool:
    """Whether all that an address stands for is within this machine or its private network. Raises
    UserError for a name that is not known."""
    host = urlsplit(url).hostname or ""
    try:
        found = {ipaddress.ip_address(host)}
    except ValueError:
        found = {ipaddress.ip_address(address) for address in _addresses(host)}
    return all(_is_local(address) for address in found)


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address.version == net.version and address in net for net in LOCAL)


def _addresses(host: str) -> set[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UserError(f"base_url: {host} is not known here ({error})") from None
    return {str(address[0]).split("%")[0] for *_, address in found}


def refuse_unsafe(llm: Llm, *, scrubbed: bool) -> bool:
    """Raise UserError where texts may not go; else whether the endpoint is local."""
    if is_local(llm.base_url):
        return True
    where = f"base_url: {llm.base_url} is outside this machine and its private network"
    if not llm.allow_remote:
        raise UserError(f"{where}; reports go there only with allow_remote: true, and scrubbed")
    if not scrubbed:
        raise UserError(f"{where}; reports that were not scrubbed do not go there")
    if urlsplit(llm.base_url).scheme != "https":
        raise UserError(f"{where}; it needs https")
    return False


def api_key(llm: Llm) -> str:
    """From the environment. Raises UserError where it is not there."""
    if not llm.api_key_env:
        return NO_KEY
    key = os.environ.get(llm.api_key_env, "").strip()
    if not key:
        raise UserError(f"api_key_env: the environment has no {llm.api_key_env}")
    return key


def client(llm: Llm, *, scrubbed: bool) -> AsyncOpenAI:
    """The client for an endpoint to which texts may go. Its retries (429 with Retry-After, 5xx,
    broken connections, timeouts) are its own."""
    local = refuse_unsafe(llm, scrubbed=scrubbed)
    return AsyncOpenAI(
        api_key=api_key(llm),
        base_url=llm.base_url,
        max_retries=llm.speed.max_retries,
        timeout=llm.speed.timeout_s,
        http_client=DefaultAsyncHttpxClient(follow_redirects=False, trust_env=not local),
    )
