"""Tasks and what each of them needs."""


class Graph:
    """Names of tasks, each with the tasks that have to be done before it."""

    def __init__(self):
        self._needs = {}

    def add(self, task, needs=()):
        """Adds a task, or more needs to it. What it needs is added, too, if it is not there yet."""
        known = self._needs.setdefault(task, {})
        for need in needs:
            known[need] = None
            self._needs.setdefault(need, {})

    def tasks(self):
        return list(self._needs)

    def needs(self, task):
        return list(self._needs[task])
