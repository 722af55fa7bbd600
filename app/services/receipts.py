"""Receipts of erasures: made, signed, and checked. See docs/adr/0010-deletion-receipts.md.

A receipt is `{id, statement, key_id, signature}`: Ed25519 (RFC 8032) over the RFC 8785 JSON of all
but `signature`, which is base64url without padding. It has one spelling: what says the same in
other words is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict
from uuid import UUID, uuid4

import rfc8785
from pydantic import ValidationError

from app.errors import TryOnError
from app.schemas import DeletionReceipt, rfc3339
from app.services.crypto import is_sealed

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

TYPE = "tryonai.deletion"
VERSION = 1

_DRAFT = ".draft-"


class Reason(StrEnum):
    """Why a session was erased: its owner asked, its time was over, or it was incomplete."""

    REQUEST = "request"
    EXPIRY = "expiry"
    REPAIR = "repair"


class Written(TypedDict):
    """One stored object. sha256: of what is stored; None where that is no ciphertext."""

    size: int
    sha256: str | None


Stored: TypeAlias = Mapping[str, Written]
"""Objects by their storage keys."""

Document: TypeAlias = dict[str, Any]
"""A receipt as JSON has it."""


class ReceiptInvalid(TryOnError):
    """It proves nothing: malformed, changed, or signed by somebody else."""

    title = "The receipt is not valid"


def written(stored: bytes) -> Written:
    """What a row remembers of an object, so that its receipt can tell of it.

    There is no digest of a picture in clear: whoever has the picture could recognise it by that.
    """
    digest = hashlib.sha256(stored).hexdigest() if is_sealed(stored) else None
    return Written(size=len(stored), sha256=digest)


def hash_of(session_id: UUID) -> str:
    """SHA-256, in hex, of the 36 characters of the id, in lower case as the API writes it."""
    return hashlib.sha256(str(session_id).encode()).hexdigest()


class Issuer:
    """Signs receipts.

    seeds: 32 bytes for each secret; the first signs, all of their public keys are published.
    keep: how long receipts are kept; zero keeps none.
    """

    def __init__(self, seeds: Sequence[bytes], *, keep: timedelta) -> None:
        self._seeds = seeds
        self.keep = keep

    def issue(
        self, session_id: UUID, *, reason: str, erased_at: datetime, stored: Stored, others: int
    ) -> Document:
        """The receipt of a session of which nothing is left.

        others: how many more objects went with it, of which no more is known.
        """
        pictures = [{"role": _role(key), **stored[key]} for key in sorted(stored)]
        statement = {
            "type": TYPE,
            "version": VERSION,
            "session_sha256": hash_of(session_id),
            "reason": reason,
            "erased_at": rfc3339(erased_at),
            "pictures": pictures,
            "others": others,
        }
        document: Document = {"id": str(uuid4()), "statement": statement, "key_id": self._key_id}
        # For plain ASCII and integers the RFC's JSON is this one, at a tenth of the CPU.
        plain = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        signature = self._key.sign(plain)
        return document | {"signature": _to_base64url(signature)}

    @cached_property
    def public_keys(self) -> list[bytes]:
        """32 bytes each; first the one with which receipts are signed now."""
        return [_private_key(seed).public_key().public_bytes_raw() for seed in self._seeds]

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return _private_key(self._seeds[0])

    @cached_property
    def _key_id(self) -> str:
        return key_id(self.public_keys[0])


def message(receipt: Mapping[str, Any]) -> bytes:
    """What is signed."""
    return rfc8785.dumps({name: part for name, part in receipt.items() if name != "signature"})


def key_id(public_key: bytes) -> str:
    """The JWK thumbprint. Source: RFC 7638 with RFC 8037, appendix A.3."""
    required = {"crv": "Ed25519", "kty": "OKP", "x": _to_base64url(public_key)}
    return _to_base64url(hashlib.sha256(rfc8785.dumps(required)).digest())


def jwk_set(public_keys: Sequence[bytes]) -> dict[str, list[dict[str, str]]]:
    """Source: RFC 7517, section 5; RFC 8037, section 2."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "x": _to_base64url(key),
                "kid": key_id(key),
                "use": "sig",
            }
            for key in public_keys
        ]
    }


def read_jwk_set(text: str) -> list[bytes]:
    """The Ed25519 keys of a JWK set; others are passed over. Raises ReceiptInvalid."""
    try:
        keys = _read_json(text)["keys"]
        ours = [key["x"] for key in keys if (key["kty"], key.get("crv")) == ("OKP", "Ed25519")]
        return [_from_base64url(x, size=32) for x in ours]
    except (KeyError, TypeError, AttributeError, ReceiptInvalid) as exc:
        raise ReceiptInvalid("The keys are no JWK set with Ed25519 keys.") from exc


def read(text: str) -> list[Any]:
    """The receipts of a file: one, or the `items` of an answer. Raises ReceiptInvalid."""
    content = _read_json(text)
    if isinstance(content, dict) and content.keys() == {"items"}:
        content = content["items"]
    return content if isinstance(content, list) else [content]


def check(receipt: Any, public_keys: Sequence[bytes]) -> DeletionReceipt:
    """The receipt, if one of these keys has signed exactly this. Raises ReceiptInvalid."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - see _private_key
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    try:
        found = DeletionReceipt.model_validate(receipt)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise ReceiptInvalid(f"This is no receipt: {place}: {first['msg']}.") from None
    key = {key_id(one): one for one in public_keys}.get(found.key_id)
    if key is None:
        raise ReceiptInvalid("It is signed under a key that is not among the keys at hand.")
    signature = _from_base64url(found.signature, size=64)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message(receipt))
    except InvalidSignature:
        raise ReceiptInvalid("The signature does not fit: something was changed.") from None
    return found


def check_session(receipt: DeletionReceipt, session_id: str) -> None:
    """Raises ReceiptInvalid where it is of another session."""
    digest = hashlib.sha256(session_id.strip().lower().encode()).hexdigest()
    if digest != receipt.statement.session_sha256:
        raise ReceiptInvalid("It is of another session.")


def tell(receipt: DeletionReceipt) -> str:
    """What a valid receipt says, and how far that goes."""
    said = receipt.statement
    pictures = [f"  {one.role}, {one.size:,} bytes, {one.sha256}" for one in said.pictures]
    others = [f"  and {said.others} more files"] if said.others else []
    return "\n".join(
        [
            f"VALID. Who holds the key {receipt.key_id} states: at {said.erased_at} nothing was",
            f"left in its place of the session whose id has the SHA-256 {said.session_sha256};",
            f"why: {said.reason}. Erased with its row and its key:",
            *(pictures or ["  no picture"]),
            *others,
            "It proves that this was stated and that nobody has changed it, not that nobody made a",
            "copy before. Whose key it is, tells the address that you have the key set from.",
        ]
    )


def _role(key: str) -> str:
    folder, _, rest = key.partition("/")
    name = rest.rpartition("/")[2]
    if name.startswith(_DRAFT):
        return "draft"
    if folder == "outputs":
        return "output"
    return "garment" if name.startswith("garment.") else "input"


def _read_json(text: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ReceiptInvalid("A member stands there twice.")
        return found

    def canonical(digits: str) -> int:
        if digits == "-0":
            raise ReceiptInvalid("A number is not as it has to be: -0.")
        return int(digits)

    try:
        return json.loads(text, object_pairs_hook=once, parse_int=canonical)
    except (ValueError, RecursionError):
        raise ReceiptInvalid("This is no JSON.") from None


def _to_base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64url(text: Any, *, size: int) -> bytes:
    """Only as it is written by `_to_base64url`: the last character has bits that say nothing."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars="-_", validate=True)
    except (binascii.Error, ValueError, TypeError):
        data = b""
    if len(data) != size or _to_base64url(data) != text:
        raise ReceiptInvalid(f"The base64url of {size} bytes is not as it has to be.")
    return data


def _private_key(seed: bytes) -> Ed25519PrivateKey:
    # Here, because the library takes 30 ms and 8 MB to import.
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PrivateKey,
    )

    return Ed25519PrivateKey.from_private_bytes(seed)
