"""The bucket behind `s3://`: made and looked at for the operator; no request of a shopper does.

What runs is `services/objects`; this needs calls that its library does not have.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from app.errors import SettingsError, StorageUnavailable
from app.services.storage import Access

RULE = "tryonai-backstop"
"""The name of our rule of life cycle; what else a bucket has of rules is somebody else's."""

BACKSTOP = timedelta(days=1)
"""Beyond the longest retention: the rule must never be quicker than our own purge."""

PAGES = 10
"""Of a thousand versions each, that are looked through for an old one."""


@dataclass
class Work:
    """What was done to a bucket, a sentence each; left: what an operator still has to do."""

    done: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)


class Bucket:
    """One bucket of an S3 server.

    url: `s3://bucket/prefix`. retention: the longest that a session may live.
    """

    def __init__(self, url: str, access: Access, *, retention: timedelta) -> None:
        parts = urlsplit(url)
        if parts.scheme != "s3":
            raise SettingsError("Only the bucket of an s3:// address can be made and looked at.")
        self.name = parts.netloc
        self._prefix = f"{parts.path.strip('/')}/".lstrip("/")
        self._region = access.region
        self._days = math.ceil((retention + BACKSTOP) / timedelta(days=1))
        self._client = _client(access)
        weakref.finalize(self, self._client.close)

    def make_ready(self) -> Work:
        """Make it if it is absent, suspend versioning, set the rule. May be run again."""
        work = Work()
        with _translated():
            self._create(work)
            self._suspend_versioning(work)
            self._set_rule(work)
        return work

    def faults(self) -> list[str]:
        """What of it would break a promise, a sentence each. Raises StorageUnavailable."""
        found: list[str] = []
        with _translated():
            if self._versioning() == "Enabled":
                found.append("Versioning is on, so a deleted picture stays as an old version.")
            elif self._has_old_versions():
                found.append("It still has old versions of deleted pictures.")
            days = self._days_of_rule(self._rules())
            if days is None:
                found.append("The rule that deletes what our purge has left is missing.")
            elif days < self._days:
                found.append(f"Its rule deletes after {days} d, before the retention is over.")
        return found

    def _create(self, work: Work) -> None:
        if self._is_there():
            work.done.append(f"The bucket {self.name} is there.")
            return
        where = (
            {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            if self._region not in (None, "us-east-1")  # which S3 does not take for a place
            else {}
        )
        self._client.create_bucket(Bucket=self.name, **where)
        work.done.append(f"The bucket {self.name} was made.")

    def _is_there(self) -> bool:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            self._client.head_bucket(Bucket=self.name)
        except ClientError as exc:
            if exc.response["Error"]["Code"] in ("404", "NoSuchBucket"):
                return False
            raise
        return True

    def _suspend_versioning(self, work: Work) -> None:
        if self._versioning() == "Enabled":
            self._client.put_bucket_versioning(
                Bucket=self.name, VersioningConfiguration={"Status": "Suspended"}
            )
            work.done.append("Versioning was on and is suspended now.")
        else:
            work.done.append("Versioning is off.")
        if self._has_old_versions():
            work.left.append(
                "There are old versions of deleted pictures. The rule deletes them within two "
                "days; where that is too late, delete them by hand."
            )

    def _set_rule(self, work: Work) -> None:
        rules = self._rules()
        if self._days_of_rule(rules) == self._days:
            work.done.append(f"The rule {RULE} deletes what is {self._days} d old.")
            return
        ours = {
            "ID": RULE,
            "Status": "Enabled",
            "Filter": {"Prefix": self._prefix},
            "Expiration": {"Days": self._days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": 1},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        }
        others = [rule for rule in rules if rule.get("ID") != RULE]
        self._client.put_bucket_lifecycle_configuration(
            Bucket=self.name, LifecycleConfiguration={"Rules": [*others, ours]}
        )
        work.done.append(f"The rule {RULE} was set: it deletes what is {self._days} d old.")

    def _versioning(self) -> str | None:
        status: str | None = self._client.get_bucket_versioning(Bucket=self.name).get("Status")
        return status

    def _has_old_versions(self) -> bool:
        """A marker of a deletion is none: it holds no picture, and a suspended bucket gets many."""
        pages = self._client.get_paginator("list_object_versions").paginate(
            Bucket=self.name, Prefix=self._prefix
        )
        return any(
            not one["IsLatest"] for page in islice(pages, PAGES) for one in page.get("Versions", [])
        )

    def _rules(self) -> list[dict[str, Any]]:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            answer = self._client.get_bucket_lifecycle_configuration(Bucket=self.name)
        except ClientError as exc:
            if exc.response["Error"]["Code"] == "NoSuchLifecycleConfiguration":
                return []
            raise
        rules: list[dict[str, Any]] = answer["Rules"]
        return rules

    def _days_of_rule(self, rules: list[dict[str, Any]]) -> int | None:
        for rule in rules:
            prefix = rule.get("Filter", {}).get("Prefix", rule.get("Prefix", ""))
            if rule.get("ID") == RULE and rule["Status"] == "Enabled" and prefix == self._prefix:
                days: int | None = rule.get("Expiration", {}).get("Days")
                return days
        return None


def _client(access: Access) -> Any:
    try:
        import boto3  # noqa: PLC0415 - 0.4 s and 31 MB, for two commands
        from botocore.config import Config  # noqa: PLC0415
    except ImportError as exc:
        raise SettingsError(
            "Looking at a bucket needs boto3: install requirements-cluster.txt."
        ) from exc
    with _translated():
        return boto3.client(
            "s3",
            endpoint_url=access.endpoint,
            region_name=access.region or "us-east-1",
            aws_access_key_id=access.key_id,
            aws_secret_access_key=access.secret,
            aws_session_token=access.session_token,
            config=Config(
                connect_timeout=min(2.0, access.timeout_s),
                read_timeout=access.timeout_s,
                retries={"total_max_attempts": 2},
                s3={"addressing_style": "path"} if access.endpoint else None,
            ),
        )


@contextmanager
def _translated() -> Iterator[None]:
    from botocore.exceptions import (  # noqa: PLC0415
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        PartialCredentialsError,
    )

    try:
        yield
    except (NoCredentialsError, PartialCredentialsError):
        raise StorageUnavailable(
            "There are no credentials for the bucket: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or give this host a role."
        ) from None
    except ClientError as exc:
        code = exc.response.get("Error", {}).get("Code", "?")
        raise StorageUnavailable(
            f"The store of the bucket refused {exc.operation_name} ({code})."
        ) from None
    except (BotoCoreError, ValueError) as exc:
        raise StorageUnavailable(
            f"The store of the bucket could not be asked ({type(exc).__name__})."
        ) from None
