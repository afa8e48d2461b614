"""The batcher. No test sleeps: engines wait at gates, workers are held, and tests move the clock."""

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


def image(number: float) -> F32:
    return np.full((3, SIDE, SIDE), number, np.float32)


class EchoEngine:
    """Returns the number of each image as its matte. It can wait at a gate and fail on selected images."""

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


class HoldableBatcher(Batcher):
    """A batcher that starts no run within ``hold``, so that a test can fill its queue."""

    _held = False

    @contextmanager
    def hold(self) -> Iterator[None]:
        with self._changed:
            self._held = True
        try:
            yield
        finally:
            with self._changed:
                self._held = False
                self._changed.notify_all()

    def _wait_for_batch(self) -> bool:
        while (found := super()._wait_for_batch()) and self._held:
            self._changed.wait()
        return found


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
) -> Iterator[HoldableBatcher]:
    batcher = HoldableBatcher(engines, buckets, capacity, max_delay_s, cost_s, observer, clock, on_fatal)
    batcher.start()
    try:
        yield batcher
    finally:
        for engine in engines:
            if isinstance(engine, EchoEngine) and engine.gate is not None:
                engine.gate.release(1000)
        assert batcher.close(drain=False, timeout=20)


async def until(condition: Callable[[], object]) -> None:
    """Let the event loop and the workers run until the condition holds."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "condition never held"
        await asyncio.sleep(0)


async def acquire(semaphore: threading.Semaphore) -> None:
    assert await asyncio.to_thread(semaphore.acquire, timeout=20)


def tasks_for(batcher: Batcher, numbers: Sequence[float]) -> list[asyncio.Task[Inference]]:
    return [asyncio.create_task(batcher.infer(image(number))) for number in numbers]


async def queued(batcher: Batcher, numbers: Sequence[float]) -> list[asyncio.Task[Inference]]:
    """Submit images and wait until all are in the queue, while the workers are held or busy."""
    before = batcher.depth
    tasks = tasks_for(batcher, numbers)
    await until(lambda: batcher.depth == before + len(tasks))
    return tasks


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def test_each_request_gets_its_own_matte() -> None:
    observer = Observer()

    async def main() -> None:
        with serving(EchoEngine(), observer=observer) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2, 3, 4])
            results = await asyncio.gather(*tasks)
        for number, result in zip([1, 2, 3, 4], results, strict=True):
            assert result.values.shape == (SIDE, SIDE)
            assert (result.values == number).all()
            assert result.batch_size == 4
            assert result.queue_s > 0
            assert result.run_s > 0

    run(main())
    assert observer.done == [(4, 4)]
    assert observer.dropped == []


def test_requests_over_capacity_are_rejected() -> None:
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


def test_single_request_never_waits() -> None:
    async def main() -> None:
        clock = FakeClock()  # does not advance: a wait for max_delay would never end
        with serving(EchoEngine(), clock=clock) as batcher, batcher.announce() as arrival:
            result = await batcher.infer(image(5), None, arrival)
            assert result.batch_size == 1

    run(main())


def test_waits_for_announced_request() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock) as batcher, batcher.announce() as late, batcher.announce() as early:
            first = asyncio.create_task(batcher.infer(image(1), None, early))
            await acquire(clock.read_by_worker)  # the worker has read the queue
            assert batcher._queue.announced == 1
            second = await batcher.infer(image(2), None, late)
            assert (await first).batch_size == second.batch_size == 2
        assert engine.sizes == [2]
        assert batcher._queue.announced == 0

    run(main())


def test_withdrawn_announcement_ends_the_wait() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock) as batcher:
            with batcher.announce():
                first = asyncio.create_task(batcher.infer(image(1)))
                await acquire(clock.read_by_worker)
                assert not first.done()
            assert (await first).batch_size == 1
        assert batcher._queue.announced == 0

    run(main())


def test_max_delay_ends_the_wait() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), clock=clock, max_delay_s=0.005) as batcher, batcher.announce():
            first = asyncio.create_task(batcher.infer(image(1)))
            await acquire(clock.read_by_worker)
            await acquire(clock.read_by_worker)  # real time has passed, but not on this clock
            assert not first.done()
            clock.now += 0.006
            assert (await first).batch_size == 1

    run(main())


def test_full_batch_does_not_wait() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), clock=clock, buckets=(1, 2)) as batcher, batcher.announce():
            results = await asyncio.gather(*tasks_for(batcher, [1, 2]))
            assert [result.batch_size for result in results] == [2, 2]

    run(main())


def test_does_not_wait_while_another_worker_is_idle() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), EchoEngine(), clock=clock) as batcher, batcher.announce():
            await until(lambda: batcher._queue.idle_workers == 2)
            assert (await batcher.infer(image(1))).batch_size == 1

    run(main())


def test_announcement_ends_once() -> None:
    async def main() -> None:
        with serving(EchoEngine()) as batcher:
            with batcher.announce() as arrival:
                assert batcher._queue.announced == 1
                await batcher.infer(image(1), None, arrival)
                assert batcher._queue.announced == 0
                await batcher.infer(image(1), None, arrival)
                assert batcher._queue.announced == 0
            assert batcher._queue.announced == 0
            with pytest.raises(RuntimeError, match="upload broke"), batcher.announce():
                raise RuntimeError("upload broke")
            assert batcher._queue.announced == 0

    run(main())


def test_requests_collect_while_worker_is_busy() -> None:
    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            queued_later = await queued(batcher, [1, 2, 3, 4])
            engine.gate.release(2)
            assert [result.batch_size for result in await asyncio.gather(*first, *queued_later)] == [1, 4, 4, 4, 4]
        assert engine.sizes == [1, 4]

    run(main())


def test_batch_is_selected_at_start_of_run() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine, observer=observer) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            cancelled, other = await queued(batcher, [1, 2])
            cancelled.cancel()
            late = tasks_for(batcher, [3])
            await until(lambda: cancelled.done() and batcher.depth == 2)
            engine.gate.release(2)
            results = await asyncio.gather(*first, other, *late)
            assert [float(result.values.max()) for result in results] == [0, 2, 3]
        assert engine.sizes == [1, 2]

    run(main())
    assert observer.dropped == ["cancelled"]


def test_cancelled_request_frees_capacity() -> None:
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


def test_cancelled_future_is_dropped_at_selection() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine()
        with serving(engine, observer=observer) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2])
                batcher._queue._entries[0].future.cancel()
            # The event loop has not run since then, so the task has not withdrawn its entry.
            assert engine.entered.acquire(timeout=20)
            assert (await tasks[1]).batch_size == 1
            with pytest.raises(asyncio.CancelledError):
                await tasks[0]

    run(main())
    assert observer.dropped == ["cancelled"]


def test_too_short_deadline_fails_at_once() -> None:
    observer = Observer()

    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock, cost_s={1: 10.0}, buckets=(1,), observer=observer) as batcher:
            with pytest.raises(DeadlineExceeded) as caught:
                await batcher.infer(image(1), clock.now + 9)
            assert caught.value.stage == "queue"
            await batcher.infer(image(1), clock.now + 11)
        assert engine.sizes == [1]

    run(main())
    assert observer.dropped == ["deadline"]


def test_deadline_fails_while_workers_are_busy() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine, observer=observer) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            with pytest.raises(DeadlineExceeded):
                await batcher.infer(image(1), time.monotonic() + 0.01)
            assert batcher.depth == 0
            assert not first[0].done()
            engine.gate.release()
            await first[0]

    run(main())
    assert observer.dropped == ["deadline"]


def test_pads_with_zeros_if_one_run_is_faster() -> None:
    observer = Observer()

    async def main() -> None:
        engine = EchoEngine()
        with serving(engine, buckets=(1, 4), cost_s={1: 1.0, 4: 1.5}, observer=observer) as batcher:
            for _ in range(2):  # the second time with a used buffer
                with batcher.hold():
                    tasks = await queued(batcher, [1, 2, 3, 4])
                await asyncio.gather(*tasks)
                with batcher.hold():
                    tasks = await queued(batcher, [1, 2, 3])
                results = await asyncio.gather(*tasks)
                assert [result.batch_size for result in results] == [3, 3, 3]
                assert (engine.batches[-1][3] == 0).all()

    run(main())
    assert observer.done == [(4, 4), (3, 4)] * 2


def test_splits_if_padding_is_slower() -> None:
    async def main() -> None:
        engine = EchoEngine()
        with serving(engine, buckets=(1, 4), cost_s={1: 1.0, 4: 10.0}) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1, 2, 3])
            await asyncio.gather(*tasks)
        assert engine.sizes == [1, 1, 1]

    run(main())


def test_batch_shrinks_to_meet_deadline() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine()
        with serving(engine, clock=clock, buckets=(1, 2, 4), cost_s={1: 1.0, 2: 1.5, 4: 2.0}) as batcher:
            with batcher.hold():
                tasks = [asyncio.create_task(batcher.infer(image(1), clock.now + 1.7))]
                await until(lambda: batcher.depth == 1)
                tasks += await queued(batcher, [2, 3, 4, 5])
            results = await asyncio.gather(*tasks)
            assert [result.batch_size for result in results] == [2, 2, 3, 3, 3]
        assert [float(batch[place].max()) for batch in engine.batches for place in range(2)] == [1, 2, 3, 4]  # in order

    run(main())


def test_cancel_during_run_keeps_other_results() -> None:
    async def main() -> None:
        engine = EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine) as batcher:
            with batcher.hold():
                cancelled, other = await queued(batcher, [1, 2])
            await acquire(engine.entered)
            cancelled.cancel()
            await until(cancelled.done)
            engine.gate.release()
            assert float((await other).values.max()) == 2

    run(main())


def test_one_bad_image_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        engine = EchoEngine(fails=lambda number: ValueError("bad image") if number == 5 else None)
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
    assert "bad image" in caplog.text


def test_tensor_of_another_shape_runs_alone() -> None:
    async def main() -> None:
        with serving(EchoEngine()) as batcher:
            with batcher.hold():
                tasks = await queued(batcher, [1])
                tasks.append(asyncio.create_task(batcher.infer(np.zeros((3, 1, 1), np.float32))))
                await until(lambda: batcher.depth == 2)
            good, other = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(good, Inference)
            assert isinstance(other, Inference)  # the fake engine accepts it alone
            assert other.values.shape == (1, 1)

    run(main())


def test_wrong_output_count_fails_the_image() -> None:
    class Short:
        def run(self, batch: F32) -> F32:
            return np.zeros((0, SIDE, SIDE), np.float32)

    async def main() -> None:
        with serving(Short()) as batcher:
            with pytest.raises(InternalError):
                await batcher.infer(image(1))
            assert batcher.alive

    run(main())


@pytest.mark.parametrize("error", [FatalEngineError("CUDA failure 700"), SystemExit("thread killed")], ids=repr)
def test_dead_worker_fails_everything(error: BaseException) -> None:
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
                await batcher.infer(image(5))

    run(main())
    assert causes == [error]
    assert observer.dropped == ["failed"] * 4


def test_watchdog_fails_a_hanging_run() -> None:
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


def test_close_finishes_accepted_requests() -> None:
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
                await batcher.infer(image(3))
            engine.gate.release(2)
            assert [float(result.values.max()) for result in await asyncio.gather(*tasks)] == [0, 1, 2]
            assert await closing
            assert not batcher.alive

    run(main())


def test_close_does_not_wait_for_announcements() -> None:
    async def main() -> None:
        clock = FakeClock()
        with serving(EchoEngine(), clock=clock) as batcher, batcher.announce():
            task = asyncio.create_task(batcher.infer(image(1)))
            await acquire(clock.read_by_worker)
            assert await asyncio.to_thread(batcher.close, True, 20)
            assert (await task).batch_size == 1

    run(main())


def test_close_without_drain_rejects_waiting_requests() -> None:
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


def test_close_completes_futures_of_hanging_engine() -> None:
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


def test_results_do_not_share_reused_buffers() -> None:
    class View:
        """Returns a view of its input, which is a buffer that the worker reuses."""

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
            assert [float(result.values.max()) for result in early] == [1, 2]

    run(main())


def test_batch_wakes_each_event_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_closed_event_loop_is_ignored() -> None:
    engine = EchoEngine(gated=True)
    assert engine.gate is not None
    with serving(engine) as batcher:

        async def leave() -> None:
            tasks_for(batcher, [1])
            await acquire(engine.entered)

        run(leave())  # cancels its task and closes its loop during the run
        engine.gate.release(2)

        async def stay() -> None:
            assert float((await batcher.infer(image(2))).values.max()) == 2
            assert batcher.alive

        run(stay())


def test_workers_run_in_parallel_and_share_the_queue() -> None:
    async def main() -> None:
        engines = [EchoEngine(gated=True), EchoEngine(gated=True)]
        with serving(*engines) as batcher:
            await until(lambda: batcher._queue.idle_workers == 2)
            with batcher.hold():
                tasks = await queued(batcher, [1, 2, 3, 4])
            for engine in engines:
                await acquire(engine.entered)  # both are running
            for engine in engines:  # only now, because an idle worker could take the run of the other one
                assert engine.gate is not None
                engine.gate.release()
            results = await asyncio.gather(*tasks)
            assert [result.batch_size for result in results] == [2, 2, 2, 2]

    run(main())


def test_several_event_loops() -> None:
    with serving(EchoEngine(), EchoEngine(), buckets=(1, 2, 4)) as batcher:
        wrong: list[float] = []

        def caller(base: int) -> None:
            async def main() -> None:
                for turn in range(20):
                    numbers = [base + 10 * turn + place for place in range(5)]
                    results = await asyncio.gather(*tasks_for(batcher, numbers))
                    wrong.extend(
                        number
                        for number, result in zip(numbers, results, strict=True)
                        if (result.values != number).any()
                    )

            run(main())

        threads = [threading.Thread(target=caller, args=(1000 * number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []


def test_failing_observer_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
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
                    await batcher.infer(image(2))
            await tasks[0]
            await batcher.infer(image(3))
            assert batcher.alive

    run(main())
    assert "observer" in caplog.text


def test_predicted_wait() -> None:
    async def main() -> None:
        clock, engine = FakeClock(), EchoEngine(gated=True)
        assert engine.gate is not None
        with serving(engine, clock=clock, buckets=(1, 4), cost_s={1: 1.0, 4: 2.0}) as batcher:
            assert batcher.predicted_wait() == 1.0
            assert batcher._cost.seconds(4) == 2.0
            tasks = tasks_for(batcher, [0])
            await acquire(engine.entered)
            clock.now += 0.25
            assert batcher.predicted_wait() == 1.75  # the rest of the current run, and its own run
            tasks += await queued(batcher, [1, 2, 3, 4])
            assert batcher.predicted_wait() == 3.75
            clock.now += 1.75
            engine.gate.release(2)
            await asyncio.gather(*tasks)
            assert batcher._cost.seconds(1) == pytest.approx(1.2)  # one fifth of the way to the measured 2 s

    run(main())


def test_needs_engine_bucket_and_capacity() -> None:
    with pytest.raises(ValueError, match="engine"):
        Batcher([], (1,), 1, 0.0)
    with pytest.raises(ValueError, match="capacity"):
        Batcher([EchoEngine()], (1,), 0, 0.0)
    with pytest.raises(ValueError, match="batch sizes"):
        Batcher([EchoEngine()], (), 1, 0.0)


def test_low_priority_runs_alone_and_last() -> None:
    engine = EchoEngine(gated=True)

    async def main() -> None:
        with serving(engine, buckets=(1, 2, 4)) as batcher:
            first = asyncio.create_task(batcher.infer(image(1)))
            await acquire(engine.entered)
            late = [asyncio.create_task(batcher.infer(image(number), low_priority=True)) for number in (8, 9)]
            await until(lambda: not batcher._queue.empty)
            others = await queued(batcher, [2, 3])
            assert batcher.depth == 2
            engine.gate.release(1000)
            await asyncio.gather(first, *late, *others)
        assert [sorted(batch.max(axis=(1, 2, 3))) for batch in engine.batches] == [[1], [2, 3], [8], [9]]

    run(main())


def test_low_priority_does_not_use_capacity() -> None:
    engine = EchoEngine(gated=True)

    async def main() -> None:
        with serving(engine, capacity=1) as batcher:
            first = asyncio.create_task(batcher.infer(image(1)))
            await acquire(engine.entered)
            late = [asyncio.create_task(batcher.infer(image(number), low_priority=True)) for number in (7, 8, 9)]
            (other,) = await queued(batcher, [2])
            with pytest.raises(Overloaded):
                await batcher.infer(image(3))
            engine.gate.release(1000)
            await asyncio.gather(first, other, *late)

    run(main())


def test_follow_up_goes_first_and_ignores_capacity() -> None:
    engine = EchoEngine(gated=True)

    async def main() -> None:
        with serving(engine, buckets=(1,), capacity=2) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            waiting = await queued(batcher, [1, 2])
            for number in (7, 8):
                waiting.append(asyncio.create_task(batcher.infer(image(number), follow_up=True)))
                await until(lambda: batcher.depth == len(waiting))
            with pytest.raises(Overloaded):
                await batcher.infer(image(3))
            engine.gate.release(1000)
            await asyncio.gather(*first, *waiting)
        assert [float(batch.max()) for batch in engine.batches] == [0, 7, 8, 1, 2]

    run(main())


def test_low_priority_follow_up_waits_for_others() -> None:
    engine = EchoEngine(gated=True)

    async def main() -> None:
        with serving(engine, buckets=(1,)) as batcher:
            first = tasks_for(batcher, [0])
            await acquire(engine.entered)
            waiting = [asyncio.create_task(batcher.infer(image(7), low_priority=True))]
            await asyncio.sleep(0)
            waiting.append(asyncio.create_task(batcher.infer(image(8), low_priority=True, follow_up=True)))
            await asyncio.sleep(0)
            waiting += await queued(batcher, [1])
            engine.gate.release(1000)
            await asyncio.gather(*first, *waiting)
        assert [float(batch.max()) for batch in engine.batches] == [0, 1, 8, 7]

    run(main())


def test_low_priority_waits_for_announced_requests() -> None:
    engine, clock = EchoEngine(), FakeClock()

    async def main() -> None:
        with serving(engine, clock=clock) as batcher:
            with batcher.announce() as arrival:
                late = asyncio.create_task(batcher.infer(image(9), low_priority=True))
                await until(lambda: not batcher._queue.empty)
                await batcher.infer(image(1), arrival=arrival)
            await late
        assert [batch.max() for batch in engine.batches] == [1, 9]

    run(main())


def test_close_rejects_low_priority_requests() -> None:
    async def main() -> None:
        with serving(EchoEngine()) as batcher:
            with batcher.hold():
                late = asyncio.create_task(batcher.infer(image(9), low_priority=True))
                await until(lambda: not batcher._queue.empty)
                assert batcher.close(drain=False, timeout=10)  # the request is rejected, not run
            with pytest.raises(Draining):
                await late

    run(main())


def test_expected_time_follows_measured_runs():
    batcher = Batcher([EchoEngine()], (1,), 4, 0.0, {1: 0.5})
    batcher.start()
    try:
        asyncio.run(batcher.infer(image(1)))
    finally:
        assert batcher.close(drain=False, timeout=20)
    assert batcher.seconds_per_image() < 0.5
