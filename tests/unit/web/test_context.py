"""``RequestContext.while_connected``: the work of a request ends when its client disconnects."""

import asyncio

import pytest

from clearcut.errors import ClientGone, InternalError
from clearcut.observability.timing import RequestTiming
from clearcut.web.context import RequestContext
from clearcut.web.request.body import Body


async def run(work, *, gone=True):
    """Return the error of ``work`` for a client that disconnects at once, and the pending cancellations of the task."""

    async def receive():
        if not gone:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    timing = RequestTiming(60)
    context = RequestContext("req_1", timing, Body(receive, 10, timing.remaining), None)
    try:
        await context.while_connected(work())
    except BaseException as error:
        return type(error), asyncio.current_task().cancelling()
    return None, asyncio.current_task().cancelling()


async def wait():
    await asyncio.sleep(10)


async def convert():
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        raise InternalError from None


async def ignore():
    try:
        await asyncio.sleep(10)
    except asyncio.CancelledError:
        return


@pytest.mark.parametrize("work", [wait, convert, ignore])
def test_disconnect_ends_work_without_pending_cancellation(work):
    assert asyncio.run(run(work)) == (ClientGone, 0)


def test_error_of_connected_client_is_raised():
    async def fail():
        raise InternalError

    assert asyncio.run(run(fail, gone=False)) == (InternalError, 0)


def test_cancellation_by_the_server_is_raised():
    async def cancelled():
        task = asyncio.create_task(run(wait, gone=False))
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert asyncio.run(cancelled()) == (asyncio.CancelledError, 1)
