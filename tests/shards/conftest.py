"""A real S3-compatible server on loopback, for the tests that need one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

BUCKET = "bucket"


@dataclass(frozen=True)
class S3Server:
    """moto's server, with one bucket."""

    endpoint: str

    def url(self, folder: str) -> str:
        return f"s3://{BUCKET}/{folder}"

    def demand_credentials(self, on: bool) -> None:
        """Whether requests are refused that no known user has signed."""
        count = "0" if on else "inf"
        requests.post(f"{self.endpoint}/moto-api/reset-auth", data=count, timeout=5)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer  # slow to import

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield S3Server(f"http://{host}:{port}")
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """The server, empty, with its address and dummy keys in the environment."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server.endpoint,
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    requests.post(f"{s3_server.endpoint}/moto-api/reset", timeout=5)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    s3fs.S3FileSystem.clear_instance_cache()
    yield s3_server
    s3fs.S3FileSystem.clear_instance_cache()
