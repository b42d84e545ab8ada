import unittest

from taskgraph import Graph, order


class OrderTest(unittest.TestCase):
    def test_needs_come_first(self):
        graph = Graph()
        graph.add("roof", ["walls"])
        graph.add("walls", ["ground"])
        self.assertEqual(order(graph), ["ground", "walls", "roof"])

    def test_tasks_that_need_nothing_are_sorted(self):
        graph = Graph()
        for name in "cab":
            graph.add(name)
        self.assertEqual(order(graph), ["a", "b", "c"])
