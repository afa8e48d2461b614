"""The batcher's promises. No test sleeps: engines stop at gates, lanes are held, and the clock is the test's."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from clearcut.errors import DeadlineExceeded, Draining, Failed, InternalError, Overloaded
from clearcut.inference.batcher import Batcher
from clearcut.inference.types import F32, Engine, FatalEngineError, Inference
from tests.support.clock import FakeClock

SIDE = 4


def picture(number: float) -> F32:
    return np.full((3, SIDE, SIDE), number, np.float32)


class EchoEngine:
    """Answers each picture with its own number; can be stopped at a gate, and fails on marked pictures."""

    def __init__(self, *, gated: bool = False, fails: Callable[[float], Exception | None] = lambda _: None) -> None:
        self.sizes: list[int] = []
        self.batches: list[F32] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0) if gated else None
        self._fails = fails

    def run(self, batch: F32) -> F32:
        self.sizes.append(batch.shape[0])
        self.batches.append(batch.copy())
        self.entered.release()
        if self.gate is not None:
            assert self.gate.acquire(timeout=20)
        for item in batch:
            if error := self._fails(float(item.max())):
                raise error
        values: F32 = batch.mean(axis=1)
        return values


class Observer:
    def __init__(self) -> None:
        self.done: list[tuple[int, int]] = []
        self.dropped: list[str] = []

    def batch_done(self, size: int, bucket: int, run_s: float) -> None:
        self.done.append((size, bucket))

    def entry_dropped(self, reason: str) -> None:
        self.dropped.append(reason)


@contextmanager
def serving(
    *engines: Engine,
    buckets: Sequence[int] = (1, 2, 4, 8),
    capacity: int = 64,
    max_delay_s: float = 3600.0,
    cost_s: Mapping[int, float] | None = None,
    observer: Any = None,
    clock: Callable[[], float] = time.monotonic,
    on_fatal: Callable[[BaseException], None] | None = None,
) -> Iterator[Batcher]:
    batcher = Batcher(engines, buckets, capacity, max_delay_s, cost_s, observer, clock, on_fatal)
    batcher.start()
    try:
        yield batcher
    finally:
        for engine in engines:
            if isinstance(engine, EchoEngine) and engine.gate is not None:
                engine.gate.release(1000)
        assert batcher.close(drain=False, timeout=20)


async def until(condition: Callable[[], object]) -> None:
    """Give way to the event loop and the lanes until the condition holds."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "condition never held"
        await asyncio.sleep(0)


async def acquire(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, timeout=20)


def tasks_for(batcher: Batcher, numbers: Sequence[float]) -> list[asyncio.Task[Inference]]:
    return [asyncio.create_task(batcher.infer(picture(number))) for number in numbers]


async def queued(batcher: Batcher, numbers: Sequence[float]) -> list[asyncio.Task[Inference]]:
    """Submit and wait until all of them are in the queue (lanes held or busy)."""
    before = batcher.depth
    tasks = tasks_for(batcher, numbers)
    await until(lambda: batcher.depth == before + len(tasks))
    return tasks


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def test_each_answer_is_its_own_and_says_where_time_went() -> None:
    observer = Observer()

    async def main() -> None:
        with serving(EchoEngine(), observer=observer) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2, 3, 4])
            answers = await asyncio.gather(*tasks)
        for number, answer in zip([1, 2, 3, 4], answers, strict=True):
            assert answer.values.shape == (SIDE, SIDE)
            assert (answer.values == number).all()
            assert answer.batch_size == 4
            assert answer.queue_s > 0
            assert answer.run_s > 0

    run(main())
    assert observer.done == [(4, 4)]
    assert observer.dropped == []


def test_exactly_those_over_the_cap_are_refused() -> None:
    observer = Observer()

    async def main() -> None:
        with serving(EchoEngine(), capacity=6, observer=observer, cost_s={1: 2.0, 8: 7.0}) as batcher:
            with batcher.hold():
                tasks = tasks_for(batcher, range(10))
                await until(lambda: sum(task.done() for task in tasks) == 4)
                assert batcher.depth == 6
            results = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [result for result in results if isinstance(result, Overloaded)]
        assert len(refused) == 4
        assert all(error.retry_after is not None and 1 <= error.retry_after <= 60 for error in refused)
        assert sum(isinstance(result, Inference) for result in results) == 6

    run(main())
    assert observer.dropped == ["full"] * 4


def test_a_lone_request_never_waits() -> None:
    async def main() -> None:
        clock = FakeClock()  # stands still: a wait for max_delay would never end
        with serving(EchoEngine(), clock=clock) as batcher, batcher.expecting() as arrival:
            answer = await batcher.infer(picture(5), None, arrival)
            assert answer.batch_size == 1

    run(main())


def test_waits_for_the_one_that_is_on_its_way() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock) as batcher, batcher.expecting() as late, batcher.expecting() as early:
            first = asyncio.create_task(batcher.infer(picture(1), None, early))
            await acquire(clock.read_by_worker)  # the lane has seen it and decided
            assert batcher.inbound == 1
            second = await batcher.infer(picture(2), None, late)
            assert (await first).batch_size == second.batch_size == 2
        assert engine.sizes == [2]
        assert batcher.inbound == 0

    run(main())


def test_stops_waiting_when_the_expected_one_is_given_up() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock) as batcher:
            with batcher.expecting():
                first = asyncio.create_task(batcher.infer(picture(1)))
                await acquire(clock.read_by_worker)
                assert not first.done()
            assert (await first).batch_size == 1
        assert batcher.inbound == 0

    run(main())


def test_stops_waiting_after_max_delay() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), clock=clock, max_delay_s=0.005) as batcher, batcher.expecting():
            first = asyncio.create_task(batcher.infer(picture(1)))
            await acquire(clock.read_by_worker)
            await acquire(clock.read_by_worker)  # real time passed, the clock did not: it waits on
            assert not first.done()
            clock.now += 0.006
            assert (await first).batch_size == 1

    run(main())


def test_a_full_batch_leaves_whoever_is_expected() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), clock=clock, buckets=(1, 2)) as batcher, batcher.expecting():
            answers = await asyncio.gather(*tasks_for(batcher, [1, 2]))
            assert [answer.batch_size for answer in answers] == [2, 2]

    run(main())


def test_does_not_wait_while_another_lane_is_free() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), EchoEngine(), clock=clock) as batcher, batcher.expecting():
            await until(lambda: batcher._queue.free_lanes == 2)
            assert (await batcher.infer(picture(1))).batch_size == 1

    run(main())


def test_an_arrival_counts_once_however_it_ends() -> None:
    async def main() -> None:
        with serving(EchoEngine()) as batcher:
            with batcher.expecting() as arrival:
                assert batcher.inbound == 1
                await batcher.infer(picture(1), None, arrival)
                assert batcher.inbound == 0
                await batcher.infer(picture(1), None, arrival)
                assert batcher.inbound == 0
            assert batcher.inbound == 0
            with pytest.raises(RuntimeError, match="upload broke"), batcher.expecting():
                raise RuntimeError("upload broke")
            assert batcher.inbound == 0

    run(main())


def test_items_pile_up_while_the_lane_is_busy() -> None:
    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            rest = await queued(batcher, [1, 2, 3, 4])
            engine.gate.release(2)
            assert [answer.batch_size for answer in await asyncio.gather(*first, *rest)] == [1, 4, 4, 4, 4]
        assert engine.sizes == [1, 4]

    run(main())


def test_who_is_in_a_batch_is_decided_when_it_runs() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine, observer=observer) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            gone, stays = await queued(batcher, [1, 2])
            gone.cancel()
            late = tasks_for(batcher, [3])
            await until(lambda: gone.done() and batcher.depth == 2)
            engine.gate.release(2)
            answers = await asyncio.gather(*first, stays, *late)
            assert [float(answer.values.max()) for answer in answers] == [0, 2, 3]
        assert engine.sizes == [1, 2]

    run(main())
    assert observer.dropped == ["cancelled"]


def test_cancelled_in_the_queue_counts_once_and_frees_its_place() -> None:
    observer = Observer()

    async def main() -> None:
        with serving(EchoEngine(), capacity=3, observer=observer) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2, 3])
                tasks[1].cancel()
                await until(tasks[1].done)
                assert batcher.depth == 2
                tasks += await queued(batcher, [4])
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [isinstance(result, Inference) for result in results] == [True, False, True, True]

    run(main())
    assert observer.dropped == ["cancelled"]


def test_cancelled_between_its_future_and_its_task_is_dropped_at_the_pop() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine()
        with serving(engine, observer=observer) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2])
                batcher._queue._entries[0].future.cancel()
            # No turn of the event loop since then: the task has not been able to withdraw its entry.
            assert engine.entered.acquire(timeout=20)
            assert (await tasks[1]).batch_size == 1
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]

    run(main())
    assert observer.dropped == ["cancelled"]


def test_an_entry_that_cannot_be_done_in_time_is_told_so_at_once() -> None:
    observer = Observer()

    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock, cost_s={1: 10.0}, buckets=(1,), observer=observer) as batcher:
            with pytest.raises(DeadlineExceeded) as caught:
                await batcher.infer(picture(1), clock.now + 9)
            assert caught.value.stage == "queue"
            await batcher.infer(picture(1), clock.now + 11)
        assert engine.sizes == [1]

    run(main())
    assert observer.dropped == ["deadline"]


def test_an_entry_whose_deadline_passes_is_told_while_all_lanes_are_busy() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine, observer=observer) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            with pytest.raises(DeadlineExceeded):
                await batcher.infer(picture(1), time.monotonic() + 0.01)
            assert batcher.depth == 0
            assert not first[0].done()
            engine.gate.release()
            await first[0]

    run(main())
    assert observer.dropped == ["deadline"]


def test_pads_with_zeros_when_one_run_is_cheaper() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine()
        with serving(engine, buckets=(1, 4), cost_s={1: 1.0, 4: 1.5}, observer=observer) as batcher:
            for _ in range(2):  # the second time over a buffer that is not zero any more
                with batcher.hold():
                    tasks = await queued(batcher, [1, 2, 3, 4])
                await asyncio.gather(*tasks)
                with batcher.hold():
                    tasks = await queued(batcher, [1, 2, 3])
                answers = await asyncio.gather(*tasks)
                assert [answer.batch_size for answer in answers] == [3, 3, 3]
                assert (engine.batches[-1][3] == 0).all()

    run(main())
    assert observer.done == [(4, 4), (3, 4)] * 2


def test_splits_when_padding_is_dearer() -> None:
    async def main() -> None:
        engine = EchoEngine()
        with serving(engine, buckets=(1, 4), cost_s={1: 1.0, 4: 10.0}) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2, 3])
            await asyncio.gather(*tasks)
        assert engine.sizes == [1, 1, 1]

    run(main())


def test_a_batch_shrinks_to_what_its_tightest_deadline_allows() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock, buckets=(1, 2, 4), cost_s={1: 1.0, 2: 1.5, 4: 2.0}) as batcher:
            with batcher.hold():
                tasks = [asyncio.create_task(batcher.infer(picture(1), clock.now + 1.7))]
                await until(lambda: batcher.depth == 1)
                tasks += await queued(batcher, [2, 3, 4, 5])
            answers = await asyncio.gather(*tasks)
            assert [answer.batch_size for answer in answers] == [2, 2, 3, 3, 3]
        assert [float(batch[place].max()) for batch in engine.batches for place in range(2)] == [1, 2, 3, 4]  # in order

    run(main())


def test_cancelled_while_it_runs_leaves_its_mates_their_answers() -> None:
    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine) as batcher:
            with batcher.hold():
                gone, stays = await queued(batcher, [1, 2])
            await acquire(engine.entered)
            gone.cancel()
            await until(gone.done)
            engine.gate.release()
            assert float((await stays).values.max()) == 2

    run(main())


def test_one_bad_item_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        engine = EchoEngine(fails=lambda number: ValueError("bad picture") if number == 5 else None)
        with serving(engine) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, range(8))
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                if number == 5:
                    assert isinstance(result, InternalError)
                    assert isinstance(result.__cause__, ValueError)
                else:
                    assert isinstance(result, Inference)
                    assert (result.values == number).all()
            assert batcher.alive
        assert engine.sizes == [8, 4, 4, 2, 1, 1, 2]

    run(main())
    assert "bad picture" in caplog.text


def test_a_tensor_of_another_shape_fails_alone() -> None:
    async def main() -> None:
        with serving(EchoEngine()) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1])
                tasks.append(asyncio.create_task(batcher.infer(np.zeros((3, 1, 1), np.float32))))
                await until(lambda: batcher.depth == 2)
            good, odd = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(good, Inference)
            assert isinstance(odd, Inference)  # on its own the fake takes it
            assert odd.values.shape == (1, 1)

    run(main())


def test_an_engine_that_answers_a_wrong_count_fails_the_item() -> None:
    class Short:
        def run(self, batch: F32) -> F32:
            return np.zeros((0, SIDE, SIDE), np.float32)

    async def main() -> None:
        with serving(Short()) as batcher:
            with pytest.raises(InternalError):
                await batcher.infer(picture(1))
            assert batcher.alive

    run(main())


@pytest.mark.parametrize("error", [FatalEngineError("CUDA failure 700"), SystemExit("thread killed")], ids=repr)
def test_a_lane_that_dies_fails_everything_at_once(error: BaseException) -> None:
    observer = Observer()
    causes: list[BaseException] = []

    class Dying(EchoEngine):
        def run(self, batch: F32) -> F32:
            super().run(batch)
            raise error

    async def main() -> None:
        dying, hanging = Dying(gated=True), EchoEngine(gated=True)
        assert dying.gate is not None
        with serving(dying, hanging, buckets=(1,), observer=observer, on_fatal=causes.append) as batcher:
            assert batcher.alive
            running = tasks_for(batcher, [1, 2])
            await acquire(dying.entered)
            await acquire(hanging.entered)
            waiting = await queued(batcher, [3, 4])
            dying.gate.release()
            results = await asyncio.gather(*running, *waiting, return_exceptions=True)
            assert [type(result) for result in results] == [Failed] * 4
            assert not batcher.alive
            assert batcher.depth == 0
            with pytest.raises(Failed):
                await batcher.infer(picture(5))

    run(main())
    assert causes == [error]
    assert observer.dropped == ["failed"] * 4


def test_a_watchdog_can_give_up_on_a_hanging_run() -> None:
    async def main() -> None:
        clock, engine, causes = FakeClock(), EchoEngine(gated=True), list[BaseException]()
        with serving(engine, clock=clock, on_fatal=causes.append) as batcher:
            assert batcher.busy_since is None
            tasks = tasks_for(batcher, [1])
            await acquire(engine.entered)
            clock.now += 60
            assert batcher.busy_since == clock.now - 60
            batcher.fail(TimeoutError("run hangs"))
            batcher.fail(TimeoutError("again"))
            with pytest.raises(Failed):
                await tasks[0]
            assert [str(cause) for cause in causes] == ["run hangs"]

    run(main())


def test_closing_answers_what_was_accepted_and_refuses_the_rest() -> None:
    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine) as batcher:
            tasks = tasks_for(batcher, [0])
            await acquire(engine.entered)
            tasks += await queued(batcher, [1, 2])
            closing = asyncio.create_task(asyncio.to_thread(batcher.close, True, 20))
            await until(lambda: batcher._closing)
            with pytest.raises(Draining):
                await batcher.infer(picture(3))
            engine.gate.release(2)
            assert [float(answer.values.max()) for answer in await asyncio.gather(*tasks)] == [0, 1, 2]
            assert await closing
            assert not batcher.alive

    run(main())


def test_closing_does_not_wait_for_arrivals() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), clock=clock) as batcher, batcher.expecting():
            task = asyncio.create_task(batcher.infer(picture(1)))
            await acquire(clock.read_by_worker)
            assert await asyncio.to_thread(batcher.close, True, 20)
            assert (await task).batch_size == 1

    run(main())


def test_closing_without_draining_refuses_what_waits() -> None:
    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine) as batcher:
            running = tasks_for(batcher, [0])
            await acquire(engine.entered)
            waiting = await queued(batcher, [1, 2])
            closing = asyncio.create_task(asyncio.to_thread(batcher.close, False, 20))
            results = await asyncio.gather(*waiting, return_exceptions=True)
            assert [type(result) for result in results] == [Draining] * 2
            engine.gate.release()
            assert await closing
            assert (await running[0]).batch_size == 1

    run(main())


def test_closing_gives_up_on_a_hanging_engine_and_leaves_no_future_open() -> None:
    async def main() -> None:
        engine = EchoEngine(gated=True)
        with serving(engine) as batcher:
            tasks = tasks_for(batcher, [0])
            await acquire(engine.entered)
            tasks += await queued(batcher, [1])
            assert not await asyncio.to_thread(batcher.close, True, 0.01)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [Draining] * 2

    run(main())


def test_answers_do_not_change_when_buffers_are_used_again() -> None:
    class View:
        """Answers with a view of its input, which is a buffer that the lane uses again."""

        def run(self, batch: F32) -> F32:
            return batch[:, 0]

    async def main() -> None:
        with serving(View(), buckets=(2,)) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2])
            early = await asyncio.gather(*tasks)
            with batcher.hold():
                tasks = await queued(batcher, [3, 4])
            await asyncio.gather(*tasks)
            assert [float(answer.values.max()) for answer in early] == [1, 2]

    run(main())


def test_a_batch_wakes_each_event_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        wakes: list[object] = []
        loop = asyncio.get_running_loop()
        original = loop.call_soon_threadsafe

        def counted(callback: Callable[..., object], *args: Any, **kwargs: Any) -> asyncio.Handle:
            if threading.current_thread().name.startswith("inference"):
                wakes.append(callback)
            return original(callback, *args, **kwargs)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        with serving(EchoEngine()) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, range(8))
            await asyncio.gather(*tasks)
        assert len(wakes) == 1

    run(main())


def test_a_loop_that_closed_meanwhile_does_no_harm() -> None:
    engine = EchoEngine(gated=True)
    assert engine.gate is not None
    with serving(engine) as batcher:

        async def leave() -> None:
            tasks_for(batcher, [1])
            await acquire(engine.entered)

        run(leave())  # cancels its task and closes its loop while the item runs
        engine.gate.release(2)

        async def stay() -> None:
            assert float((await batcher.infer(picture(2))).values.max()) == 2
            assert batcher.alive

        run(stay())


def test_lanes_run_side_by_side_and_share_the_queue() -> None:
    async def main() -> None:
        engines = [EchoEngine(gated=True), EchoEngine(gated=True)]
        with serving(*engines) as batcher:
            await until(lambda: batcher._queue.free_lanes == 2)
            with batcher.hold():
                tasks = await queued(batcher, [1, 2, 3, 4])
            for engine in engines:
                await acquire(engine.entered)  # both are in a run, neither has ended
            for engine in engines:  # only now: a lane that were free already could take the other's run
                assert engine.gate is not None
                engine.gate.release()
            answers = await asyncio.gather(*tasks)
            assert [answer.batch_size for answer in answers] == [2, 2, 2, 2]

    run(main())


def test_callers_on_several_event_loops() -> None:
    with serving(EchoEngine(), EchoEngine(), buckets=(1, 2, 4)) as batcher:
        wrong: list[float] = []

        def caller(base: int) -> None:
            async def main() -> None:
                for turn in range(20):
                    numbers = [base + 10 * turn + place for place in range(5)]
                    answers = await asyncio.gather(*tasks_for(batcher, numbers))
                    wrong.extend(
                        number
                        for number, answer in zip(numbers, answers, strict=True)
                        if (answer.values != number).any()
                    )

            run(main())

        threads = [threading.Thread(target=caller, args=(1000 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []


def test_an_observer_that_fails_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def batch_done(self, size: int, bucket: int, run_s: float) -> None:
            raise KeyError("label")

        def entry_dropped(self, reason: str) -> None:
            raise KeyError("label")

    async def main() -> None:
        with serving(EchoEngine(), capacity=1, observer=Broken()) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1])
                with pytest.raises(Overloaded):
                    await batcher.infer(picture(2))
            await tasks[0]
            await batcher.infer(picture(3))
            assert batcher.alive

    run(main())
    assert "observer" in caplog.text


def test_predicts_the_wait_from_the_cost_table() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine, clock=clock, buckets=(1, 4), cost_s={1: 1.0, 4: 2.0}) as batcher:
            assert batcher.predicted_wait() == 1.0
            assert batcher.cost() == {1: 1.0, 4: 2.0}
            tasks = tasks_for(batcher, [0])
            await acquire(engine.entered)
            clock.now += 0.25
            assert batcher.predicted_wait() == 1.75  # what is left of the run, and its own
            tasks += await queued(batcher, [1, 2, 3, 4])
            assert batcher.predicted_wait() == 3.75
            clock.now += 1.75
            engine.gate.release(2)
            await asyncio.gather(*tasks)
            assert batcher.cost()[1] == pytest.approx(1.2)  # a fifth of the way to the 2 s that it took

    run(main())


def test_needs_an_engine_a_bucket_and_room() -> None:
    with pytest.raises(ValueError, match="engine"):
        Batcher([], (1,), 1, 0.0)
    with pytest.raises(ValueError, match="room"):
        Batcher([EchoEngine()], (1,), 0, 0.0)
    with pytest.raises(ValueError, match="batch sizes"):
        Batcher([EchoEngine()], (), 1, 0.0)


def test_what_can_wait_runs_alone_and_after_all_others() -> None:
    engine = EchoEngine(gated=True)

    async def main() -> None:
        with serving(engine, buckets=(1, 2, 4)) as batcher:
            first = asyncio.create_task(batcher.infer(picture(1)))
            await acquire(engine.entered)
            late = [asyncio.create_task(batcher.infer(picture(number), later=True)) for number in (8, 9)]
            await until(lambda: not batcher._queue.empty)
            others = await queued(batcher, [2, 3])
            assert batcher.depth == 2
            engine.gate.release(1000)
            await asyncio.gather(first, *late, *others)
        assert [sorted(batch.max(axis=(1, 2, 3))) for batch in engine.batches] == [[1], [2, 3], [8], [9]]

    run(main())


def test_what_can_wait_takes_no_place_of_the_others_and_is_refused_no_place() -> None:
    engine = EchoEngine(gated=True)

    async def main() -> None:
        with serving(engine, capacity=1) as batcher:
            first = asyncio.create_task(batcher.infer(picture(1)))
            await acquire(engine.entered)
            late = [asyncio.create_task(batcher.infer(picture(number), later=True)) for number in (7, 8, 9)]
            (other,) = await queued(batcher, [2])
            with pytest.raises(Overloaded):
                await batcher.infer(picture(3))
            engine.gate.release(1000)
            await asyncio.gather(first, other, *late)

    run(main())


def test_what_can_wait_lets_those_pass_who_are_expected() -> None:
    engine, clock = EchoEngine(), FakeClock()

    async def main() -> None:
        with serving(engine, clock=clock) as batcher:
            with batcher.expecting() as arrival:
                late = asyncio.create_task(batcher.infer(picture(9), later=True))
                await until(lambda: not batcher._queue.empty)
                await batcher.infer(picture(1), arrival=arrival)
            await late
        assert [batch.max() for batch in engine.batches] == [1, 9]

    run(main())


def test_closing_answers_what_can_wait_too() -> None:
    async def main() -> None:
        with serving(EchoEngine()) as batcher:
            with batcher.hold():
                late = asyncio.create_task(batcher.infer(picture(9), later=True))
                await until(lambda: not batcher._queue.empty)
                assert batcher.close(drain=False, timeout=10)  # the idle lane ends: it was refused, not run
            with pytest.raises(Draining):
                await late

    run(main())
