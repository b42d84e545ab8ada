"""The order in which keys were used."""


class UseOrder:
    """Keys from the least to the most recently used."""

    def __init__(self):
        self._keys = {}

    def touch(self, key):
        """Makes a key the most recently used one."""
        self._keys[key] = None

    def forget(self, key):
        self._keys.pop(key, None)

    def oldest(self):
        """The key whose last use is the longest ago."""
        return next(iter(self._keys))
