"""Pictures at rest: AES-256-GCM under a key of their own session, which its row keeps wrapped.

With the row goes the only copy of the key, and with that whatever is left of the files anywhere: in
a backup, a snapshot, the blocks of a disk. See docs/adr/0009-pictures-are-encrypted.md.

    stored file   01 ‖ nonce (12) ‖ ciphertext ‖ tag (16)    additional data: the storage key
    wrapped key   id of the wrapping key (8) ‖ nonce (12) ‖ ciphertext (32) ‖ tag (16)
                                                             additional data: the session's id

Nonces are random. A session's key meets a handful of pictures; a wrapping key may meet 2³² sessions
before the chance of a repeated nonce is worth a thought (NIST SP 800-38D, section 8.3).
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from app.errors import TryOnError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

ID_BYTES = 8
"""Of a wrapped key: the first so many tell under which secret it is."""

OVERHEAD_BYTES = 1 + 12 + 16
"""By which a sealed picture is larger than the picture."""

# No JPEG, PNG or WebP begins with it: what is sealed is told from what is not.
_FORMAT = b"\x01"
_NONCE_BYTES = 12
_KEY_BYTES = 32
# Beside the session's id in what is sealed with it: a URL is never taken for a key.
_URL = b"webhook"


def is_sealed(stored: bytes) -> bool:
    """Whether this is what `PictureKey.seal` made with a key."""
    return stored.startswith(_FORMAT)


class PictureUnreadable(TryOnError):
    """What is stored cannot be deciphered: damaged, exchanged, or under a key that is not here.

    unknown_secret: the row's key is wrapped under a secret that this process does not have.
    """

    status, code, title = 404, "not_found", "The picture cannot be read any more"

    def __init__(self, *, unknown_secret: bool = False) -> None:
        super().__init__("The picture cannot be read any more. Create a new session.")
        self.unknown_secret = unknown_secret


@dataclass(frozen=True)
class PictureKey:
    """The key of one session's pictures.

    wrapped: as the row keeps it; None where pictures are stored as they are.
    """

    wrapped: bytes | None
    _cipher: AESGCM | None = field(repr=False)

    def seal(self, name: str, picture: bytes) -> bytes:
        """What to store under this storage key, and under no other."""
        if self._cipher is None:
            return picture
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, picture, name.encode())

    def unseal(self, name: str, stored: bytes) -> bytes:
        """The picture again. Raises PictureUnreadable."""
        if self._cipher is None:
            if is_sealed(stored):
                raise PictureUnreadable
            return stored
        if not is_sealed(stored):
            raise PictureUnreadable
        return _decrypt(self._cipher, stored[len(_FORMAT) :], name.encode())


_PLAIN = PictureKey(None, None)


class Vault:
    """Makes and opens the keys of sessions.

    wrapping_keys: 32 bytes each; the first wraps, all of them unwrap.
    encrypt: whether new sessions get a key. Those that have one are read either way.
    """

    def __init__(self, wrapping_keys: Sequence[bytes], *, encrypt: bool) -> None:
        self._wrapping = {_id_of(key): key for key in wrapping_keys}
        self._encrypt = encrypt

    @property
    def ids(self) -> tuple[bytes, ...]:
        """How wrapped keys begin that can be opened here; first those that are wrapped now."""
        return tuple(self._wrapping)

    def new_key(self, session_id: UUID) -> PictureKey:
        """For a new session, as the setting says."""
        return self.another_key(session_id) if self._encrypt else _PLAIN

    def another_key(self, session_id: UUID) -> PictureKey:
        key = secrets.token_bytes(_KEY_BYTES)
        return PictureKey(self._wrap(session_id, key), _cipher(key))

    def key_of(self, session_id: UUID, wrapped: bytes | None) -> PictureKey:
        """The key that a session's row keeps. Raises PictureUnreadable."""
        if wrapped is None:
            return _PLAIN
        return PictureKey(wrapped, _cipher(self._unwrap(session_id, wrapped)))

    def rewrap(self, session_id: UUID, wrapped: bytes) -> bytes:
        """The same key under the present secret. Raises PictureUnreadable."""
        return self._wrap(session_id, self._unwrap(session_id, wrapped))

    def reseal_url(self, session_id: UUID, sealed: bytes) -> bytes:
        """The same URL under the present secret. Raises PictureUnreadable."""
        return self.seal_url(session_id, self.unseal_url(session_id, sealed))

    def seal_url(self, session_id: UUID, url: str) -> bytes:
        """A session's address of a receiver, which may hold secrets; whatever the setting says."""
        return self._wrap(session_id, url.encode(), kind=_URL)

    def unseal_url(self, session_id: UUID, sealed: bytes) -> str:
        """Raises PictureUnreadable."""
        return self._unwrap(session_id, sealed, kind=_URL).decode()

    def _wrap(self, session_id: UUID, key: bytes, *, kind: bytes = b"") -> bytes:
        (id_, wrapping), *_ = self._wrapping.items()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return id_ + nonce + _cipher(wrapping).encrypt(nonce, key, session_id.bytes + kind)

    def _unwrap(self, session_id: UUID, wrapped: bytes, *, kind: bytes = b"") -> bytes:
        wrapping = self._wrapping.get(wrapped[:ID_BYTES])
        if wrapping is None:
            raise PictureUnreadable(unknown_secret=True)
        return _decrypt(_cipher(wrapping), wrapped[ID_BYTES:], session_id.bytes + kind)


def _id_of(wrapping_key: bytes) -> bytes:
    """Names a wrapping key, and tells nothing of it."""
    return hmac.digest(wrapping_key, b"tryonai id", "sha256")[:ID_BYTES]


def _cipher(key: bytes) -> AESGCM:
    # Here, because the library takes 30 ms and 8 MB, and a server that nobody uses yet needs none.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)


def _decrypt(cipher: AESGCM, sealed: bytes, additional: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag  # noqa: PLC0415

    try:
        return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], additional)
    except (InvalidTag, ValueError) as exc:  # ValueError: too short to have a nonce
        raise PictureUnreadable from exc
