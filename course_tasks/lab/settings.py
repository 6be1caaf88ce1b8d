"""What is set on a lab's lock servers while they run (CONFIG SET), and set back."""

# Not to be set, but the outcome of a role in replication.
ROLE = {"replicaof", "slaveof"}


class Settings:
    """The settings of the servers of ``crew`` as they were when each was started."""

    def __init__(self, crew):
        self._crew, self._first = crew, {}

    def remember(self, name):
        """Take the settings that ``name`` has now for those it started with."""
        self._first[name] = self._now(name)

    def restore(self, name):
        """Set back what was set on ``name`` since then."""
        first = self._first[name]
        for key, value in self._now(name).items():
            if value != first[key]:
                self._crew.itself(name).config_set(key, first[key])

    def _now(self, name):
        return {key: value for key, value in self._crew.itself(name).config_get("*").items() if key not in ROLE}
