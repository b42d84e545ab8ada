"""The order in which tasks can be done."""


class CycleError(ValueError):
    """Tasks that wait for each other. `cycle` names them."""

    def __init__(self, cycle):
        super().__init__(" needs ".join(cycle))
        self.cycle = cycle


def order(graph):
    """Every task after those it needs; otherwise by name.

    Raises:
        CycleError: there is no such order.
    """
    done = []
    seen = set()

    def visit(task):
        if task in seen:
            return
        seen.add(task)
        for need in sorted(graph.needs(task)):
            visit(need)
        done.append(task)

    for task in sorted(graph.tasks()):
        visit(task)
    return done
