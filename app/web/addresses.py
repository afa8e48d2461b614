"""Files that a request names by address: fetched before anything else is done with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from app.errors import DeadlineExceeded
from app.trace import Trace
from app.web.upload import Upload

if TYPE_CHECKING:
    from app.fetch.fetcher import Fetcher


async def fetch_files(fetcher: Fetcher, upload: Upload, trace: Trace) -> None:
    """Put the files behind the upload's addresses beside the others.

    Raises:
        AddressRefused, FetchFailed, TooManyBytes: one of them cannot be had; names its field.
        DeadlineExceeded: the request's time is over.
    """
    with trace.stage("fetch"):
        try:
            async with asyncio.timeout(trace.remaining()):
                for role, (name, url) in upload.addresses.items():
                    upload.files[role] = (await fetcher.get(url, field=name)).data
        except TimeoutError:
            raise DeadlineExceeded("fetch") from None
