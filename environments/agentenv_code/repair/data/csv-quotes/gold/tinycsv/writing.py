"""Rows of text as CSV."""


def write(rows):
    """The rows as text, a line each. Fields are quoted where they must be."""
    return "".join(_line(row) + "\n" for row in rows)


def _line(row):
    return '""' if row == [""] else ",".join(_field(field) for field in row)


def _field(text):
    if any(sign in text for sign in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text
