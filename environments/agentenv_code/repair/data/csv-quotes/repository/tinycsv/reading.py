"""CSV as rows of text."""


class CsvError(ValueError):
    """Text that is no CSV."""


def read(text):
    """The rows of a text; a field may stand in quotes, and a quote in it is doubled."""
    rows, row, field = [], [], ""
    quoted = False
    position = 0
    while position < len(text):
        sign = text[position]
        if quoted:
            if sign == '"':
                quoted = False
            else:
                field += sign
        elif sign == '"' and not field:
            quoted = True
        elif sign == ",":
            row.append(field)
            field = ""
        elif sign == "\n":
            rows.append([*row, field])
            row, field = [], ""
        else:
            field += sign
        position += 1
    if quoted:
        raise CsvError("a quote is never closed")
    if field or row:
        rows.append([*row, field])
    return rows
