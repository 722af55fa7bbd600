"""Looks whether what docs/privacy.md promises of stored data holds now; changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from app import crud
from app.database import Db
from app.errors import ServiceError
from app.models import TryOnSession
from app.services import images
from app.services.cleanup import SWEEP_AGE, batches, keys_of, session_of
from app.services.crypto import PictureUnreadable, Vault
from app.services.erasure import BATCH, INPUTS, OUTPUTS
from app.services.receipts import Issuer, hash_of
from app.services.storage import PictureMissing, Storage

GRACE = timedelta(seconds=75)
"""So long after its time a session may still be there: the promise of the prompt purge."""


class Finding(StrEnum):
    OVERDUE = "past its time"
    INPUTS_OVERDUE = "uploads that should have gone with the end of the work"
    ORPHAN = "file without a session"
    MISSING = "picture missing"
    UNREADABLE = "picture cannot be deciphered"
    METADATA = "picture with more than pixels"
    RECEIPTS_OVERDUE = "receipt past its time"


@dataclass
class Audit:
    """What was looked at, and what was found. oldest_s: how long the oldest byte is past due.

    recent: files without a session that are too young to be told from an upload under way.
    found: each with the hash of its session's id, as a receipt has it, or with nothing.
    """

    sessions: int = 0
    pictures: int = 0
    files: int = 0
    recent: int = 0
    oldest_s: float = 0.0
    found: list[tuple[Finding, str]] = field(default_factory=list)

    def add(self, finding: Finding, session_id: UUID | None) -> None:
        self.found.append((finding, "" if session_id is None else hash_of(session_id)))

    @property
    def counts(self) -> dict[str, int]:
        """Of every kind of finding, those without any too."""
        counted = Counter(finding for finding, _ in self.found)
        return {finding.value: counted[finding] for finding in Finding}


def audit(
    db: Db,
    storage: Storage,
    vault: Vault,
    issuer: Issuer,
    *,
    age: timedelta = SWEEP_AGE,
    on_progress: Callable[[int], None] = lambda _: None,
) -> Audit:
    """Compare rows with files, both ways, and each with its time; open every stored picture.

    age: a younger file may belong to an upload that is under way.
    on_progress: told how many sessions were looked at.
    """
    report = Audit()
    after: UUID | None = None
    while True:
        with db.begin() as tx:
            page = crud.sessions_after(tx, after, limit=BATCH)
        for row, now in page:
            _examine(report, db, storage, vault, row, now)
        report.sessions += len(page)
        on_progress(report.sessions)
        if len(page) < BATCH:
            break
        after = page[-1][0].id
    _examine_files(report, db, storage, older_than=datetime.now(UTC) - age)
    with db.begin() as tx:
        late = crud.overdue_receipts(tx, keep=issuer.keep + timedelta(days=1))
    report.found += [(Finding.RECEIPTS_OVERDUE, "")] * late
    return report


def _examine(
    report: Audit, db: Db, storage: Storage, vault: Vault, row: TryOnSession, now: datetime
) -> None:
    if row.is_over(now):
        late = now - row.expires_at
        report.oldest_s = max(report.oldest_s, late.total_seconds())
        if late > GRACE:
            report.add(Finding.OVERDUE, row.id)
        return
    if row.inputs_are_gone and row.input_image_url and row.finished_at:
        late = now - row.finished_at
        report.oldest_s = max(report.oldest_s, late.total_seconds())
        if late > GRACE:
            report.add(Finding.INPUTS_OVERDUE, row.id)
    for key in keys_of(row):
        report.pictures += 1
        finding = _look_at(storage, vault, row, key)
        # What is erased, or moves on, while we look is no finding.
        if finding is not None and _is_unchanged(db, row):
            report.add(finding, row.id)


def _look_at(storage: Storage, vault: Vault, row: TryOnSession, key: str) -> Finding | None:
    try:
        picture = vault.key_of(row.id, row.wrapped_key).unseal(key, storage.get(key))
    except PictureMissing:
        return Finding.MISSING
    except (PictureUnreadable, ServiceError):
        return Finding.UNREADABLE
    return Finding.METADATA if images.has_more_than_pixels(picture) else None


def _is_unchanged(db: Db, row: TryOnSession) -> bool:
    with db.begin() as tx:
        seen = crud.get_session(tx, row.id)
    return seen is not None and not seen.expired and seen.row.status is row.status


def _examine_files(report: Audit, db: Db, storage: Storage, *, older_than: datetime) -> None:
    before = older_than.timestamp()
    for prefix in (INPUTS, OUTPUTS):
        for objects in batches(storage.objects(prefix), BATCH):
            owners = {stored.key: session_of(stored.key) for stored in objects}
            with db.begin() as tx:
                there = crud.existing(tx, [one for one in owners.values() if one is not None])
            for stored in objects:
                report.files += 1
                owner = owners[stored.key]
                if owner in there and not stored.is_draft:
                    continue
                if stored.modified >= before:
                    report.recent += 1
                    continue
                report.add(Finding.ORPHAN, owner)
                late_s = datetime.now(UTC).timestamp() - stored.modified
                report.oldest_s = max(report.oldest_s, late_s)
