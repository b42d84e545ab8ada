import unittest

from minicache import Cache


class CacheTest(unittest.TestCase):
    def test_what_was_put_is_there(self):
        cache = Cache(2)
        cache.put("a", 1)
        self.assertEqual(cache.get("a"), 1)
        self.assertEqual(cache.get("b", "none"), "none")

    def test_the_first_entry_makes_room(self):
        cache = Cache(2)
        for key in "abc":
            cache.put(key, key)
        self.assertEqual(len(cache), 2)
        self.assertIsNone(cache.get("a"))

    def test_a_cache_without_room_is_refused(self):
        with self.assertRaises(ValueError):
            Cache(0)
