"""The producer: ``python -m course_tasks.invoker`` puts tasks into the queue and leaves.

With ``--mails`` it writes new mail into the outbox first.
"""

import argparse

from course_tasks import experiment, mailroom, observation, place, tasks
from course_tasks.celery import ARGUMENTS


def send(names, times):
    """Publish each task named in ``names``, ``times`` times over; return the task ids in that order."""
    return [tasks.app.send_task(name, ARGUMENTS.get(name, ())).id for _ in range(times) for name in names]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m course_tasks.invoker", description="Put tasks into the queue.")
    parser.add_argument(
        "tasks", nargs="*", metavar="TASK", help="for example tasks.add (default: add and data_extractor)"
    )
    parser.add_argument("--times", type=int, default=1, help="how often each is sent (default: once)")
    parser.add_argument("--mails", type=int, default=0, help="how many new mails to write into the outbox")
    arguments = parser.parse_args(argv)
    names = arguments.tasks or ["tasks.add", "tasks.data_extractor"]
    unknown = sorted(set(names) - set(tasks.app.tasks))
    if unknown:
        known = ", ".join(sorted(name for name in tasks.app.tasks if name.startswith("tasks.")))
        parser.error(f"no task is called {unknown[0]}; the tasks are {known}")
    if place.lab():
        observation.publish_as("invoker")
    if arguments.mails:
        mailroom.outbox(experiment.current()).write(arguments.mails)
    for task_id in send(names, arguments.times):
        print("sent", task_id)


if __name__ == "__main__":
    main()
