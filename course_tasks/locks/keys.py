"""Names of the further keys that some locks need beside the lock itself."""


def beside(name, what):
    """The key (bytes) of ``what`` (bytes) belongs to the lock at key ``name`` (bytes): in a cluster, in the same slot.

    A cluster places a key by what stands between its first ``{`` and the next ``}``, if anything does, else by all of it.
    So a name without such a tag becomes one: ``{mail}:fence``. (A name with a ``}`` and no tag can't; it is for one server.)
    """
    tag, closed, _ = name.partition(b"{")[2].partition(b"}")
    return (name if tag and closed else b"{" + name + b"}") + b":" + what
