"""Files that a request names by address: fetched before anything else is done with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from clearcut.errors import DeadlineExceeded
from clearcut.observability.timing import RequestTiming

from .upload import Upload

if TYPE_CHECKING:
    from clearcut.fetch.client import FetchClient


async def fetch_files(fetcher: FetchClient, upload: Upload, trace: RequestTiming) -> None:
    """Put the files behind the upload's addresses beside the others.

    Raises:
        UrlRefused, FetchFailed, TooManyBytes: one of them cannot be fetched.
        DeadlineExceeded: the request's time is over.
    """
    with trace.stage("fetch"):
        try:
            async with asyncio.timeout(trace.remaining()):
                for role, (_, url) in upload.addresses.items():
                    upload.files[role] = (await fetcher.get(url, role=role)).data
        except TimeoutError:
            raise DeadlineExceeded("fetch") from None
