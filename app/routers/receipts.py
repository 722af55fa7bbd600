"""Receipts of erasures, and the public keys to check them with."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from app import errors
from app.deps import Rt
from app.errors import ReceiptNotFound
from app.problems import documented
from app.schemas import DeletionReceipt, ReceiptKeys
from app.services import receipts, sessions

router = APIRouter(tags=["receipts"])


@router.get(
    "/api/tryon/receipts/{receipt_id}",
    response_model=DeletionReceipt,
    responses=documented(errors.ReceiptNotFound, errors.RateLimited, errors.DatabaseUnavailable),
)
def read_receipt(receipt_id: UUID, rt: Rt) -> Response:
    """A kept receipt: by its own id, or by that of the session which was erased.

    Needs no token: it holds nothing personal, and nobody guesses the id.
    """
    found = sessions.find_receipt(rt.reads, rt.issuer, receipt_id)
    if found is None:
        raise ReceiptNotFound(
            "No receipt is kept under this id: nothing was erased under it, or too long ago."
        )
    return JSONResponse(found, headers={"Cache-Control": "no-store"})


@router.get("/.well-known/tryonai-receipt-keys.json", response_model=ReceiptKeys)
def receipt_keys(rt: Rt) -> Response:
    """The public keys: a JWK set of Ed25519 keys, the one that signs now first."""
    keys = receipts.jwk_set(rt.issuer.public_keys)
    return JSONResponse(keys, headers={"Cache-Control": "public, max-age=300"})
