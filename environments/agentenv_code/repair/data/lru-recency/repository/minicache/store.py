"""A cache of bounded size."""

from minicache.order import UseOrder


class Cache:
    """Keeps at most `size` entries; a new one takes the place of the least recently used."""

    def __init__(self, size):
        if size < 1:
            raise ValueError("a cache needs room for one entry")
        self._size = size
        self._entries = {}
        self._order = UseOrder()

    def __len__(self):
        return len(self._entries)

    def get(self, key, default=None):
        if key not in self._entries:
            return default
        self._order.touch(key)
        return self._entries[key]

    def put(self, key, value):
        if key not in self._entries and len(self._entries) >= self._size:
            self.remove(self._order.oldest())
        self._entries[key] = value
        self._order.touch(key)

    def remove(self, key):
        """Removes an entry, if it is there."""
        self._entries.pop(key, None)
        self._order.forget(key)

    def keys(self):
        """The keys, the least recently used first."""
        return list(self._order)
