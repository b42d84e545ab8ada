import unittest

from stopwatch import format_seconds, parse_seconds


class FormatTest(unittest.TestCase):
    def test_small_units_have_two_digits(self):
        self.assertEqual(format_seconds(3_907), "1h 05m 07s")

    def test_nothing_is_zero_seconds(self):
        self.assertEqual(format_seconds(0), "0s")


class ParseTest(unittest.TestCase):
    def test_parts_add_up(self):
        self.assertEqual(parse_seconds("1d 00h 00m 02s"), 86_402)
