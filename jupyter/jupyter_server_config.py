"""Settings of the Jupyter server for this course; installed into the environment's etc/jupyter."""

import sys
from pathlib import Path

import zmq

c = get_config()  # noqa: F821  (Jupyter puts it there)

# What passes between JupyterLab and a kernel goes over loopback, encrypted where the library can. Without, every kernel warns
# of eavesdroppers in the terminal in which the learner looks for the address.
if zmq.has("curve"):
    c.KernelManager.transport_encryption = "auto"

# Where the server itself runs without a terminal, Jupyter starts login shells, and on Debian a login shell sets PATH back,
# so that `celery` is not found. This shell reads the learner's ~/.bashrc and then puts the environment first.
_rcfile = Path(sys.prefix) / "share" / "jupyter" / "course_tasks" / "terminal.bashrc"
c.ServerApp.terminado_settings = {
    "shell_command": ["env", f"COURSE_TASKS_PREFIX={sys.prefix}", "bash", "--rcfile", str(_rcfile), "-i"]
}
