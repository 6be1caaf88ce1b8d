"""How the tables say what was measured."""

import statistics


def spread(values, digits):
    """The median, with the smallest and the largest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def ratio(over, under):
    """The median of the ratios, round by round."""
    return statistics.median(a / b for a, b in zip(over, under, strict=True))


def percentile(values, hundredths):
    """So many hundredths of ``values`` are at most that."""
    return statistics.quantiles(values, n=100)[hundredths - 1]
