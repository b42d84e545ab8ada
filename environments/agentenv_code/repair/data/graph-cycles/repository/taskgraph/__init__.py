from taskgraph.graph import Graph
from taskgraph.order import CycleError, order

__all__ = ["CycleError", "Graph", "order"]
