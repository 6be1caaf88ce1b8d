"""Reading the history: from a real server, in pages, and as a table."""

import subprocess
import sys
import threading

import pandas as pd
import pytest
from history_examples import simulate

from course_tasks.history import follow, frame, read, reading
from course_tasks.history.recording import Recorder


@pytest.fixture(params=[{}, {"decode_responses": True}, {"protocol": 3}], ids=["bytes", "text", "RESP3"])
def client(server, request):
    return server.client(**request.param)


def test_what_was_recorded_is_read_in_the_streams_order(client):
    record = Recorder(client, 7, "worker1")
    record("began", lane="lab", detail={"lanes": ["worker1", "inbox"]})
    record("acquired", task="a", name="tasks.add", lease=2.5, token=3)
    record("delivered", lane="inbox", mail=1)
    events = read(client, 7)
    assert list(events.index) == [0, 1, 2]
    assert list(events.kind) == ["began", "acquired", "delivered"]
    assert list(events.lane) == ["lab", "worker1", "inbox"]
    assert events.t[0] == 0.0
    assert events.t.is_monotonic_increasing
    assert events.detail[0] == {"lanes": ["worker1", "inbox"]}
    assert events.lease[1] == 2.5
    assert events.token[1] == 3
    assert events.mail[2] == 1


def test_what_nobody_knows_is_not_recorded(client):
    record = Recorder(client, 7, "lab")
    with pytest.raises(KeyError, match="vanished"):
        record("vanished")
    with pytest.raises(KeyError, match="eaten"):
        record("fault began", lane="lock1", detail={"fault": "eaten"})
    assert len(read(client, 7)) == 0


def test_several_threads_may_record_at_once(client):
    """A lock that renews itself does so in a thread, and its task records meanwhile."""
    record = Recorder(client, 1, "worker1")

    def tell(kind):
        for number in range(200):
            record(kind, mail=number)

    threads = [threading.Thread(target=tell, args=[kind]) for kind in ("renewed", "read", "entered", "left")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    events = read(client, 1)
    assert len(events) == 800
    for _, told in events.groupby("kind"):
        assert list(told.mail) == list(range(200))


def test_runs_have_histories_of_their_own(client):
    Recorder(client, 1, "beat")("sent")
    assert len(read(client, 1)) == 1
    assert len(read(client, 2)) == 0


def test_a_long_history_comes_in_pages(client, monkeypatch):
    monkeypatch.setattr(reading, "PAGE", 10)
    record = Recorder(client, 1, "beat")
    for _ in range(25):
        record("sent")
    last_id, first = follow(client, 1)
    last_id, second = follow(client, 1, last_id)
    last_id, third = follow(client, 1, last_id)
    assert [len(first), len(second), len(third)] == [10, 10, 5]
    assert follow(client, 1, last_id) == (last_id, [])
    assert frame(first + second + third).equals(read(client, 1))


def test_following_waits_for_what_is_new(client, server):
    record = Recorder(client, 1, "beat")
    record("sent")
    last_id, _ = follow(client, 1)
    thread = threading.Thread(target=Recorder(server.client(), 1, "worker1"), args=["started"])
    thread.start()
    new = []
    while not new:
        last_id, new = follow(client, 1, last_id, block_seconds=1)
    thread.join()
    assert [event["kind"] for event in new] == ["started"]


def test_following_never_waits_longer_than_the_client_would(client, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST_BLOCK", 0.01)
    assert follow(client, 1, block_seconds=3600) == ("0", [])


def test_the_columns_are_typed_and_what_is_absent_is_missing():
    events = frame([{"t": 5.0, "kind": "began", "lane": "lab", "pid": 1}, {"t": 6.5, "kind": "sent", "lane": "beat"}])
    assert list(events.columns) == ["t", "kind", "lane", "pid", "task", "name", "mail", "lease", "token", "detail"]
    assert list(events.t) == [0.0, 1.5]
    assert [str(events[name].dtype) for name in ("pid", "mail", "token")] == ["Int64"] * 3
    assert events.mail.isna().all()
    assert events.lease.isna().all()
    assert list(events.task) == list(events.detail) == [None, None]


def test_no_events_make_an_empty_table_of_the_same_columns():
    assert list(frame([]).columns) == list(simulate().columns)
    assert list(frame([]).dtypes) == list(simulate().dtypes)
    assert len(frame([])) == 0


def test_a_run_that_goes_on_is_read_until_now():
    events = frame([{"t": 5.0, "kind": "began", "lane": "lab"}], now=7.0)
    assert events.t.iloc[-1] == 2.0


def test_the_rows_are_plain_python():
    row = next(reading.rows(frame([{"t": 5.0, "kind": "delivered", "lane": "inbox", "mail": 3}])))
    assert type(row.mail) is int
    assert row.token is pd.NA
    assert row.Index == 0


def test_recording_needs_neither_pandas_nor_matplotlib():
    program = "import sys, course_tasks.history.recording; print({'pandas', 'matplotlib', 'numpy'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == "set()\n"


def test_the_public_names_are_there():
    program = "from course_tasks import history; [getattr(history, name) for name in history.__all__]; history.nothing"
    failed = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert "has no attribute 'nothing'" in failed.stderr
