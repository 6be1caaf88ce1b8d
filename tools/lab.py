"""Open JupyterLab at lesson 00, with nothing to answer on the way: `python -m tools.lab [any option of jupyter lab]`.

`make lab` runs this. What holds for everyone who installs the package (no news prompt, terminals that find `celery`)
lies in jupyter/; here is only what a start from a checkout adds.
"""

import os
import sys
from pathlib import Path

from jupyterlab import labapp

ROOT = Path(__file__).resolve().parent.parent
FIRST_LESSON = "notebooks/00_start_here.ipynb"


def has_display():
    """Whether a browser that is started here can be seen."""
    if sys.platform == "darwin":
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def arguments(*options):
    """What JupyterLab is told; an option that the learner gives takes the place of ours."""
    ours = [
        f"--ServerApp.root_dir={ROOT}",
        f"--LabApp.default_url=/lab/tree/{FIRST_LESSON}",
        "--ip=127.0.0.1",  # this machine only, whatever the learner's own settings say
        "--Application.log_level=ERROR",  # so that the address stands alone
    ]
    if os.geteuid() == 0:
        ours.append("--allow-root")  # in a container, being root is normal
    if not has_display():
        ours.append("--no-browser")
    given = {option.partition("=")[0] for option in options}
    ours = [option for option in ours if option.partition("=")[0] not in given]
    return [*ours, *options]


def environment():
    """The learner's own, with this course's programs, kernel and workspace first."""
    prefix = Path(sys.prefix)
    return os.environ | {
        "PATH": f"{prefix / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(prefix),
        # A kernel of the same name in the learner's home may run another Python.
        "JUPYTER_PREFER_ENV_PATH": "1",
        # Where JupyterLab keeps it by default, it would reopen the tabs of other projects, whose files are not here.
        "JUPYTERLAB_WORKSPACES_DIR": os.environ.get("JUPYTERLAB_WORKSPACES_DIR", str(prefix / "var" / "workspaces")),
    }


def main():
    print("JupyterLab is starting. Ctrl-C here, then y, ends it with everything it runs.", flush=True)
    os.environ.update(environment())
    labapp.main(arguments(*sys.argv[1:]))
    # Everything has ended, except perhaps a thread of a request that was under way, for which Python would wait for ever.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
