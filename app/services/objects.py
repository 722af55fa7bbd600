"""Pictures in an object store: S3, and through the same library Google's and Azure's.

Every request has a bound, so that a store which is dead or frozen is an answer within seconds. See
docs/adr/0015-object-storage.md.
"""

from __future__ import annotations

import io
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, BinaryIO, cast

import structlog

from app.errors import SettingsError
from app.services.storage import (
    DRAFT,
    Access,
    PictureMissing,
    Reason,
    StoredObject,
    Verb,
    check_key,
    is_key,
    store_failed,
)

try:
    import obstore
    from obstore.exceptions import BaseError
    from obstore.store import from_url
except ImportError as exc:
    raise SettingsError(
        f"STORAGE names an object store, and its client cannot be imported ({exc.name}): "
        "install requirements-cluster.txt."
    ) from exc

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig, S3Config

log = structlog.get_logger(__name__)

AT_ONCE = 1000
"""Keys in one listing and in one deletion: the most that S3 takes."""

DELETE_ROUNDS = 5
CONNECT_S = 2.0
PROBE_S = 2.0
"""A health page is asked every few seconds, by somebody who waits."""

# Waits between tries; how many there may be is bound by time alone.
_FIRST_WAIT = timedelta(seconds=0.1)
_LONGEST_WAIT = timedelta(seconds=1)
_TRIES = 100


class ObjectStorage:
    """Objects in a bucket, below a prefix. Any number of processes and hosts may share it.

    url: `s3://bucket/prefix`, or with gs or az.
    """

    def __init__(self, url: str, access: Access) -> None:
        self._store = _open(url, access, timeout_s=access.timeout_s, again=True)
        self._probe = _open(url, access, timeout_s=min(PROBE_S, access.timeout_s), again=False)
        self._told_of_strangers = False

    def put(self, key: str, data: bytes) -> None:
        check_key(key)
        with _translated("written"):
            # In parts, what a crash leaves would be seen by nobody, and paid for.
            obstore.put(self._store, key, data, use_multipart=False)
        log.info("storage.put", size=len(data))

    def get(self, key: str) -> bytes:
        check_key(key)
        with _translated("read"):
            return bytes(obstore.get(self._store, key).bytes())

    def open(self, key: str) -> tuple[BinaryIO, int]:
        # Whole: a request to the store must not have to last as long as the slowest client.
        data = self.get(key)
        return io.BytesIO(data), len(data)

    def delete_prefix(self, prefix: str) -> int:
        check_key(prefix)
        gone: set[str] = set()  # a session's; by name, because two may delete at once
        for again in range(DELETE_ROUNDS):
            found = False
            for page in self._pages(prefix):
                # An empty one that stays is a folder, as somebody's viewer of buckets draws it.
                keys = [one["path"] for one in page if one["size"] or not again]
                if keys:
                    self._delete(keys)
                    gone.update(keys)
                    found = True
            if not found:
                return len(gone)
        # Somebody writes as fast as we delete, or a key is listed that cannot be named.
        raise store_failed("deleted", "refused")

    def settle(self, *prefixes: str) -> None:
        """The store's answer to a deletion is final."""

    def delete(self, key: str) -> None:
        check_key(key)
        self._delete([key])
        log.info("storage.deleted", objects=1)

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        check_key(prefix)
        for page in self._pages(prefix):
            for one in page:
                if one["size"] and is_key(one["path"]):
                    yield StoredObject(one["path"], one["size"], one["last_modified"].timestamp())
                elif not self._told_of_strangers:
                    self._told_of_strangers = True
                    log.warning("storage.strange_file", prefix=prefix)

    def tidy(self, prefix: str, *, before: float) -> None:
        """There are no folders that could be empty."""

    def exists(self, key: str) -> bool:
        check_key(key)
        with suppress(PictureMissing), _translated("read"):
            obstore.head(self._store, key)
            return True
        return False

    def check(self) -> None:
        # Among the inputs, so that the sweep finds a probe that a crash has left.
        probe = f"inputs/{DRAFT}{secrets.token_hex(8)}"
        with _translated("written"):
            obstore.put(self._probe, probe, b"\0", use_multipart=False)
            obstore.delete(self._probe, [probe])

    def _delete(self, keys: Sequence[str]) -> None:
        # Google's and Azure's stores do not take it that somebody else was first; S3 does.
        with _translated("deleted"), suppress(FileNotFoundError):
            obstore.delete(self._store, keys)

    def _pages(self, prefix: str) -> Iterator[Sequence[ObjectMeta]]:
        with _translated("listed"):
            pages = obstore.list(self._store, prefix, chunk_size=AT_ONCE)
        while True:
            with _translated("listed"):
                page = next(pages, None)
            if page is None:
                return
            yield page


# Where it finds them: S3's are settings of ours, the others the library reads by itself.
_CREDENTIALS: Mapping[str, str] = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}


def _open(url: str, access: Access, *, timeout_s: float, again: bool) -> ObjectStore:
    client: ClientConfig = {
        "timeout": timedelta(seconds=timeout_s),
        "connect_timeout": timedelta(seconds=min(CONNECT_S, timeout_s)),
        # Only where the operator has written it into the address.
        "allow_http": (access.endpoint or "").startswith("http://"),
    }
    retry: RetryConfig = {
        "max_retries": _TRIES if again else 0,
        "retry_timeout": timedelta(seconds=timeout_s),
        "backoff": {"init_backoff": _FIRST_WAIT, "max_backoff": _LONGEST_WAIT, "base": 2},
    }
    config = _of_s3(access) if url.startswith("s3://") else None
    try:
        return from_url(url, config=config, client_options=client, retry_config=retry)
    except (BaseError, ValueError):
        # Not its words: they may hold a part of the credentials.
        variables = _CREDENTIALS[url.partition("://")[0]]
        raise SettingsError(
            f"STORAGE cannot be opened: look at its address, and at {variables} in the environment."
        ) from None


def _of_s3(access: Access) -> S3Config:
    given = {
        "endpoint": access.endpoint,
        "region": access.region,
        "access_key_id": access.key_id,
        "secret_access_key": access.secret,
        "session_token": access.session_token,
    }
    return cast("S3Config", {name: value for name, value in given.items() if value})


_used_in: int | None = None


def _refuse_after_fork() -> None:
    """The library's threads stay behind when a process forks: a call would wait for ever."""
    global _used_in  # noqa: PLW0603 - those threads are the process's, too
    if _used_in is None:
        _used_in = os.getpid()
    elif _used_in != os.getpid():
        raise RuntimeError("the object store was used before this process was forked")


@contextmanager
def _translated(verb: Verb) -> Iterator[None]:
    """Say in our words what the store said: its own hold keys and addresses."""
    _refuse_after_fork()
    try:
        yield
    except (BaseError, OSError) as exc:
        reason, status = _reason_of(exc)
        if verb == "read" and status == 404 and reason != "no_bucket":
            raise PictureMissing from exc
        raise store_failed(verb, reason, status=status) from None


_STATUS = re.compile(r"status code: (\d{3})")
_FULL = re.compile(r"<Code>(QuotaExceeded|InsufficientStorage|[A-Za-z]*StorageFull)</Code>")


def _reason_of(exc: BaseException) -> tuple[Reason, int | None]:
    """Why, and the store's HTTP status where it gave one.

    By the library's text: its classes do not tell a dead server from an answer, nor, for a listing,
    a refusal from a fault.
    """
    text = str(exc).partition("\n\nDebug source:")[0]
    found = _STATUS.search(text)
    status = int(found[1]) if found else 404 if isinstance(exc, FileNotFoundError) else None
    if "NoSuchBucket" in text:
        return "no_bucket", status
    if status == 507 or _FULL.search(text):
        return "full", status
    # Credentials that are asked for elsewhere: without any, no request is made.
    if status in (401, 403) or "169.254." in text or "redential" in text:
        return "denied", status
    return ("unavailable" if status is None else "refused"), status
