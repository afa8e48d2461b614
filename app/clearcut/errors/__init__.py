"""One exception tree. Each error knows its HTTP status, its public code and its public text.

    ClearcutError
    ├── InputError 400          the request is at fault; `details` names the field and the fix
    │   ├── InvalidOption  MissingImage  MalformedBody
    │   │   └── RegionOutside  RegionEmpty
    │   ├── MultipleImages  MultipleBackgrounds
    │   ├── UnsupportedFormat  CorruptImage  SuspiciousStructure
    │   ├── TooManyBytes  TooManyPixels
    │   ├── AddressRefused  FetchFailed
    │   └── NoForeground  IdempotencyMismatch
    ├── AuthenticationError 401  PaymentRequired 402  PermissionDenied 403
    ├── RouteNotFound 404   MethodNotAllowed 405   UploadTimeout 408
    ├── LinkRefused 403   OutputNotFound 404   OutputExpired 410   RangeNotSatisfiable 416
    ├── JobNotFound 404   JobsOff 404   ModerationRefused 422
    ├── IdempotencyConflict 409  RateLimited 429
    ├── ClientGone 499          logged, never sent
    ├── Unavailable 503         Overloaded  OutOfMemory  Starting  Draining  Failed  StorageFull
    ├── DeadlineExceeded 504
    └── InternalError 500

`code` and `message` are the Poof contract's; `reason` is finer and is what metrics and logs count. `details` is
public: it never holds image content, a file name, a key or an internal message. Other dialects map the class to
their own body.
"""

from __future__ import annotations

from clearcut.errors.base import ClearcutError, InputError, InternalError, StartupError
from clearcut.errors.caller import (
    AuthenticationError,
    IdempotencyConflict,
    IdempotencyMismatch,
    PaymentRequired,
    PermissionDenied,
    RateLimited,
)
from clearcut.errors.http import (
    BadRequest,
    ClientGone,
    HeadTimeout,
    HeadTooLarge,
    MethodNotAllowed,
    RouteNotFound,
    UploadTimeout,
)
from clearcut.errors.image import (
    BrokenImage,
    CorruptImage,
    ImageError,
    ModerationRefused,
    NoForeground,
    SuspiciousStructure,
    TooManyBytes,
    TooManyPixels,
    UnsupportedFormat,
)
from clearcut.errors.jobs import (
    InvalidSignature,
    JobNotFound,
    JobsDisabled,
    OutputExpired,
    OutputNotFound,
    RangeNotSatisfiable,
)
from clearcut.errors.request import (
    FetchFailed,
    InvalidOption,
    MalformedBody,
    MissingImage,
    MultipleBackgrounds,
    MultipleImages,
    RegionEmpty,
    RegionOutside,
    UrlRefused,
)
from clearcut.errors.state import (
    DeadlineExceeded,
    Draining,
    Failed,
    OutOfMemory,
    Overloaded,
    Starting,
    StorageFull,
    Unavailable,
)

__all__ = [
    "UrlRefused",
    "AuthenticationError",
    "BadRequest",
    "BrokenImage",
    "ClearcutError",
    "ClientGone",
    "CorruptImage",
    "DeadlineExceeded",
    "Draining",
    "Failed",
    "FetchFailed",
    "HeadTimeout",
    "HeadTooLarge",
    "IdempotencyConflict",
    "IdempotencyMismatch",
    "ImageError",
    "InputError",
    "InternalError",
    "InvalidOption",
    "JobNotFound",
    "JobsDisabled",
    "InvalidSignature",
    "MalformedBody",
    "MethodNotAllowed",
    "MissingImage",
    "ModerationRefused",
    "MultipleBackgrounds",
    "MultipleImages",
    "NoForeground",
    "OutOfMemory",
    "OutputExpired",
    "OutputNotFound",
    "Overloaded",
    "PaymentRequired",
    "PermissionDenied",
    "RangeNotSatisfiable",
    "RateLimited",
    "RegionEmpty",
    "RegionOutside",
    "RouteNotFound",
    "Starting",
    "StartupError",
    "StorageFull",
    "SuspiciousStructure",
    "TooManyBytes",
    "TooManyPixels",
    "Unavailable",
    "UnsupportedFormat",
    "UploadTimeout",
]
