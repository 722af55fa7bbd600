"""Settings: environment variables, or `.env` beside the code; the environment wins.

Code receives values from here through `runtime`; it does not reach for settings itself.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import secrets
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
"""Relative paths are resolved against this, never against the working folder."""

MIN_SECRET_CHARACTERS = 16
_SECRET_FILE = "secret_key"  # noqa: S105 - its name


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _from_root(value: Path) -> Path:
    return value if value.is_absolute() else ROOT / value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]

_OBJECT_STORE = re.compile(
    r"(s3|gs|az|cloudinary)://[a-zA-Z0-9][a-zA-Z0-9._-]*(/[a-z0-9][a-z0-9_-]*(\.[a-z0-9_-]+)*)*/?"
)
_ENDPOINT = re.compile(r"https?://[^/?#@\s]+/?")
_RATE = re.compile(r"^\s*\d+\s*(/|per)\s*\d*\s*(second|minute|hour|day)s?\s*$", re.IGNORECASE)


class Settings(BaseSettings):
    model_config = SettingsConfigDict(
        env_file=ROOT / ".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000

    database_url: SecretStr | None = None
    database_pool_size: Annotated[int, Field(ge=1, le=100)] = 10
    data_dir: Path = Path(".data")
    weights_dir: Path = Path("weights")
    storage: str = "uploads"
    storage_timeout: Annotated[float, Field(ge=0.1, le=300)] = 5
    aws_access_key_id: SecretStr | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    aws_region: str | None = None
    aws_endpoint_url: str | None = None
    cloudinary_api_key: SecretStr | None = None
    cloudinary_api_secret: SecretStr | None = None
    cloudinary_api_url: str = "https://api.cloudinary.com"
    encrypt_pictures: bool = True
    secret_key: SecretStr | None = None

    engine: str = "warp"
    engines: Words = ("warp", "mock")
    engines_file: Path | None = None
    allow_noncommercial: bool = False
    allowed_egress: Words = ()
    engine_timeout: Annotated[float, Field(gt=0)] = 60
    engine_memory_mb: Annotated[int, Field(ge=64)] = 2048
    person_parser: Path | None = None
    mock_seconds: Annotated[float, Field(ge=0)] = 3
    mock_failure_rate: Annotated[float, Field(ge=0, le=1)] = 0.1
    mock_faults: Words = ()

    events: Literal["postgres", "redis"] = "postgres"
    task_queue: Literal["inprocess", "celery"] = "inprocess"
    redis_url: SecretStr | None = None
    session_cache: Literal["off", "redis"] = "off"
    session_cache_seconds: Annotated[float, Field(ge=0.1, le=30)] = 3
    worker_concurrency: Annotated[int, Field(ge=0, le=64)] = 1
    lease_seconds: Annotated[float, Field(ge=0.5)] = 30
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    queue_limit: Annotated[int, Field(ge=1)] = 1000

    retention_hours: Annotated[float, Field(gt=0)] = 24
    purge_interval_minutes: Annotated[float, Field(gt=0)] = 60
    receipt_retention_days: Annotated[float, Field(ge=0, le=36_500)] = 100
    consent_required: bool = False

    webhook_secret: SecretStr | None = None
    webhook_allow_private: bool = False
    webhook_delivery: bool = True

    max_file_mb: Annotated[float, Field(gt=0, le=100)] = 10
    max_megapixels: Annotated[float, Field(gt=0, le=100)] = 25

    rate_limit_enabled: bool = True
    rate_limit_create: str = "10/minute"
    rate_limit_other: str = "120/minute"
    trusted_proxies: Words = ()
    cors_origins: Words = ("http://localhost:3000",)

    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    sentry_dsn: SecretStr | None = None
    metrics_token: SecretStr | None = None
    metrics_port: Annotated[int, Field(ge=0, le=65535)] | None = None

    @field_validator("data_dir", "weights_dir", "person_parser", "engines_file")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else _from_root(value)

    @field_validator(
        "log_format", "log_level", "task_queue", "events", "session_cache", mode="before"
    )
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("rate_limit_create", "rate_limit_other")
    @classmethod
    def _readable_rate(cls, value: str) -> str:
        if not _RATE.match(value):
            raise ValueError("this is no rate; write it like 10/minute")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("write it like redis://:password@host:6379/0, or rediss:// for TLS")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            try:
                ipaddress.ip_network(value, strict=False)
            except ValueError as exc:
                raise ValueError("name addresses or networks, like 10.0.0.0/8") from exc
        return values

    @field_validator("storage")
    @classmethod
    def _known_storage(cls, value: str) -> str:
        if "://" in value and not _OBJECT_STORE.fullmatch(value):
            raise ValueError(
                "name a folder, or a store like s3://bucket/prefix (also gs://, az:// and "
                "cloudinary://), its prefix in a-z, 0-9, -, _ and ., without key or secret"
            )
        return value.rstrip("/") if "://" in value else value

    @field_validator("aws_endpoint_url", "cloudinary_api_url")
    @classmethod
    def _endpoint(cls, value: str | None) -> str | None:
        if value is not None and not _ENDPOINT.fullmatch(value):
            raise ValueError("write it like https://host:port, without a path, user or password")
        return value and value.rstrip("/")

    @property
    def storage_folder(self) -> Path | None:
        """Where the pictures lie on a disk of ours; None where they are in an object store."""
        return None if "://" in self.storage else _from_root(Path(self.storage))

    @property
    def max_file_bytes(self) -> int:
        return int(self.max_file_mb * 1024 * 1024)

    @cached_property
    def sqlalchemy_url(self) -> str | None:
        """`DATABASE_URL` with the driver written into it, or None for the embedded database."""
        if self.database_url is None:
            return None
        return with_driver(self.database_url.get_secret_value())

    @property
    def has_secret(self) -> bool:
        """Whether `secrets` would find one, rather than make it."""
        return self.secret_key is not None or (self.data_dir / _SECRET_FILE).exists()

    @cached_property
    def secrets(self) -> tuple[str, ...]:
        """The secrets, the present one first; made once in `DATA_DIR` where none is set."""
        if self.secret_key is not None:
            parts = self.secret_key.get_secret_value().split(",")
            values = tuple(part.strip() for part in parts if part.strip())
        elif self.database_url is not None:
            raise SettingsError(
                "SECRET_KEY is not set. With DATABASE_URL every process needs the same one: "
                "set it to 32 random bytes, as `openssl rand -base64 32` prints them."
            )
        else:
            values = (_kept_secret(self.data_dir),)
        if not values or min(map(len, values)) < MIN_SECRET_CHARACTERS:
            raise SettingsError(
                f"SECRET_KEY is too short: use at least {MIN_SECRET_CHARACTERS} characters."
            )
        return values

    @cached_property
    def webhook_keys(self) -> tuple[bytes, ...]:
        """What webhooks are signed with, the present one first; empty where none is set."""
        if self.webhook_secret is None:
            return ()
        parts = self.webhook_secret.get_secret_value().split(",")
        return tuple(_webhook_key(part.strip()) for part in parts if part.strip())


def load_settings(**overrides: object) -> Settings:
    """Read the settings; raises SettingsError with one sentence for each that is wrong."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as exc:
        # Never the value: it may be a secret.
        lines = [f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in exc.errors()]
        raise SettingsError("; ".join(lines)) from None


def with_driver(url: str) -> str:
    """Any common spelling of a PostgreSQL URL, for psycopg2.

    A bare `postgresql://` means another driver since SQLAlchemy 2.1, and `postgres://` none.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme.split("+")[0].lower() not in ("postgres", "postgresql", "pgsql"):
        raise SettingsError(
            "DATABASE_URL must be a PostgreSQL URL, like postgresql://user:password@host/name."
        )
    from sqlalchemy.engine import make_url  # noqa: PLC0415 - `--help` needs no database
    from sqlalchemy.exc import ArgumentError  # noqa: PLC0415

    url = f"postgresql+psycopg2://{rest}"
    try:
        host = make_url(url).host or ""
    except (ValueError, ArgumentError):
        raise SettingsError("DATABASE_URL cannot be read: is its port a number?") from None
    if "@" in host:  # the end of a password, which would be told as a host's name
        raise SettingsError("DATABASE_URL: write an @ in the user's name or password as %40.")
    return url


def _webhook_key(text: str) -> bytes:
    """Source: Standard Webhooks: `whsec_` and 24 to 64 bytes as base64."""
    with suppress(ValueError):
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
        if text.startswith("whsec_") and 24 <= len(key) <= 64:
            return key
    raise SettingsError(
        "WEBHOOK_SECRET must be whsec_ and 24 to 64 bytes as base64; several, comma-separated. "
        "Leave it empty for one that is derived from SECRET_KEY."
    )


def _kept_secret(folder: Path) -> str:
    """The secret of an installation that was given none: made once, readable by its owner only."""
    file = folder / _SECRET_FILE
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".secret_key.{os.getpid()}.{secrets.token_hex(4)}"
    if not file.exists():
        _write_secret(draft, secrets.token_urlsafe(32))
        try:
            os.link(draft, file)  # fails if another process was first: then its secret counts
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links, as on many a memory stick
            with suppress(FileExistsError):
                _write_secret(file, draft.read_text())
        finally:
            draft.unlink()
    return file.read_text().strip()


def _write_secret(file: Path, value: str) -> None:
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(value)
        out.flush()
        os.fsync(out.fileno())
