from tinycsv.reading import CsvError, read
from tinycsv.writing import write

__all__ = ["CsvError", "read", "write"]
