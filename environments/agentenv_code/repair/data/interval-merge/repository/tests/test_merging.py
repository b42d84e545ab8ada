import unittest

from spans import gaps, merge


class MergeTest(unittest.TestCase):
    def test_overlapping_spans_become_one(self):
        self.assertEqual(merge([(1, 4), (3, 6)]), [(1, 6)])

    def test_touching_spans_become_one(self):
        self.assertEqual(merge([(4, 6), (1, 4)]), [(1, 6)])

    def test_empty_spans_are_dropped(self):
        self.assertEqual(merge([(2, 2), (5, 6)]), [(5, 6)])


class GapsTest(unittest.TestCase):
    def test_what_is_between_is_found(self):
        self.assertEqual(gaps([(2, 3), (5, 6)], 0, 8), [(0, 2), (3, 5), (6, 8)])
