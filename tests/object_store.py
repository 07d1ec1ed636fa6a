"""An S3-compatible server on loopback for the length of a test: real HTTP, nothing kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import urlopen

from moto.server import ThreadedMotoServer


@contextmanager
def object_store(bucket: str = "studies") -> Iterator[str]:
    """A server with one empty bucket; gives a URI pattern with ``{}`` for the folder."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()  # of an earlier test
        options = f"endpoint_override={host}:{port}&scheme=http&region=us-east-1"
        from pyarrow import fs

        files, _ = fs.FileSystem.from_uri(
            f"s3://key:word@{bucket}?{options}&allow_bucket_creation=1"
        )
        files.create_dir(bucket)
        yield f"s3://key:word@{bucket}/{{}}?{options}"
    finally:
        server.stop()
