import pytest

from clearcut.accounts.keys import Quotas
from clearcut.accounts.ledger import Ledger
from clearcut.accounts.schema import open_engine
from clearcut.accounts.types import Charge, Idempotency
from clearcut.errors import IdempotencyConflict, IdempotencyMismatch, PaymentRequired, RateLimited
from tests.support.clock import FakeClock


@pytest.fixture
def ledger(tmp_path):
    clock = FakeClock(1_800_000_000.0)
    opened = Ledger(open_engine(f"sqlite:///{tmp_path}/keys.db", 1), 70, clock)
    opened.test_clock = clock
    yield opened
    opened.close()


def new_key_id(ledger, credits):
    ledger.create("test", "prepaid", credits, Quotas(None, None, None))
    return ledger.list_usage()[-1].account.id


def test_extended_reservation_keeps_its_credit(ledger):
    key = new_key_id(ledger, 1)
    charge = ledger.reserve(key, 1, 0, None)
    for _ in range(5):
        ledger.test_clock.now += 30
        ledger.extend(charge)
        with pytest.raises(PaymentRequired):
            ledger.reserve(key, 1, 0, None)
    assert ledger.settle(charge)
    assert ledger.usage(key).used == 1


def test_expired_reservation_frees_its_credit(ledger):
    key = new_key_id(ledger, 1)
    ledger.reserve(key, 1, 0, None)
    ledger.test_clock.now += 71
    assert ledger.settle(ledger.reserve(key, 1, 0, None))


def test_deleted_charges_stay_counted(ledger):
    key = new_key_id(ledger, 5)
    ledger.settle(ledger.reserve(key, 1, 0, None))
    ledger.reserve(key, 1, 0, None)  # by a process that was killed
    ledger.delete_expired()
    assert ledger.usage(key).used == 2
    ledger.test_clock.now += 25 * 3600
    ledger.delete_expired()
    assert ledger.usage(key).used == 1
    assert ledger.settle(ledger.reserve(key, 4, 0, None))


def test_database_file_is_private(ledger, tmp_path):
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0


def test_repeated_calls_for_a_job_have_no_effect(ledger):
    key = new_key_id(ledger, 2)
    first, second = Charge("j1", key, 1), Charge("j2", key, 1)
    for _ in range(3):
        ledger.reserve_for_job(first, 100)
        ledger.reserve_for_job(second, 100)
    assert ledger.usage(key).used == 2
    with pytest.raises(PaymentRequired):
        ledger.reserve_for_job(Charge("j3", key, 1), 100)
    assert [ledger.settle(first), ledger.settle(first)] == [True, False]
    ledger.release(second)
    ledger.release(second)
    ledger.release(first)
    assert ledger.usage(key).used == 1
    ledger.reserve_for_job(first, 100)
    assert ledger.usage(key).used == 1, "a charged job is not reserved again"
    ledger.reserve_for_job(second, 100)
    assert ledger.usage(key).used == 2, "a job that is retried is reserved again"


def test_job_reservation_is_never_shortened(ledger):
    key = new_key_id(ledger, 1)
    job = Charge("j1", key, 1)
    ledger.reserve_for_job(job, 100)
    ledger.reserve_for_job(job, 10)
    ledger.test_clock.now += 99
    assert ledger.usage(key).used == 1
    ledger.test_clock.now += 2
    assert ledger.usage(key).used == 0
    assert ledger.settle(job), "a job that finishes after its lease is charged"
    assert ledger.usage(key).used == 1


def test_waiting_jobs_are_not_concurrent_requests(ledger):
    key = new_key_id(ledger, 10)
    for number in range(3):
        ledger.reserve_for_job(Charge(f"j{number}", key, 1), 100)
    ledger.reserve(key, 1, 1, None)
    with pytest.raises(RateLimited):
        ledger.reserve(key, 1, 1, None)


def test_unconfirmed_charge_is_refunded(ledger):
    key = new_key_id(ledger, 1)
    charge = ledger.reserve(key, 1, 0, None)
    assert ledger.settle(charge, final=False)
    assert ledger.usage(key).used == 1
    ledger.release(charge)
    assert ledger.usage(key).used == 0
    ledger.release(charge)
    assert ledger.usage(key).used == 0


def test_confirmed_charge_is_not_refunded(ledger):
    key = new_key_id(ledger, 1)
    charge = ledger.reserve(key, 1, 0, Idempotency("a", "1"))
    ledger.settle(charge, final=False)
    ledger.confirm(charge)
    ledger.release(charge)
    assert ledger.usage(key).used == 1
    assert ledger.reserve(key, 1, 0, Idempotency("a", "1")).repeats


def test_repeat_waits_until_charge_is_confirmed(ledger):
    """A free repeat of a charge that is then refunded would be a free cut-out."""
    key = new_key_id(ledger, 2)
    charge = ledger.reserve(key, 1, 0, Idempotency("a", "1"))
    ledger.settle(charge, final=False)
    with pytest.raises(IdempotencyConflict):
        ledger.reserve(key, 1, 0, Idempotency("a", "1"))
    ledger.test_clock.now += 71  # the process was killed before it confirmed
    assert ledger.reserve(key, 1, 0, Idempotency("a", "1")).repeats
    ledger.release(charge)
    assert ledger.usage(key).used == 1


def test_refund_after_credits_were_set_adds_nothing(ledger):
    key = new_key_id(ledger, 1)
    charge = ledger.reserve(key, 1, 0, None)
    ledger.settle(charge, final=False)
    ledger.set_credits(key, "prepaid", 1)
    ledger.release(charge)
    assert ledger.usage(key).used == 0


def test_content_is_bound_to_idempotency_key(ledger):
    key = new_key_id(ledger, 2)
    charge = ledger.reserve(key, 1, 0, Idempotency("a", "1"))
    ledger.bind_content(charge, "x" * 64)
    ledger.settle(charge)
    repeat = ledger.reserve(key, 1, 0, Idempotency("a", "1"))
    ledger.bind_content(repeat, "x" * 64)
    with pytest.raises(IdempotencyMismatch):
        ledger.bind_content(repeat, "y" * 64)


def test_database_of_an_earlier_version_is_migrated(ledger, tmp_path):
    key = new_key_id(ledger, 1)
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE charges DROP COLUMN content_digest")
    again = Ledger(open_engine(f"sqlite:///{tmp_path}/keys.db", 1), 70)
    charge = again.reserve(key, 1, 0, Idempotency("a", "1"))
    again.bind_content(charge, "x" * 64)
    with again._engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT content_digest FROM charges").scalar_one() == "x" * 64
    again.close()


def test_every_commit_reaches_the_disk(ledger):
    """``synchronous`` 2 is FULL: a power cut loses no charge."""
    with ledger._engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
