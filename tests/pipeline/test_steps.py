"""Steps are done once, and again only where what they are made from has changed."""

import json

import pytest

from sad.pipeline.steps import Record, Step, check_unchanged, run_steps, set_aside, stale_steps
from sad.utils.errors import UserError


@pytest.fixture
def chain(tmp_path):
    """(steps, what was done): b is made from a's result, c from a value alone."""
    done = []

    def step(name, made_from):
        result = tmp_path / "runs" / name / "result"

        def work():
            done.append(name)
            result.parent.mkdir(parents=True, exist_ok=True)
            result.write_text("".join(open(x).read() for x in made_from.values() if "/" in x))

        folder = str(result.parent)
        return Step(name, f"Do {name}", made_from, [str(result)], work, folder)

    (tmp_path / "source").write_text("one")
    steps = [
        step("a", {"the source": str(tmp_path / "source")}),
        step("b", {"a's result": str(tmp_path / "runs" / "a" / "result")}),
        step("c", {"a value": "3"}),
    ]
    return steps, done


def test_done_once(chain, tmp_path):
    steps, done = chain
    lines = []
    run_steps(steps, Record(str(tmp_path)), lines.append)
    run_steps(steps, Record(str(tmp_path)), lines.append)
    assert done == ["a", "b", "c"] and len(lines) == 6
    assert set(json.loads((tmp_path / "state.json").read_text())) == {"a", "b", "c"}


def test_what_changed_is_named_and_what_depends_on_it(chain, tmp_path):
    steps, done = chain
    record = Record(str(tmp_path))
    run_steps(steps, record, print)
    (tmp_path / "source").write_text("two")
    assert [step.name for step in stale_steps(steps, record)] == ["a", "b"]
    with pytest.raises(UserError, match=r"the source changed since.*done again: a, b\."):
        check_unchanged(steps, record)
    set_aside(stale_steps(steps, record), record, str(tmp_path))
    assert (tmp_path / "old" / "1" / "runs" / "a" / "result").read_text() == "one"
    check_unchanged(steps, record)
    run_steps(steps, record, print)
    assert done == ["a", "b", "c", "a", "b"]
    assert (tmp_path / "runs" / "b" / "result").read_text() == "two"


def test_a_step_that_was_stopped_goes_on(chain, tmp_path):
    steps, done = chain
    works = steps[1].work

    def stopped():
        raise KeyboardInterrupt

    steps[1].work = stopped
    with pytest.raises(KeyboardInterrupt):
        run_steps(steps, Record(str(tmp_path)), print)
    steps[1].work = works
    check_unchanged(steps, Record(str(tmp_path)))
    run_steps(steps, Record(str(tmp_path)), print)
    assert done == ["a", "b", "c"]


def test_a_yaml_is_what_it_says(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("SEED: 3\n")
    step = Step("a", "Do a", {"a.yaml": str(path)}, [], print)
    before = step.digests()
    path.write_text("# a comment\nSEED: 3\n")
    assert step.digests() == before
    path.write_text("SEED: 4\n")
    assert step.digests() != before
