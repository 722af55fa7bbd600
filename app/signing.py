"""Keys derived from the one secret: for owners' and clients' hashes, signed URLs, wrapping.

Each purpose has a key of its own (HKDF-SHA256, RFC 5869), so that nothing made for one purpose is
valid for another. With several secrets the first signs and all of them verify: that is rotation.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

_DIGEST = hashlib.sha256

_PURPOSES = (
    *(b"owner", b"url", b"client", b"wrap"),
    *(b"idempotency", b"content", b"receiver", b"webhook", b"receipt", b"limit"),
    b"news",
    b"cache",
)

# Expiry is rounded up to steps, so that a polled body and its ETag stay the same for a while.
URL_STEP_S = 150
URL_LIFE_S = 300


def hkdf_sha256(secret: bytes, *, info: bytes) -> bytes:
    """Derive 32 bytes for one purpose. Source: RFC 5869 with an empty salt, one output block."""
    pseudorandom_key = hmac.digest(bytes(32), secret, "sha256")
    return hmac.digest(pseudorandom_key, info + b"\x01", "sha256")


class Keyring:
    """All keyed functions of the service.

    secrets: at least one; the first is used for what is new, every one for what is checked.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        if not secrets:
            raise ValueError("a keyring needs at least one secret")
        self._keys = {
            purpose: [
                hkdf_sha256(secret.encode(), info=b"tryonai " + purpose) for secret in secrets
            ]
            for purpose in _PURPOSES
        }

    @property
    def wrapping(self) -> Sequence[bytes]:
        """The keys under which sessions' keys are kept (`services/crypto.py`)."""
        return self._keys[b"wrap"]

    @property
    def receipt_seeds(self) -> Sequence[bytes]:
        """Of the Ed25519 keys that sign receipts (`services/receipts.py`)."""
        return self._keys[b"receipt"]

    @property
    def news(self) -> Sequence[bytes]:
        """The keys of messages between processes (`services/pubsub.py`)."""
        return self._keys[b"news"]

    @property
    def caching(self) -> Sequence[bytes]:
        """The keys under which rows are kept for polls (`services/session_cache.py`)."""
        return self._keys[b"cache"]

    def owner(self, token: str) -> str:
        """What is stored instead of a user token: 64 hex digits."""
        return self.owners(token)[0]

    def owners(self, token: str) -> tuple[str, ...]:
        """Every value that a row of this token may carry, the present secret's first."""
        return self._hexes(b"owner", token.encode())

    def idempotency_keys(self, token: str, key: str) -> tuple[str, ...]:
        """Every value that a row made by this owner under this key may carry: 64 hex digits."""
        # A token holds no line feed, so that no other pair reads the same.
        return self._hexes(b"idempotency", f"{token}\n{key}".encode())

    def digests(self, digest: bytes) -> tuple[str, ...]:
        """Every value that may be stored for a digest; without a secret it confirms no photo."""
        return self._hexes(b"content", digest)

    def receiver(self, host: str) -> str:
        """What is stored to tell one receiver of webhooks from another: 16 hex digits."""
        return self._hexes(b"receiver", host.encode())[0][:16]

    @property
    def webhook_keys(self) -> Sequence[bytes]:
        """What webhooks are signed with where the operator has set nothing else."""
        return self._keys[b"webhook"]

    def _hexes(self, purpose: bytes, message: bytes) -> tuple[str, ...]:
        return tuple(hmac.new(key, message, _DIGEST).hexdigest() for key in self._keys[purpose])

    def client(self, address: str) -> str:
        """Eight digits that stand for an address in a log; without the secret they tell nothing."""
        digest = hmac.digest(self._keys[b"client"][0], address.encode(), "sha256")
        return f"{int.from_bytes(digest[:8]) % 10**8:08d}"

    def caller(self, client: str) -> str:
        """What stands for a client where its calls are counted: 32 hex digits."""
        return self._hexes(b"limit", client.encode())[0][:32]

    def sign_url(self, session_id: UUID, picture: str, *, now: datetime) -> str:
        """The query that lets an `<img>` load one picture for 5 to 7.5 minutes."""
        soonest = now.timestamp() + URL_LIFE_S
        expires = -int(-soonest // URL_STEP_S) * URL_STEP_S
        signature = self._url_signatures(session_id, picture, expires)[0]
        return f"expires={expires}&signature={signature}"

    def verify_url(
        self, session_id: UUID, picture: str, *, expires: str, signature: str, now: datetime
    ) -> bool:
        """Whether this query was made by `sign_url` for this very picture and still holds."""
        if not (expires.isascii() and expires.isdigit() and len(expires) < 16):
            return False
        wanted = self._url_signatures(session_id, picture, int(expires))
        # No early exit: every key is compared, in constant time each.
        matches = [hmac.compare_digest(one, signature.encode()) for one in map(str.encode, wanted)]
        return any(matches) and now.timestamp() < int(expires)

    def _url_signatures(self, session_id: UUID, picture: str, expires: int) -> list[str]:
        message = f"{session_id}/{picture}/{expires}".encode()
        return [
            base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode().rstrip("=")
            for key in self._keys[b"url"]
        ]


def same(sent: str, secret: str) -> bool:
    """Whether they agree, in a time that does not tell how far."""
    return hmac.compare_digest(sent.encode(), secret.encode())


def same_owner(stored: str, owners: Sequence[str]) -> bool:
    """Whether a row's owner is one of these, in a time that does not tell how far they agree."""
    matches = [hmac.compare_digest(stored.encode(), owner.encode()) for owner in owners]
    return any(matches)
