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
    done = {}
    for first in sorted(graph.tasks()):
        path = {}
        waiting = [(first, None)]
        while waiting:
            task, needs = waiting.pop()
            if task in done:
                continue
            if needs is None:
                if task in path:
                    raise CycleError(_cycle(list(path), task))
                path[task] = None
                needs = iter(sorted(graph.needs(task)))
            need = next(needs, None)
            if need is None:
                del path[task]
                done[task] = None
            else:
                waiting += [(task, needs), (need, None)]
    return list(done)


def _cycle(path, task):
    members = path[path.index(task) :]
    start = members.index(min(members))
    return [*members[start:], *members[:start], members[start]]
