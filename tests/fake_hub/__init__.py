"""A loopback Hugging Face Hub: two origins, real hashes, signed addresses, quotas, and faults to switch on."""

from tests.fake_hub.blobs import StoredFile
from tests.fake_hub.hub import FakeHub
from tests.fake_hub.ledger import Count, Request

__all__ = ["Count", "FakeHub", "Request", "StoredFile"]
