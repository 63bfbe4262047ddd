"""An S3 service on loopback that we did not write: moto's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a folder in a bucket; keys and endpoint are in the environment."""
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()  # those of another server, at another port
        with suppress(FileExistsError):  # moto keeps its buckets as long as the process lives
            s3fs.S3FileSystem().mkdir("models")
        yield f"s3://models/{port}/sketches"
    server.stop()
