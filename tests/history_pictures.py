"""What a picture shows, read from its artists."""

import pytest

from course_tasks.history import picture


def axes(events, **options):
    return picture(events, **options).figure.axes[0]


def artist(ax, gid):
    """The one artist with this gid."""
    [found] = [child for child in ax.get_children() if child.get_gid() == gid]
    return found


def lane(ax, name):
    """The height of a lane."""
    names = [label.get_text() for label in ax.get_yticklabels()]
    return ax.get_yticks()[names.index(name)]


def bars(ax, gid):
    """``(lane's height, begin, end)`` of every bar of a kind, ascending."""
    boxes = [path.get_extents() for path in artist(ax, gid).get_paths()]
    return sorted((round((box.y0 + box.y1) / 2, 6), round(box.x0, 6), round(box.x1, 6)) for box in boxes)


def lines(ax, gid):
    """``(height, begin, end)`` of every line along a lane, ascending."""
    return sorted((round(y, 6), round(x0, 6), round(x1, 6)) for (x0, y), (x1, _) in artist(ax, gid).get_segments())


def points(ax, gid):
    """The times of the markers of a kind."""
    return pytest.approx(artist(ax, gid).get_xdata())


def labels(ax):
    """The texts of all labels but the title."""
    return [text.get_text() for text in ax.texts if text.get_gid() != "title"]
