import unittest

from tinycsv import CsvError, read, write


class QuotesTest(unittest.TestCase):
    def test_a_doubled_quote_is_read_as_one(self):
        self.assertEqual(read('"say ""hi""",x\n'), [['say "hi"', "x"]])

    def test_a_quote_is_doubled_when_it_is_written(self):
        self.assertEqual(write([['say "hi"', "x"]]), '"say ""hi""",x\n')

    def test_text_after_a_closing_quote_is_refused(self):
        for text in ('"a"b\n', '"a" ,b\n'):
            with self.assertRaises(CsvError):
                read(text)


class RoundTripTest(unittest.TestCase):
    def test_rows_survive(self):
        for rows in (
            [["two\nlines", "x"], ["y", "\r\n"]],
            [[""], ["", ""], ["a"]],
            [['"', '""', ',"'], ["plain", "", "\n"]],
            [],
        ):
            self.assertEqual(read(write(rows)), rows)

    def test_an_empty_line_is_no_row(self):
        self.assertEqual(read("\na\n\n\nb"), [["a"], ["b"]])
        self.assertEqual(read('""\n""'), [[""], [""]])
