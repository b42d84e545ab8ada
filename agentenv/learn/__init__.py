"""Learning: advantages, losses, batches and the trainer.

torch is imported by the modules that compute with tensors and by nothing that this package imports on its own.
"""

from __future__ import annotations
