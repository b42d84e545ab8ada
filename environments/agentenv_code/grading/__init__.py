"""Verdicts on programs that nobody trusts.

The program runs alone in a sandbox and is shown inputs, never what they should lead to. What comes back is plain data,
and whether it is right is found out somewhere else: in this process for expected values, and in a second sandbox, where
nothing of the program's ever ran, for tests that are programs themselves.
"""
