"""`verify-receipt`: needs no server and no database, only the receipt and the keys."""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path

from app.config import Settings
from app.services import receipts
from app.signing import Keyring


def verify_receipt(settings: Settings, options: argparse.Namespace) -> int:
    """Exit status 1 when one is not valid, 2 when the receipts or the keys cannot be read."""
    try:
        text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text("utf-8")
        found = receipts.read(text)
        keys = _receipt_keys(settings, options.keys)
    except (OSError, UnicodeDecodeError, receipts.ReceiptInvalid) as exc:
        print(f"tryonai: {getattr(exc, 'detail', exc)}", file=sys.stderr)
        return 2
    valid = 0
    for receipt in found:
        try:
            checked = receipts.check(receipt, keys)
            if options.session is not None:
                receipts.check_session(checked, options.session)
        except receipts.ReceiptInvalid as exc:
            print(f"NOT VALID. {exc.detail}")
        else:
            print(receipts.tell(checked))
            valid += 1
    if not found:
        print("There is no receipt in it.")
    return 0 if found and valid == len(found) else 1


def _receipt_keys(settings: Settings, file: Path | None) -> list[bytes]:
    if file is not None:
        return receipts.read_jwk_set(file.read_text("utf-8"))
    if not settings.has_secret:
        raise receipts.ReceiptInvalid("This installation has no keys: name a key set with --keys.")
    keep = timedelta(days=settings.receipt_retention_days)
    return receipts.Issuer(Keyring(settings.secrets).receipt_seeds, keep=keep).public_keys
