"""CSV as rows of text."""


class CsvError(ValueError):
    """Text that is no CSV."""


def read(text):
    """The rows of a text; a field may stand in quotes, and a quote in it is doubled."""
    rows, row, field = [], [], ""
    quoted = closed = False
    position = 0
    while position < len(text):
        sign = text[position]
        if quoted:
            if sign != '"':
                field += sign
            elif text[position + 1 : position + 2] == '"':
                field += sign
                position += 1
            else:
                quoted, closed = False, True
        elif sign == ",":
            row.append(field)
            field, closed = "", False
        elif sign == "\n":
            if row or field or closed:
                rows.append([*row, field])
            row, field, closed = [], "", False
        elif closed:
            raise CsvError("text after a closing quote")
        elif sign == '"' and not field:
            quoted = True
        else:
            field += sign
        position += 1
    if quoted:
        raise CsvError("a quote is never closed")
    if field or row or closed:
        rows.append([*row, field])
    return rows
