import unittest

from stopwatch import format_seconds, parse_seconds


class FormatTest(unittest.TestCase):
    def test_small_units_have_two_digits(self):
        self.assertEqual(format_seconds(3_907), "1h 05m 07s")

    def test_nothing_is_zero_seconds(self):
        self.assertEqual(format_seconds(0), "0s")

    def test_rounding_carries_into_larger_units(self):
        self.assertEqual(format_seconds(59.7), "1m 00s")
        self.assertEqual(format_seconds(3599.5), "1h 00m 00s")
        self.assertEqual(format_seconds(86_399.49), "23h 59m 59s")
        self.assertEqual(format_seconds(2.5), "3s")

    def test_negative_durations_have_a_sign(self):
        self.assertEqual(format_seconds(-90), "-1m 30s")
        self.assertEqual(format_seconds(-59.5), "-1m 00s")
        self.assertEqual(format_seconds(-0.2), "0s")


class ParseTest(unittest.TestCase):
    def test_parts_add_up(self):
        self.assertEqual(parse_seconds("1d 00h 00m 02s"), 86_402)

    def test_a_sign_is_read(self):
        self.assertEqual(parse_seconds("-1m 30s"), -90)

    def test_spaces_do_not_matter(self):
        self.assertEqual(parse_seconds(" 1h05m "), 3_900)

    def test_what_is_no_duration_is_refused(self):
        for text in ("5 apples", "", "1s 1m", "1m 2m", "3", "1m and 2s", "-"):
            with self.assertRaises(ValueError):
                parse_seconds(text)
