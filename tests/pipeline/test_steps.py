"""Steps that are done once, and done again where what they are made from has changed."""

import json

import pytest

from sad.pipeline.paths import Paths
from sad.pipeline.steps import Record, Step, check_unchanged, run_steps, set_aside, stale_steps
from sad.utils.errors import UserError


class Bakery:
    """flour -> dough -> bread, and a bill of dough alone; each is written by its step."""

    def __init__(self, folder):
        self.folder, self.paths = folder, Paths(str(folder))
        self.done, self.said, self.fails_at = [], [], ""
        (folder / "flour.txt").write_text("white")
        (folder / "oven.yaml").write_text("SOLVER: {MAX_ITER: 9}\n")

    def steps(self) -> list[Step]:
        flour, oven = str(self.folder / "flour.txt"), str(self.folder / "oven.yaml")
        return [
            self.step("dough", {"the flour": flour, "water": "cold"}),
            self.step("bread", {"the dough": self.result("dough"), "oven.yaml": oven}),
            self.step("bill", {"the dough": self.result("dough")}),
        ]

    def result(self, name: str) -> str:
        return self.paths.of("runs", name, "result.txt")

    def step(self, name: str, made_from: dict) -> Step:
        def work():
            folder = self.folder / "runs" / name
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "notes.txt").write_text("begun")
            if name == self.fails_at:
                raise KeyboardInterrupt
            self.done.append(name)
            (folder / "result.txt").write_text(f"{name} {len(self.done)}")

        after = lambda: ", tasty"  # noqa: E731
        folder = self.paths.run(name)
        return Step(name, f"Make {name}", made_from, [self.result(name)], work, folder, after)

    def call(self, steps=None, redo=False) -> list[str]:
        """What a call of the command does."""
        steps, record = steps or self.steps(), Record(str(self.folder))
        self.done, self.said = [], []
        if redo:
            set_aside(stale_steps(steps, record), record, Paths(str(self.folder)))
        check_unchanged(steps, record)
        run_steps(steps, record, self.said.append)
        return self.done


@pytest.fixture
def bakery(tmp_path):
    return Bakery(tmp_path)


def test_steps_are_done_once_and_in_order(bakery, capsys):
    assert bakery.call() == ["dough", "bread", "bill"]
    assert bakery.said[0] == "[1/3] Make dough: 0 min 00 s, tasty"
    assert "[2/3] Make bread\n" in capsys.readouterr().out  # said before it begins
    assert bakery.call() == []
    assert bakery.said[2] == "[3/3] Make bill: done earlier, tasty"


def test_a_result_that_is_gone_is_made_again(bakery):
    bakery.call()
    (bakery.folder / "runs" / "bill" / "result.txt").unlink()
    assert bakery.call() == ["bill"]


@pytest.mark.parametrize("step", ["dough", "bread", "bill"])
def test_a_call_that_was_stopped_is_gone_on_with(step, bakery):
    names = ["dough", "bread", "bill"]
    bakery.fails_at = step
    with pytest.raises(KeyboardInterrupt):
        bakery.call()
    assert bakery.done == names[: names.index(step)]
    (bakery.folder / "runs" / step / "result.txt").write_text("all but the last evaluation")
    bakery.fails_at = ""
    assert bakery.call() == names[names.index(step) :]
    assert not (bakery.folder / "old").exists()


def test_what_a_step_has_computed_besides_is_deleted_and_not_kept(bakery):
    leaven = bakery.folder / "leaven"
    for given in ("wheat", "rye"):
        (bakery.folder / "flour.txt").write_text(given)
        leaven.mkdir(exist_ok=True)
        dough, *others = bakery.steps()
        dough.besides.append(str(leaven))
        bakery.call([dough, *others], redo=True)
        assert leaven.exists() == (given == "wheat")
    assert not [*(bakery.folder / "old").rglob("leaven")]


@pytest.mark.parametrize(
    ("change", "what", "again"),
    [
        (("flour.txt", "rye"), "the flour", ["dough", "bread", "bill"]),
        (("oven.yaml", "SOLVER: {MAX_ITER: 8}"), "oven.yaml", ["bread"]),
        (("runs/dough/result.txt", "bought"), "the dough", ["bread", "bill"]),
    ],
)
def test_what_changed_is_named_with_what_is_to_be_done_again(change, what, again, bakery):
    bakery.call()
    path = bakery.folder / change[0]
    path.write_text(change[1])
    state = (bakery.folder / "state.json").read_bytes()
    with pytest.raises(UserError) as raised:
        bakery.call()
    assert str(raised.value).startswith(f"{what} changed since")
    assert f"to be done again: {', '.join(again)}." in str(raised.value)
    assert bakery.done == [] and (bakery.folder / "state.json").read_bytes() == state
    assert bakery.call(redo=True) == again
    for name in ("dough", "bread", "bill"):
        assert (bakery.folder / "old" / "1" / "runs" / name).exists() == (name in again)
    assert bakery.call() == []


def test_the_old_is_kept_whole_and_each_time_elsewhere(bakery):
    bakery.call()
    for number, flour in enumerate(("rye", "spelt"), start=1):
        (bakery.folder / "flour.txt").write_text(flour)
        bakery.call(redo=True)
        old = bakery.folder / "old" / f"{number}" / "runs"
        assert (old / "dough" / "notes.txt").read_text() == "begun"
        assert (old / "bread" / "result.txt").read_text() == "bread 2"
    assert (bakery.folder / "runs" / "bread" / "result.txt").read_text() == "bread 2"


def test_redo_without_a_change_does_nothing(bakery):
    bakery.call()
    assert bakery.call(redo=True) == []
    assert not (bakery.folder / "old").exists()


def test_files_that_say_the_same_are_no_change(bakery):
    bakery.call()
    (bakery.folder / "flour.txt").write_text("white")
    (bakery.folder / "oven.yaml").write_text("# comments\nSOLVER:\n  MAX_ITER: 9\n")
    assert bakery.call() == []


def test_what_was_not_begun_is_made_of_what_there_is_now(bakery):
    bakery.fails_at = "bread"
    with pytest.raises(KeyboardInterrupt):
        bakery.call()
    bakery.fails_at = ""
    (bakery.folder / "runs" / "dough" / "result.txt").write_text("bought")
    with pytest.raises(UserError, match="again: bread. "):  # the bill was not begun
        bakery.call()


def test_an_input_that_is_new_makes_a_step_again_without_asking(bakery):
    bakery.call()
    steps = bakery.steps()
    steps[2].made_from["bread"] = bakery.result("bread")  # as a baseline that is trained later
    assert bakery.call(steps) == ["bill"]
    assert bakery.call(steps) == []
    assert bakery.call() == []  # nor does one that is left out


def test_the_record_is_whole_at_any_moment(bakery, monkeypatch):
    seen = []

    def begin(self, step, before=Record.begin):
        before(self, step)
        seen.append(json.loads((bakery.folder / "state.json").read_text()))

    monkeypatch.setattr(Record, "begin", begin)
    bakery.call()
    assert [list(x) for x in seen] == [["dough"], ["dough", "bread"], ["dough", "bread", "bill"]]
    assert [x["done"] for x in seen[-1].values()] == [True, True, False]
    monkeypatch.setattr("sad.utils.files.os.replace", lambda *_: 1 / 0)  # the disk is full, say
    before = (bakery.folder / "state.json").read_bytes()
    with pytest.raises(ZeroDivisionError):
        Record(str(bakery.folder)).forget(bakery.steps()[0])
    assert (bakery.folder / "state.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "7", '{"dough": {"water": "1"}}', '{"a": 1}'])
def test_a_record_that_is_none(text, bakery):
    (bakery.folder / "state.json").write_text(text)
    with pytest.raises(UserError, match="state.json is none that this command has written"):
        bakery.call()
    assert (bakery.folder / "state.json").read_text() == text
