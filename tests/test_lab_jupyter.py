"""A real kernel, driven as Jupyter drives it: interrupt, restart, shut down, kill."""

import contextlib

import pytest
from conftest import ROOT
from jupyter_client.manager import KernelManager
from labs import LONG, wait_for

RUN = "run = lab.run(every=0.2, takes=0, seconds=1.5); print(list(run.events['kind']).count('finished') >= 1)"


class Notebook:
    """A kernel in ``notebooks/`` and its client."""

    def __init__(self, path):
        self.manager = KernelManager(kernel_name="python3", connection_file=str(path / "kernel.json"))
        self.manager.start_kernel(cwd=ROOT / "notebooks")
        self.client = self.manager.blocking_client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LONG)

    @property
    def pid(self):
        return self.manager.provisioner.process.pid

    def cell(self, cell, seconds=LONG):
        """Execute ``cell``; return what it shows: (the text it prints, its rich outputs). Raises RuntimeError if it raised."""
        self.begin(cell)
        return self.outcome(seconds)

    def begin(self, cell):
        self.request = self.client.execute(cell)

    def outcome(self, seconds=LONG):
        text, rich, error = "", [], None
        while True:
            message = self.client.get_iopub_msg(timeout=seconds)
            if message["parent_header"].get("msg_id") != self.request:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text += content["text"]
            elif message["msg_type"] in ("display_data", "update_display_data", "execute_result"):
                rich.append(content["data"])
            elif message["msg_type"] == "error":
                error = content["ename"]
            elif message["msg_type"] == "status" and content["execution_state"] == "idle":
                if error:
                    raise RuntimeError(error)
                return text, rich

    def close(self):
        self.client.stop_channels()
        with contextlib.suppress(Exception):
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture
def notebook(hunt, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_TASKS_LIVE", "1")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    notebook = Notebook(tmp_path)
    hunt.spare(notebook.pid)
    yield notebook
    notebook.close()


def started(notebook, hunt):
    """Run the cell that starts a lab; the table of its processes is what it shows."""
    hunt.spare(notebook.pid)
    text, rich = notebook.cell("from course_tasks import Lab\nlab = Lab(workers=2)\nprint(lab.warden_pid)")
    assert any("processes of the lab" in data.get("text/html", "") for data in rich)
    hunt.sessions.add(int(text))


def test_a_day_in_the_life_of_a_kernel(notebook, hunt):
    started(notebook, hunt)
    text, rich = notebook.cell(RUN)
    assert text == "True\n"
    assert any("<svg" in str(data) or "image/png" in data for data in rich), "the growing timeline"

    # The cell that starts the lab is run again: it just works.
    started(notebook, hunt)

    # Interrupt in the middle of a run.
    notebook.begin("lab.run(every=0.2, takes=60, seconds=60)")
    wait_for(lambda: any(hunt.directory.glob("course-lab-*/run1/outbox.sqlite")), "for the run to begin")
    notebook.manager.interrupt_kernel()
    with pytest.raises(RuntimeError, match="KeyboardInterrupt"):
        notebook.outcome()
    assert notebook.cell(RUN)[0] == "True\n"

    # Restart, as from the menu.
    before = notebook.pid
    notebook.manager.restart_kernel()
    hunt.spare(notebook.pid)
    assert notebook.pid != before
    hunt.nothing_left()
    notebook.client.wait_for_ready(timeout=LONG)
    started(notebook, hunt)

    # "Restart", when a kernel does not listen any more: it is killed.
    notebook.begin("import time\nwhile True: time.sleep(0.01)")
    notebook.manager.restart_kernel(now=True)
    hunt.spare(notebook.pid)
    hunt.nothing_left()
    notebook.client.wait_for_ready(timeout=LONG)
    started(notebook, hunt)

    # Shut down in the middle of a run, as when JupyterLab loses patience.
    notebook.begin("lab.run(every=0.2, takes=60, seconds=60)")
    wait_for(lambda: any(hunt.directory.glob("course-lab-*/run1/outbox.sqlite")), "for the run to begin")
    notebook.manager.shutdown_kernel(now=True)
    hunt.nothing_left()
