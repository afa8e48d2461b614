"""Request slots: refused at capacity, released by slow uploads and by responses that are being sent."""

import asyncio
from contextlib import ExitStack

import pytest

from clearcut.admission.slots import MAX_SLOW_UPLOADS, Slots
from clearcut.errors import Overloaded


class Upload:
    def __init__(self, slow: bool) -> None:
        self.slow = slow
        self.before_growth = None


def test_requests_beyond_capacity_are_refused():
    slots = Slots(2)
    with slots.enter(), slots.enter():
        with pytest.raises(Overloaded) as caught, slots.enter():
            pass
        assert caught.value.retry_after >= 1
        assert slots.used == 2
    assert slots.used == 0
    with slots.enter():
        assert slots.used == 1


def test_failed_request_frees_its_slot():
    slots = Slots(1)
    with pytest.raises(ZeroDivisionError), slots.enter():
        raise ZeroDivisionError
    assert slots.used == 0


def test_slow_upload_releases_and_reacquires_its_slot():
    slots = Slots(1)
    upload = Upload(slow=True)
    with slots.enter(upload) as slot:
        with slots.enter(Upload(slow=False)) as other:
            assert (slots.used, slots.slow_uploads) == (1, 1)
            with pytest.raises(Overloaded), slots.enter():
                pass
            with pytest.raises(Overloaded):  # the upload has become large, and all slots are in use
                upload.before_growth()
            other.reacquire()
        assert (slots.used, slots.slow_uploads) == (0, 1)
        slot.reacquire()
        assert (slots.used, slots.slow_uploads, upload.before_growth) == (1, 0, None)
        with pytest.raises(Overloaded), slots.enter():  # a complete upload keeps its slot
            pass
    assert slots.used == 0


def test_check_for_free_slot_takes_and_releases_none():
    slots = Slots(1)
    slots.require_available()
    upload = Upload(slow=True)
    with slots.enter(upload) as slot:
        slots.require_available()
        assert (slot.released, slots.used, slots.entered) == (False, 1, 1)
        upload.slow = False
        with pytest.raises(Overloaded) as caught:
            slots.require_available()
    assert caught.value.retry_after >= 1


def test_fast_upload_keeps_its_slot():
    slots = Slots(1)
    with slots.enter(Upload(slow=False)), pytest.raises(Overloaded), slots.enter():
        pass


def test_number_of_slow_uploads_is_limited():
    slots = Slots(1)
    with ExitStack() as uploads:
        for _ in range(MAX_SLOW_UPLOADS + 1):
            uploads.enter_context(slots.enter(Upload(slow=True)))
        assert (slots.used, slots.slow_uploads) == (1, MAX_SLOW_UPLOADS)
        with pytest.raises(Overloaded), slots.enter():
            pass
    assert (slots.used, slots.slow_uploads) == (0, 0)


def test_response_being_sent_releases_its_slot():
    slots = Slots(1)
    with slots.enter() as slot:
        with pytest.raises(Overloaded), slots.enter():
            pass
        slot.sending = True
        with slots.enter():
            assert slots.used == 1
    assert slots.used == 0


def test_until_empty_waits_for_uploads_without_a_slot():
    async def scenario():
        slots = Slots(1)
        with slots.enter(Upload(slow=True)):
            with slots.enter():
                pass
            empty = asyncio.create_task(slots.until_empty())
            await asyncio.sleep(0)
            assert not empty.done()
        await empty

    asyncio.run(scenario())


def test_until_empty_waits_for_the_last_slot():
    async def scenario():
        slots = Slots(2)
        with slots.enter():
            waiter = asyncio.create_task(slots.until_empty())
            await asyncio.sleep(0)
            done = waiter.done()
        await waiter
        return done

    assert asyncio.run(scenario()) is False
