"""Pictures at Cloudinary: as private raw files, which it neither looks into nor delivers.

Only ever tried against a replay of its published API, never against the service. Why it is so, and
what it costs: docs/adr/0024-cloudinary.md.

Source: Cloudinary's Upload API and Admin API references and "Generating authentication signatures",
as of November 2026.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import ssl
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from copy import copy
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx
import structlog

from app.services.storage import (
    DRAFT,
    PictureMissing,
    Reason,
    StoredObject,
    Verb,
    check_key,
    is_key,
    store_failed,
)

log = structlog.get_logger(__name__)

PAGE = 500
"""Files in one listing: the most that it takes."""

DELETE_ROUNDS = 20
"""Each takes up to 1,000 files; a session has four."""

CONNECT_S = 2.0
PROBE_S = 2.0

# Waits between tries.
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 1.0

_FILES = "resources/raw/private"
_REASONS: Mapping[int, Reason] = {
    401: "denied",
    403: "denied",
    420: "throttled",
    429: "throttled",
    507: "full",
}


@dataclass(frozen=True)
class Account:
    """api_url: where its API is; in some regions another one than api.cloudinary.com."""

    key: str
    api_url: str
    secret: str = field(repr=False)


@dataclass(frozen=True)
class _Answer:
    """status: None where there was none in time."""

    status: int | None
    body: bytes = b""

    @property
    def json(self) -> dict[str, Any]:
        """Empty where there is none."""
        with suppress(ValueError):
            found = json.loads(self.body)
            if isinstance(found, dict):
                return found
        return {}

    @property
    def is_missing(self) -> bool:
        """By its words: a bare 404 may be that of a proxy, or of an address that is wrong."""
        return self.status == 404 and b"Resource not found" in self.body

    def checked(self, verb: Verb) -> _Answer:
        """Raises StorageUnavailable or StorageFull unless it is a success."""
        if self.status == 200:
            return self
        unknown: Reason = "unavailable" if self.status is None else "refused"
        raise store_failed(verb, _REASONS.get(self.status or 0, unknown), status=self.status)


class CloudinaryStorage:
    """Objects in one cloud, below a prefix. Any number of processes and hosts may share it.

    url: `cloudinary://cloud/prefix`. timeout_s: as that of `storage.Access`.
    """

    def __init__(self, url: str, account: Account, *, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._above = f"{parts.path.strip('/')}/".lstrip("/")
        self._api = _Api(account, parts.netloc, timeout_s=timeout_s)
        self._probe = self._api.hurried(min(PROBE_S, timeout_s))
        self._told_of_strangers = False

    def put(self, key: str, data: bytes) -> None:
        self._upload(self._api, key, data)
        log.info("storage.put", size=len(data))

    def get(self, key: str) -> bytes:
        # From the API and not the CDN: what is fetched here leaves no copy on its way.
        signed = self._api.signed(public_id=self._id(key), type="private")
        answer = self._api.ask("GET", "raw/download", params=signed)
        if answer.is_missing:
            raise PictureMissing
        return answer.checked("read").body

    def open(self, key: str) -> tuple[BinaryIO, int]:
        # Whole: a request to the store must not have to last as long as the slowest client.
        data = self.get(key)
        return io.BytesIO(data), len(data)

    def delete_prefix(self, prefix: str) -> int:
        form = {"prefix": f"{self._id(prefix)}/", "invalidate": "true"}
        gone: int = 0
        for _ in range(DELETE_ROUNDS):
            said = self._api.ask("DELETE", _FILES, form=form).checked("deleted").json
            deleted = said.get("deleted")
            if not isinstance(deleted, dict):
                break
            gone += list(deleted.values()).count("deleted")
            if not said.get("partial"):
                return gone
            if said.get("next_cursor"):
                form["next_cursor"] = str(said["next_cursor"])
        raise store_failed("deleted", "refused")

    def settle(self, *prefixes: str) -> None:
        """Its answer to a deletion is final."""

    def delete(self, key: str) -> None:
        self._destroy(self._api, key)
        log.info("storage.deleted", objects=1)

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        params = {"prefix": f"{self._id(prefix)}/", "max_results": str(PAGE)}
        while True:
            said = self._api.ask("GET", _FILES, params=params).checked("listed").json
            for stored in self._read_page(said):
                # Without bytes it is what a backup left behind of one that was deleted.
                if stored.size and is_key(stored.key):
                    yield stored
                elif not self._told_of_strangers:
                    self._told_of_strangers = True
                    log.warning("storage.strange_file", prefix=prefix)
            if not said.get("next_cursor"):
                return
            params["next_cursor"] = str(said["next_cursor"])

    def tidy(self, prefix: str, *, before: float) -> None:
        """There are no folders that could be empty."""

    def exists(self, key: str) -> bool:
        details = self._details(key)
        return details is not None and not details.get("placeholder")

    def check(self) -> None:
        self._try_out(self._probe)

    def faults(self) -> list[str]:
        """What of it would break a promise, a sentence each. Raises StorageUnavailable.

        No call tells whether backups are kept. But of a file that was deleted and is in the backup
        its details stay, as a placeholder.
        """
        if self._details(self._try_out(self._api)) is None:
            return []
        return [
            "It keeps what was deleted in its backup, although each upload asks it not to: turn "
            "automatic backup off in its console, and delete there what the backup has."
        ]

    def _try_out(self, api: _Api) -> str:
        # Among the inputs, so that the sweep finds a probe that a crash has left.
        probe = f"inputs/{DRAFT}{secrets.token_hex(8)}"
        self._upload(api, probe, b"\0")
        self._destroy(api, probe)
        return probe

    def _upload(self, api: _Api, key: str, data: bytes) -> None:
        signed = api.signed(
            public_id=self._id(key),
            type="private",
            overwrite="true",
            invalidate="true",
            backup="false",
        )
        said = api.ask("POST", "raw/upload", form=signed, file=data).checked("written").json
        # An upload preset of the account may give a file another name, or change what is in it.
        if (said.get("public_id"), said.get("bytes")) != (signed["public_id"], len(data)):
            raise store_failed("written", "refused")

    def _destroy(self, api: _Api, key: str) -> None:
        signed = api.signed(public_id=self._id(key), type="private", invalidate="true")
        said = api.ask("POST", "raw/destroy", form=signed).checked("deleted").json
        if said.get("result") not in ("ok", "not found"):
            raise store_failed("deleted", "refused")

    def _details(self, key: str) -> dict[str, Any] | None:
        answer = self._api.ask("GET", f"{_FILES}/{self._id(key)}")
        return None if answer.is_missing else answer.checked("read").json

    def _read_page(self, said: Mapping[str, Any]) -> list[StoredObject]:
        try:
            return [
                StoredObject(
                    str(one["public_id"]).removeprefix(self._above),
                    int(one["bytes"]),
                    # The second of the upload. `created_at` stays when a file is written anew.
                    float(one["version"]),
                )
                for one in said["resources"]
            ]
        except (KeyError, TypeError, ValueError):
            raise store_failed("listed", "refused") from None

    def _id(self, key: str) -> str:
        check_key(key)
        return self._above + key


class _Api:
    """Its requests, each within `timeout_s`, and tried again for as long where one fails."""

    def __init__(self, account: Account, cloud: str, *, timeout_s: float) -> None:
        self._account = account
        self._url = f"{account.api_url}/v1_1/{cloud}"
        self._timeout_s = timeout_s
        self._again = True
        self._open()

    def hurried(self, timeout_s: float) -> _Api:
        """The same, for requests that are tried once."""
        other = copy(self)
        other._timeout_s, other._again = timeout_s, False
        return other

    def signed(self, **params: str) -> dict[str, str]:
        """Good for an hour. A digest of the parameters in their order, and the secret."""
        params["timestamp"] = str(int(time.time()))
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        digest = hashlib.sha256((text + self._account.secret).encode()).hexdigest()
        return {**params, "api_key": self._account.key, "signature": digest}

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        file: bytes | None = None,
    ) -> _Answer:
        """Raises nothing. What is asked here may be done twice: a file is written with one content,
        and what is deleted is never written anew."""
        began, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            answer = self._ask_once(method, path, params=params, form=form, file=file)
            failed = answer.status is None or answer.status in (500, 502, 503, 504)
            waited_s = time.monotonic() - began + wait_s
            if not failed or not self._again or waited_s >= self._timeout_s:
                return answer
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _ask_once(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None,
        form: Mapping[str, str] | None,
        file: bytes | None,
    ) -> _Answer:
        deadline = time.monotonic() + self._timeout_s
        client = self._own_client()
        request = client.build_request(
            method,
            f"{self._url}/{path}",
            params=params,
            data=form,
            files=None if file is None else {"file": ("picture", _Timed(file, deadline))},
            timeout=httpx.Timeout(self._timeout_s, connect=min(CONNECT_S, self._timeout_s)),
        )
        # What is signed needs no password beside it.
        is_signed = "signature" in (params or form or {})
        login = None if is_signed else httpx.BasicAuth(self._account.key, self._account.secret)
        try:
            with closing(client.send(request, stream=True, auth=login)) as answer:
                body = bytearray()
                for part in answer.iter_bytes():
                    body += part
                    _check_time(deadline)
        except httpx.RequestError:
            # Not its words: they may hold a signed address.
            return _Answer(None)
        return _Answer(answer.status_code, bytes(body))

    def _own_client(self) -> httpx.Client:
        """A new one after a fork: on one connection two would get each other's answers."""
        if self._opened_in != os.getpid():
            self._open()
        return self._client

    def _open(self) -> None:
        self._client, self._opened_in = httpx.Client(verify=_trusting()), os.getpid()
        weakref.finalize(self, self._client.close)


@cache
def _trusting() -> ssl.SSLContext:
    """Whom every client trusts: read once, because it takes 30 ms of CPU."""
    return httpx.create_ssl_context()


class _Timed(io.BytesIO):
    """A body that is sent until a deadline: httpx bounds each piece alone, and there are many."""

    def __init__(self, data: bytes, deadline: float) -> None:
        super().__init__(data)
        self._deadline = deadline

    def read(self, size: int | None = -1) -> bytes:
        _check_time(self._deadline)
        return super().read(size)


def _check_time(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise httpx.TimeoutException("too slow as a whole")
