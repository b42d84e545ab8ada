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

    def test_an_entry_that_was_read_stays(self):
        cache = Cache(2)
        cache.put("a", 1)
        cache.put("b", 2)
        cache.get("a")
        cache.put("c", 3)
        self.assertEqual((cache.get("a"), cache.get("b"), cache.get("c")), (1, None, 3))

    def test_an_entry_that_was_put_again_stays(self):
        cache = Cache(2)
        for key, value in (("a", 1), ("b", 2), ("a", 10), ("c", 3)):
            cache.put(key, value)
        self.assertEqual((cache.get("a"), cache.get("b")), (10, None))

    def test_the_keys_are_in_the_order_of_their_use(self):
        cache = Cache(3)
        for key in "abc":
            cache.put(key, key)
        cache.get("b")
        cache.get("a")
        cache.remove("c")
        self.assertEqual(cache.keys(), ["b", "a"])
        cache.get("missing")
        self.assertEqual(cache.keys(), ["b", "a"])
