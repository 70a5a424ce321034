"""Arms that take turns, and what of their time counts."""

from sad.utils.clock import take_turns


def test_arms_take_turns_and_the_first_round_does_not_count(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])

    def takes(name, seconds):
        def arm():
            calls.append(name)
            clock[0] += seconds if calls.count(name) > 1 else 9

        return arm

    times = take_turns({"a": takes("a", 0.5), "b": takes("b", 0.25)}, 3)
    assert "".join(calls) == "abbaabba"
    assert times == {"a": [0.5] * 3, "b": [0.25] * 3}
