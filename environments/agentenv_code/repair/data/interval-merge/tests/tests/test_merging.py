import unittest

from spans import gaps, merge


class MergeTest(unittest.TestCase):
    def test_overlapping_spans_become_one(self):
        self.assertEqual(merge([(1, 4), (3, 6)]), [(1, 6)])

    def test_touching_spans_become_one(self):
        self.assertEqual(merge([(4, 6), (1, 4)]), [(1, 6)])

    def test_empty_spans_are_dropped(self):
        self.assertEqual(merge([(2, 2), (5, 6)]), [(5, 6)])

    def test_a_span_inside_another_takes_nothing_away(self):
        self.assertEqual(merge([(0, 10), (2, 3), (12, 13)]), [(0, 10), (12, 13)])
        self.assertEqual(merge([(-5, 9), (-5, -4), (0, 9), (3, 4)]), [(-5, 9)])


class GapsTest(unittest.TestCase):
    def test_what_is_between_is_found(self):
        self.assertEqual(gaps([(2, 3), (5, 6)], 0, 8), [(0, 2), (3, 5), (6, 8)])

    def test_spans_beyond_either_side_do_not_count(self):
        self.assertEqual(gaps([(0, 3), (9, 20)], 5, 8), [(5, 8)])
        self.assertEqual(gaps([(5, 20)], 0, 4), [(0, 4)])
        self.assertEqual(gaps([(0, 3), (6, 7), (30, 31)], 5, 8), [(5, 6), (7, 8)])

    def test_what_is_covered_has_no_gap(self):
        self.assertEqual(gaps([(0, 10)], 2, 6), [])
        self.assertEqual(gaps([(0, 10), (3, 4)], 2, 10), [])
