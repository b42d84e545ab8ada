"""Rows of text as CSV."""


def write(rows):
    """The rows as text, a line each. Fields are quoted where they must be."""
    return "".join(",".join(_field(field) for field in row) + "\n" for row in rows)


def _field(text):
    if any(sign in text for sign in ',"'):
        return '"' + text + '"'
    return text
