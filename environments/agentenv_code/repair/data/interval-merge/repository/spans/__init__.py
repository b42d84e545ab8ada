from spans.merging import gaps, merge

__all__ = ["gaps", "merge"]
