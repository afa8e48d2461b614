from app.access.replay import Kept, Replays


def kept(size):
    return Kept(200, (), bytes(size))


def test_the_least_recently_used_goes_first_and_the_room_is_never_exceeded():
    replays = Replays(10)
    replays.keep("a", kept(4))
    replays.keep("b", kept(4))
    assert replays.get("a") is not None
    replays.keep("c", kept(4))
    assert replays.get("b") is None
    assert replays.get("a") is not None
    assert replays.used == 8


def test_what_is_larger_than_the_room_is_not_kept():
    replays = Replays(10)
    replays.keep("a", kept(11))
    assert replays.get("a") is None
    assert replays.used == 0


def test_keeping_twice_counts_once():
    replays = Replays(10)
    replays.keep("a", kept(4))
    replays.keep("a", kept(4))
    assert replays.used == 4
