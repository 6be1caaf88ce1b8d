"""How the tables say what was measured."""

import statistics

from course_tasks.history.wording import count, listing


def spread(values, digits):
    """The median, with the smallest and the largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio(over, under):
    """The median of the ratios, round by round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def percentile(values, hundredths):
    """So many hundredths of ``values`` are at most that."""
    return statistics.quantiles(values, n=100, method="inclusive")[hundredths - 1]


def attempts(outcomes):
    """A row (what, figure): how many attempts there were in the ``outcomes`` of schedules while another one held the lock."""
    contended = [outcome.contended for outcome in outcomes]
    fewest, most = min(contended, default=0), max(contended, default=0)
    return "  contended attempts", f"{sum(contended):,}, {fewest} to {most} in a schedule"


def total(outcomes, number):
    """The sum of ``number(outcome)`` over the ``outcomes`` of schedules, and in which there was any."""
    seeds = [outcome.schedule.seed for outcome in outcomes if number(outcome)]
    where = f", in {count(len(seeds), 'schedule')} (seeds {listing(seeds, 5)})" if seeds else ""
    return f"{sum(map(number, outcomes)):,}{where}"
