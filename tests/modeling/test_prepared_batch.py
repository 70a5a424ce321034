"""Which proposals of the teacher a batch has for its student."""

from detectron2.structures import Instances

from sad.modeling.prepared_batch import PreparedBatch
from sad.terms.term import Outputs


def test_proposals_by_the_position_of_their_image():
    batch = PreparedBatch(None, None, 0, {}, soft=[1, 3])
    assert batch.shared() == {}  # no teacher
    batch.teacher = Outputs()
    assert batch.shared() == {}  # which was not asked for any
    first, second = Instances((8, 8)), Instances((9, 9))
    batch.teacher.proposals = [first, second]
    assert batch.shared() == {1: first, 3: second}
