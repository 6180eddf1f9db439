"""How an entry of an outbox is one value in Redis: what the scripts need in front, at fixed places, then the rest.

| bytes | |
|---|---|
| 32 | digest of the key |
| 32 | digest of method, key and arguments |
| 10 | the size that counts for the bounds |
| 4 | number of the following bytes: the id |
| 8 | number of the following bytes: JSON of method, key, put_at, expires, remember |
| | the body |
"""

from __future__ import annotations

import hashlib
import json

from ..delivery.entry import StoredEntry

_ID = 78
_LENGTH = 8


def key_digest(key: str | None) -> str:
    """Return the digest of a key, of 32 characters."""
    return _digest(json.dumps(key).encode())


def content_digest(entry: StoredEntry, body: bytes) -> str:
    """Return the digest of what must be equal if an id is put again."""
    return _digest(json.dumps([entry.method, entry.key]).encode() + b"\0" + body)


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def encode_entry(entry: StoredEntry, body: bytes) -> bytes:
    """Return the value of an entry, without its state."""
    id_ = entry.id.encode()
    meta = json.dumps([entry.method, entry.key, entry.put_at, entry.expires, entry.remember]).encode()
    digests = key_digest(entry.key) + content_digest(entry, body)
    front = f"{digests}{entry.size:010d}{len(id_):04d}".encode()
    return b"".join([front, id_, f"{len(meta):08d}".encode(), meta, body])


def encode_state(entry: StoredEntry) -> bytes:
    """Return what `OutboxStore.update` changes."""
    return json.dumps([entry.attempts, entry.elapsed, entry.delay, entry.due, entry.error]).encode()


def decode_entry(position: bytes, value: bytes, state: bytes | None, *, dead: bool = False) -> StoredEntry:
    """Return the entry from its value and its state."""
    at = _ID + int(value[_ID - 4 : _ID])
    id_ = value[_ID:at].decode()
    body_at = at + _LENGTH + int(value[at : at + _LENGTH])
    method, key, put_at, expires, remember = json.loads(value[at + _LENGTH : body_at])
    attempts, elapsed, delay, due, error = json.loads(state) if state else (0, 0.0, 0.0, 0.0, None)
    return StoredEntry(
        *(id_, method, key, value[body_at:], put_at, expires, remember, int(position)),
        *(attempts, elapsed, delay, due, error, dead),
    )
