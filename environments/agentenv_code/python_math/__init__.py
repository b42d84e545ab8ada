"""Mathematics with a computer: reason, run Python, read what it prints, answer.

`problems` are where tasks come from, `answers` finds and reads the number a reply gives, `env` is the conversation.
"""

from __future__ import annotations
