"""Seeds as a pure function of their purpose."""

import hashlib
import json

SeedPart = str | int


def seed_of(*parts: SeedPart) -> int:
    """31 bits of the SHA-256 of the parts, never negative: other parts give an unrelated seed."""
    text = json.dumps(parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
