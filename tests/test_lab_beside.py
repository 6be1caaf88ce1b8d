"""A lab beside the learner's: neither closes the other, nothing of it is shown, and nothing is left of it."""

import pytest
from labs import Setnx, contend_until, kinds, run_until

from course_tasks import Lab
from course_tasks.lab import LabError


def test_both_work_at_once_and_each_is_closed_alone(lab):
    first = run_until(lab, Setnx, every=0.1, takes=0, until={"finished": 2})
    with Lab(workers=1, beside=True) as other:
        assert other.place.path != lab.place.path
        run = run_until(other, Setnx, every=0.1, takes=0, until={"finished": 2})
        assert set(run.events["lane"]) == {"lab", "beat", "worker1", "inbox"}
        assert contend_until(other, Setnx, contenders=2, until={"entered": 4}).verdict.most_inside == 1
        assert run_until(lab, Setnx, every=0.1, takes=0, until={"finished": 2}).number == first.number + 1
        assert other.send("tasks.add", 1, 2).get(timeout=30) == 3
    assert not other.place.path.exists()
    with pytest.raises(LabError, match="The lab is closed"):
        other.run()
    assert kinds(run_until(lab, Setnx, every=0.1, takes=0, until={"finished": 1})).count("finished") >= 1


def test_the_learners_next_lab_closes_the_one_before_and_not_the_one_beside(kernel, hunt):
    places = kernel.cell("""
beside = Lab(workers=1, beside=True)
first = Lab(workers=1)
second = Lab(workers=1)
another = Lab(workers=1, beside=True)
_ = [lab.place.path.exists() for lab in (beside, first, second, another)]
""")
    assert places == [True, False, True, True]
    assert kernel.cell("_ = beside.send('tasks.add', 1, 2).get(timeout=30)") == 3
    kernel.cell("beside.close(); second.close(); another.close()")
    hunt.nothing_left()


@pytest.mark.parametrize("end", ["kill", "exit"])
def test_both_go_with_the_kernel(kernel, hunt, end):
    kernel.cell("lab = Lab(workers=1); beside = Lab(workers=1, beside=True)")
    hunt.family(kernel.pid)
    if end == "kill":
        kernel.kill()
    else:
        kernel.process.stdin.close()  # the player leaves its loop, and Python ends as it does
        kernel.process.wait(timeout=60)
    hunt.nothing_left()
