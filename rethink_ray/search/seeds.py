"""Seeds that are a pure function of what they are for."""

import hashlib
import json

Part = str | int


def seed_of(*parts: Part) -> int:
    """31 bits, never negative, from the SHA-256 of the parts; no other call shares its stream."""
    text = json.dumps(parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") & 0x7FFFFFFF
