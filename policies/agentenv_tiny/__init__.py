"""agentenv_tiny: the embedded policy, a small language model made from scratch and served in process.

Importing the package is light; torch, transformers and tokenizers are loaded when a name that needs them is used.
"""

from __future__ import annotations
