"""The course's own figures, as tables: `make bench`, or one of them with `make bench ARGS=lab`.

Each module of this package has a function `measure()`, which returns rows of (what was measured, its figure). Figures hold
for the machine they were taken on; ratios within one table travel better.
"""

import importlib
import os
import sys
import time

MODULES = ("lab", "history", "locks", "contention", "schedules", "redlock", "quorum", "setup")


def main():
    os.environ["COURSE_TASKS_LIVE"] = "0"  # drawing while a run goes on would be measured too
    for name in sys.argv[1:] or MODULES:
        begin = time.monotonic()
        rows = importlib.import_module(f"bench.{name}").measure()
        width = max(len(what) for what, _ in rows)
        print(f"\n{name} ({time.monotonic() - begin:.0f} s)")
        for what, figure in rows:
            print(f"  {what:<{width}}  {figure}", flush=True)


if __name__ == "__main__":
    main()
