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
    made = Ledger(open_engine(f"sqlite:///{tmp_path}/keys.db", 1), 70, clock)
    made.test_clock = clock
    yield made
    made.close()


def key_of(ledger, credits):
    ledger.create("test", "prepaid", credits, Quotas(None, None, None))
    return ledger.every()[-1].account.id


def test_an_extended_reservation_keeps_its_credit_from_others(ledger):
    key = key_of(ledger, 1)
    slow = ledger.open(key, 1, 0, None)
    for _ in range(5):
        ledger.test_clock.now += 30
        ledger.extend(slow)
        with pytest.raises(PaymentRequired):
            ledger.open(key, 1, 0, None)
    assert ledger.settle(slow)
    assert ledger.usage(key).used == 1


def test_a_dead_reservation_frees_its_credit(ledger):
    key = key_of(ledger, 1)
    ledger.open(key, 1, 0, None)
    ledger.test_clock.now += 71
    assert ledger.settle(ledger.open(key, 1, 0, None))


def test_charges_are_forgotten_after_a_day_and_stay_counted(ledger):
    key = key_of(ledger, 5)
    ledger.settle(ledger.open(key, 1, 0, None))
    ledger.open(key, 1, 0, None)  # of a process that died
    ledger.forget()
    assert ledger.usage(key).used == 2
    ledger.test_clock.now += 25 * 3600
    ledger.forget()
    assert ledger.usage(key).used == 1
    assert ledger.settle(ledger.open(key, 4, 0, None))


def test_the_database_file_is_its_owners_alone(ledger, tmp_path):
    assert (tmp_path / "keys.db").stat().st_mode & 0o077 == 0


def test_a_job_is_reserved_charged_and_given_back_once_however_often_it_is_said(ledger):
    key = key_of(ledger, 2)
    first, second = Charge("j1", key, 1), Charge("j2", key, 1)
    for _ in range(3):
        ledger.hold(first, 100)
        ledger.hold(second, 100)
    assert ledger.usage(key).used == 2
    with pytest.raises(PaymentRequired):
        ledger.hold(Charge("j3", key, 1), 100)
    assert [ledger.settle(first), ledger.settle(first)] == [True, False]
    ledger.release(second)
    ledger.release(second)
    ledger.release(first)
    assert ledger.usage(key).used == 1
    ledger.hold(first, 100)
    assert ledger.usage(key).used == 1, "what is charged is not reserved again"
    ledger.hold(second, 100)
    assert ledger.usage(key).used == 2, "a job that is tried again makes another reservation"


def test_a_job_that_may_never_be_enqueued_is_reserved_for_its_lease_and_no_shorter(ledger):
    key = key_of(ledger, 1)
    job = Charge("j1", key, 1)
    ledger.hold(job, 100)
    ledger.hold(job, 10)
    ledger.test_clock.now += 99
    assert ledger.usage(key).used == 1
    ledger.test_clock.now += 2
    assert ledger.usage(key).used == 0
    assert ledger.settle(job), "done all the same, and charged"
    assert ledger.usage(key).used == 1


def test_jobs_that_wait_are_no_requests_in_work(ledger):
    key = key_of(ledger, 10)
    for number in range(3):
        ledger.hold(Charge(f"j{number}", key, 1), 100)
    ledger.open(key, 1, 1, None)
    with pytest.raises(RateLimited):
        ledger.open(key, 1, 1, None)


def test_unconfirmed_charge_is_refunded(ledger):
    key = key_of(ledger, 1)
    charge = ledger.open(key, 1, 0, None)
    assert ledger.settle(charge, final=False)
    assert ledger.usage(key).used == 1
    ledger.release(charge)
    assert ledger.usage(key).used == 0
    ledger.release(charge)
    assert ledger.usage(key).used == 0


def test_confirmed_charge_is_not_refunded(ledger):
    key = key_of(ledger, 1)
    charge = ledger.open(key, 1, 0, Idempotency("a", "1"))
    ledger.settle(charge, final=False)
    ledger.confirm(charge)
    ledger.release(charge)
    assert ledger.usage(key).used == 1
    assert ledger.open(key, 1, 0, Idempotency("a", "1")).repeats


def test_repeat_waits_until_charge_is_confirmed(ledger):
    """A free repeat of a charge that is then refunded would be a free cut-out."""
    key = key_of(ledger, 2)
    charge = ledger.open(key, 1, 0, Idempotency("a", "1"))
    ledger.settle(charge, final=False)
    with pytest.raises(IdempotencyConflict):
        ledger.open(key, 1, 0, Idempotency("a", "1"))
    ledger.test_clock.now += 71  # the process was killed before it confirmed
    assert ledger.open(key, 1, 0, Idempotency("a", "1")).repeats
    ledger.release(charge)
    assert ledger.usage(key).used == 1


def test_refund_after_credits_were_set_adds_nothing(ledger):
    key = key_of(ledger, 1)
    charge = ledger.open(key, 1, 0, None)
    ledger.settle(charge, final=False)
    ledger.set_credits(key, "prepaid", 1)
    ledger.release(charge)
    assert ledger.usage(key).used == 0


def test_content_is_bound_to_idempotency_key(ledger):
    key = key_of(ledger, 2)
    charge = ledger.open(key, 1, 0, Idempotency("a", "1"))
    ledger.bind_content(charge, "x" * 64)
    ledger.settle(charge)
    repeat = ledger.open(key, 1, 0, Idempotency("a", "1"))
    ledger.bind_content(repeat, "x" * 64)
    with pytest.raises(IdempotencyMismatch):
        ledger.bind_content(repeat, "y" * 64)


def test_database_of_an_earlier_version_is_migrated(ledger, tmp_path):
    key = key_of(ledger, 1)
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE charges DROP COLUMN content_digest")
    again = Ledger(open_engine(f"sqlite:///{tmp_path}/keys.db", 1), 70)
    charge = again.open(key, 1, 0, Idempotency("a", "1"))
    again.bind_content(charge, "x" * 64)
    with again._engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT content_digest FROM charges").scalar_one() == "x" * 64
    again.close()


def test_every_commit_reaches_the_disk(ledger):
    """``synchronous`` 2 is FULL: a power cut loses no charge."""
    with ledger._engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
