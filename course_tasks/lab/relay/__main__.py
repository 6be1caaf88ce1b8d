"""The process: ``python -m course_tasks.lab.relay SOCKET``."""

import resource
import sys

from course_tasks import kinship
from course_tasks.lab.relay.control import Control
from course_tasks.lab.relay.loop import Loop

MOST_FILES = 8192  # a link takes one, a connection two; macOS gives a process 256 unless it asks for more


def main(here):
    kinship.die_with_parent()  # whoever has started it without a warden, a test for one, may be killed
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    loop = Loop()
    Control(loop, here)
    while True:
        loop.turn()


if __name__ == "__main__":
    main(sys.argv[1])
