import unittest

from tinycsv import CsvError, read, write


class ReadTest(unittest.TestCase):
    def test_rows_and_fields(self):
        self.assertEqual(read("a,b\nc,\n"), [["a", "b"], ["c", ""]])

    def test_a_comma_in_quotes_is_text(self):
        self.assertEqual(read('"a,b",c\n'), [["a,b", "c"]])

    def test_an_open_quote_is_refused(self):
        with self.assertRaises(CsvError):
            read('"a\n')


class WriteTest(unittest.TestCase):
    def test_a_comma_makes_quotes(self):
        self.assertEqual(write([["a,b", "c"]]), '"a,b",c\n')
