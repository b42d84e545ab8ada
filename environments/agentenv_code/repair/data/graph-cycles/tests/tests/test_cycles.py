import unittest

from taskgraph import CycleError, Graph, order


def graph_of(**needs):
    graph = Graph()
    for task, wanted in needs.items():
        graph.add(task, list(wanted))
    return graph


class CycleTest(unittest.TestCase):
    def test_a_cycle_is_named_from_its_first_task(self):
        with self.assertRaises(CycleError) as caught:
            order(graph_of(c="a", a="b", b="c", z="a"))
        self.assertEqual(caught.exception.cycle, ["a", "b", "c", "a"])

    def test_a_task_that_needs_itself_is_a_cycle(self):
        with self.assertRaises(CycleError) as caught:
            order(graph_of(a="x", x="x"))
        self.assertEqual(caught.exception.cycle, ["x", "x"])

    def test_two_ways_to_one_task_are_no_cycle(self):
        self.assertEqual(order(graph_of(d="bc", b="a", c="a")), ["a", "b", "c", "d"])

    def test_a_long_chain_is_put_in_order(self):
        graph = Graph()
        for number in range(5_000):
            graph.add(f"{number:05d}", [f"{number + 1:05d}"])
        self.assertEqual(order(graph), [f"{number:05d}" for number in range(5_000, -1, -1)])


class GraphTest(unittest.TestCase):
    def test_needs_are_added_to_those_that_are_known(self):
        graph = graph_of(roof=["walls"], walls=["ground"])
        graph.add("walls", ["bricks", "ground"])
        graph.add("walls")
        self.assertEqual(graph.needs("walls"), ["ground", "bricks"])
        self.assertEqual(sorted(graph.tasks()), ["bricks", "ground", "roof", "walls"])

    def test_lists_are_not_shared(self):
        graph, needs = Graph(), ["a"]
        graph.add("b", needs)
        needs.append("c")
        graph.needs("b").append("d")
        self.assertEqual(graph.needs("b"), ["a"])
