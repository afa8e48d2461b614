"""Files that a request gives by URL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from clearcut.errors import DeadlineExceeded
from clearcut.observability.timing import RequestTiming

from .upload import Upload

if TYPE_CHECKING:
    from clearcut.fetch.client import FetchClient


async def fetch_files(client: FetchClient, upload: Upload, timing: RequestTiming) -> None:
    """Fetch the files of ``upload.urls`` into ``upload.files``.

    Raises:
        UrlRefused, FetchFailed, TooManyBytes: a file cannot be fetched.
        DeadlineExceeded: the request's deadline passed.
    """
    with timing.stage("fetch"):
        try:
            async with asyncio.timeout(timing.remaining()):
                for role, (_, url) in upload.urls.items():
                    upload.files[role] = (await client.get(url, role=role)).data
        except TimeoutError:
            raise DeadlineExceeded("fetch") from None
