from orchestrator.fleet.rate_limit import RateLimit, RateLimits


class Seconds:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    seconds = Seconds()
    limit = RateLimit(per_second=2.0, burst=3, monotonic=seconds)
    assert [limit.allows() for _ in range(5)] == [True, True, True, False, False]
    seconds.now_s += 0.5
    assert [limit.allows() for _ in range(2)] == [True, False]
    seconds.now_s += 3600
    assert [limit.allows() for _ in range(4)] == [True, True, True, False]


def test_whoever_waits_as_told_keeps_the_rate() -> None:
    seconds = Seconds()
    limit = RateLimit(per_second=2.0, burst=1, monotonic=seconds)
    assert [limit.delay_s() for _ in range(3)] == [0.0, 0.5, 1.0]
    seconds.now_s += 1.0
    assert limit.delay_s() == 0.5


def test_what_is_given_back_is_not_counted() -> None:
    limit = RateLimit(per_second=0.001, burst=2, monotonic=Seconds())
    for _ in range(10):
        assert limit.allows()
        limit.give_back()
    assert [limit.allows() for _ in range(3)] == [True, True, False]


def test_keys_do_not_share_their_limit_and_very_many_are_not_kept() -> None:
    limits = RateLimits(lambda: RateLimit(per_second=0.001, burst=1, monotonic=Seconds()), capacity=2)
    assert limits.allows("a")
    assert not limits.allows("a")
    assert limits.allows("b")
    assert limits.allows("c")
    # "a" was quiet the longest, and is forgotten.
    assert limits.allows("a")
    assert not limits.allows("c")
