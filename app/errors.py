"""Everything raised on purpose.

TryOnError
├── RequestError      400–429: the caller can change something
├── ServiceError      503, 507: a part is away or full; the same request may work later
├── EngineError       a run failed: code and sentence end up in the session's row
└── SettingsError     a setting must change before anything can start

Codes are public (docs/errors.md): add, never rename. `detail` is one sentence for the caller that
says what to change, with the numbers; it holds no path, key, token or stack trace.
"""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType


class TryOnError(Exception):
    """The root. `status`, `code` and `title` belong to the class, `detail` to the moment."""

    status = 500
    code = "internal_error"
    title = "Something went wrong on the server"

    def __init__(self, detail: str = "") -> None:
        self.detail = detail or f"{self.title}."
        super().__init__(self.detail)

    @property
    def notes(self) -> tuple[str, ...]:
        """What `add_note` has added: paths and programs' own words, for the operator alone."""
        return tuple(getattr(self, "__notes__", ()))


class SettingsError(TryOnError):
    title = "A setting must be changed"


# --- what the caller can change -------------------------------------------------------------


class RequestError(TryOnError):
    """`pointer` names the form field that is meant, where there is one."""

    status, code, title = 400, "malformed_request", "The request could not be read"

    def __init__(self, detail: str = "", *, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.pointer = pointer


class MalformedRequest(RequestError):
    pass


class TooManyParts(RequestError):
    status, code, title = 400, "too_many_parts", "The form has too many parts"


class UserTokenRequired(RequestError):
    status, code, title = 401, "user_token_required", "The owner's token is missing"


class NotFound(RequestError):
    status, code, title = 404, "not_found", "There is nothing at this address"


class SessionNotFound(RequestError):
    status, code, title = 404, "session_not_found", "There is no such session"


class ReceiptNotFound(RequestError):
    status, code, title = 404, "receipt_not_found", "There is no such receipt"


class MethodNotAllowed(RequestError):
    status, code, title = 405, "method_not_allowed", "This address does not take that method"


class NotReady(RequestError):
    status, code, title = 409, "not_ready", "There is no picture yet"


class IdempotencyInProgress(RequestError):
    status, code, title = 409, "idempotency_in_progress", "The first create of this key still runs"
    retry_after_s = 1


class SessionExpired(RequestError):
    status, code, title = 410, "session_expired", "The session has expired"


class FileTooLarge(RequestError):
    status, code, title = 413, "file_too_large", "A file is too large"


class BodyTooLarge(RequestError):
    status, code, title = 413, "body_too_large", "The request is too large"


class UnsupportedMediaType(RequestError):
    status, code, title = 415, "unsupported_media_type", "This kind of content is not taken"


class ValidationFailed(RequestError):
    status, code, title = 422, "validation_failed", "A field has a value that is not taken"


class UserTokenInvalid(RequestError):
    status, code, title = 422, "user_token_invalid", "The owner's token is not well formed"


class FileMissing(RequestError):
    status, code, title = 422, "file_missing", "A picture is missing"


class FileEmpty(RequestError):
    status, code, title = 422, "file_empty", "A file is empty"


class ImageInvalid(RequestError):
    status, code, title = 422, "image_invalid", "A picture could not be read"


class ImageDimensions(RequestError):
    status, code, title = 422, "image_dimensions", "A picture has too many or too few pixels"


class EngineUnknown(RequestError):
    status, code, title = 422, "engine_unknown", "There is no such engine here"


class GarmentUnknown(RequestError):
    status, code, title = 422, "garment_unknown", "There is no such garment in the catalogue"


class ConsentRequired(RequestError):
    status, code, title = 422, "consent_required", "The shopper's consent is missing"


class IdempotencyMismatch(RequestError):
    status, code, title = 422, "idempotency_mismatch", "This key was used for another content"


class EgressNotAllowed(RequestError):
    status, code, title = 422, "egress_not_allowed", "Photos may not be sent to that engine"


class WebhookRefused(RequestError):
    status, code, title = 422, "webhook_refused", "This receiver of webhooks is not called"


class RateLimited(RequestError):
    status, code, title = 429, "rate_limited", "Too many requests"

    def __init__(self, detail: str = "", *, retry_after_s: int = 60) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


# --- what the service lacks for the moment --------------------------------------------------


class ServiceError(TryOnError):
    """`retry_after_s` is what `Retry-After` says, in whole seconds."""

    status, code, title = 503, "unavailable", "The service is not available for a moment"
    retry_after_s = 5


class DatabaseUnavailable(ServiceError):
    pass


class StorageUnavailable(ServiceError):
    pass


class StorageFull(ServiceError):
    status, code, title = 507, "storage_full", "There is no room left to store the pictures"
    retry_after_s = 60


class EngineUnavailable(ServiceError):
    status, code, title = 503, "engine_unavailable", "The engine is not available"
    retry_after_s = 30


class QueueFull(ServiceError):
    status, code, title = 503, "queue_full", "Too many sessions are waiting"
    retry_after_s = 30


# --- how a session fails --------------------------------------------------------------------


class FailureCode(StrEnum):
    """Why a session failed; `SENTENCES` says it to the shopper."""

    NO_PERSON = "no_person"
    SEVERAL_PEOPLE = "several_people"
    PERSON_FROM_BEHIND = "person_from_behind"
    BODY_OUT_OF_FRAME = "body_out_of_frame"
    IMAGE_TOO_SMALL = "image_too_small"
    GARMENT_NOT_FOUND = "garment_not_found"
    GARMENT_BACKGROUND = "garment_background"
    GARMENT_UNSUPPORTED = "garment_unsupported"
    ENGINE_TIMEOUT = "engine_timeout"
    ENGINE_OUT_OF_MEMORY = "engine_out_of_memory"
    ENGINE_ERROR = "engine_error"
    WORKER_LOST = "worker_lost"
    MODEL_ERROR = "model_error"
    CONTENT_REFUSED = "content_refused"


SENTENCES = MappingProxyType(
    {
        FailureCode.NO_PERSON: (
            "No person was found. Use a photo of one person, from the front and not from far away."
        ),
        FailureCode.SEVERAL_PEOPLE: (
            "There is more than one person. Use a photo of one person alone."
        ),
        FailureCode.PERSON_FROM_BEHIND: (
            "The person is seen from behind. Use a photo from the front."
        ),
        FailureCode.BODY_OUT_OF_FRAME: (
            "Too little of the body is in the photo. Step back until the garment's place shows."
        ),
        FailureCode.IMAGE_TOO_SMALL: (
            "The person is too small in the photo. Come closer or use a larger photo."
        ),
        FailureCode.GARMENT_NOT_FOUND: (
            "No garment was found. Use a picture of one garment, laid flat and whole."
        ),
        FailureCode.GARMENT_BACKGROUND: (
            "The garment cannot be told from its background. Use a plain one of another colour."
        ),
        FailureCode.GARMENT_UNSUPPORTED: "This kind of garment cannot be tried on here yet.",
        FailureCode.ENGINE_TIMEOUT: (
            "Making the picture took too long and was stopped. Please try again."
        ),
        FailureCode.ENGINE_OUT_OF_MEMORY: (
            "Making the picture needed too much memory. Please try a smaller photo."
        ),
        FailureCode.ENGINE_ERROR: (
            "The picture could not be made. Please try again, or with another photo."
        ),
        FailureCode.WORKER_LOST: "The work was interrupted several times. Please try again.",
        FailureCode.MODEL_ERROR: "The model could not make a picture this time. Please try again.",
        FailureCode.CONTENT_REFUSED: (
            "The service that makes the pictures refused these. Use another photo or garment."
        ),
    }
)


class EngineError(TryOnError):
    """A run that failed.

    code: what the session's `error_code` becomes.
    detail: the sentence for the shopper; the code's own where left out.
    log: what an operator should know; never shown to the shopper, holds nothing personal.
    retryable: another attempt may work (a provider was away); a refusal or a crash is final.
    stage: the stage that failed, where known.
    """

    def __init__(
        self,
        code: FailureCode | str,
        detail: str = "",
        *,
        log: str = "",
        retryable: bool = False,
        stage: str | None = None,
    ) -> None:
        self.failure = FailureCode(code)
        super().__init__(detail or SENTENCES[self.failure])
        self.log = log
        self.retryable = retryable
        self.stage = stage


class RunCancelled(TryOnError):
    """The session is gone or belongs to another attempt: stop, quietly.

    for_good: it is erased, and no other attempt will take up what this one has begun.
    """

    title = "The run was cancelled"

    def __init__(self, detail: str = "", *, for_good: bool = False) -> None:
        super().__init__(detail)
        self.for_good = for_good
