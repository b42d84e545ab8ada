"""The mock world: tasks of a team, and the notifications on a user's phone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar

from agentenv.tools import ToolError, tool
from agentenv_tau2.rows import Assertion, GoldCall
from agentenv_tau2.tables import Record, Table
from agentenv_tau2.world import Toolbox, World


class TodoStatus(StrEnum):
    PENDING = "pending"
    COMPLETED = "completed"


class Todo(Record):
    """What the mock domain calls a task."""

    task_id: str
    title: str
    description: str | None = None
    status: TodoStatus = TodoStatus.PENDING


class Member(Record):
    """A user of the mock domain."""

    user_id: str
    name: str
    tasks: tuple[str, ...] = ()


class NotificationStatus(StrEnum):
    UNREAD = "unread"
    READ = "read"


class Notification(Record):
    notification_id: str
    message: str
    task_id: str | None = None
    status: NotificationStatus = NotificationStatus.UNREAD


@dataclass(frozen=True, slots=True)
class MockDatabase:
    """The records of `db.json`; shared by all worlds."""

    digest: str
    tasks: Mapping[str, Todo]
    users: Mapping[str, Member]

    @classmethod
    def read(cls, text: str, digest: str) -> MockDatabase:
        raw = json.loads(text)
        tasks = {id: Todo.model_validate(record) for id, record in raw["tasks"].items()}
        users = {id: Member.model_validate(record) for id, record in raw["users"].items()}
        return cls(digest, tasks, users)


class Phone(Toolbox):
    """What the user of the mock domain has in hand. It is no part of the agent's database."""

    preparations: ClassVar[frozenset[str]] = frozenset({"add_notification"})
    assertions: ClassVar[frozenset[str]] = frozenset({"assert_notification_status"})

    def __init__(self) -> None:
        super().__init__()
        self._inbox: dict[str, Notification] = {}

    @tool(inline=True)
    def check_notifications(self) -> str:
        """Shows all notifications in your inbox."""
        return json.dumps([notification.model_dump(mode="json") for notification in self._inbox.values()])

    @tool(inline=True)
    def dismiss_notification(self, notification_id: str) -> str:
        """Marks a notification as read.

        Args:
            notification_id: Its id, such as "notif_1".
        """
        found = self._inbox.get(notification_id)
        if found is None:
            raise ToolError(f"Error: there is no notification {notification_id}.")
        self._inbox[notification_id] = found.but(status=NotificationStatus.READ)
        return f"Notification {notification_id} is dismissed."

    def add_notification(self, notification_id: str, message: str, task_id: str | None = None) -> None:
        self._inbox[notification_id] = Notification(notification_id=notification_id, message=message, task_id=task_id)

    def assert_notification_status(self, notification_id: str, expected_status: str) -> bool:
        found = self._inbox.get(notification_id)
        return found is not None and found.status == expected_status

    def state(self) -> Any:
        return dict(self._inbox)

    def take(self, state: Any) -> None:
        self._inbox = dict(state)

    def leave(self) -> None:
        for id in self._inbox:
            self.dismiss_notification(id)


class MockWorld(World):
    """The mock domain's tools for the agent, on a database of its own."""

    assertions: ClassVar[frozenset[str]] = frozenset({"assert_task_status"})

    def __init__(self, database: MockDatabase) -> None:
        self._tasks = Table(Todo, database.tasks)
        self._users = Table(Member, database.users)
        super().__init__(database.digest, {"tasks": self._tasks, "users": self._users}, Phone())

    @tool(inline=True)
    def create_task(self, user_id: str, title: str, description: str | None = None) -> Todo:
        """Creates a pending task for a user and returns it.

        Args:
            user_id: Whose task it is, such as "user_1".
            title: What it is called.
            description: What is to be done.
        """
        user = self._users.get(user_id)
        if user is None:
            raise ToolError(f"Error: there is no user {user_id}.")
        id = f"task_{len(self._tasks) + 1}"
        self._tasks[id] = created = Todo(task_id=id, title=title, description=description)
        self._users[user_id] = user.but(tasks=(*user.tasks, id))
        return created

    @tool(inline=True)
    def get_users(self) -> str:
        """Lists all users with the ids of their tasks."""
        return json.dumps([user.model_dump(mode="json") for user in self._users.values()])

    @tool(inline=True)
    def update_task_status(self, task_id: str, status: TodoStatus) -> Todo:
        """Changes the status of a task and returns the task.

        Args:
            task_id: Which task, such as "task_1".
            status: What it becomes.
        """
        found = self._tasks.get(task_id)
        if found is None:
            raise ToolError(f"Error: there is no task {task_id}.")
        self._tasks[task_id] = changed = found.but(status=status)
        return changed

    @tool(inline=True)
    def transfer_to_human_agents(self, summary: str) -> str:
        """Hands the user over to a human agent. Only for what the policy or the tools do not allow.

        Args:
            summary: What the user wants, in one or two sentences.
        """
        return "Transfer successful"

    def toward(self, assertion: Assertion) -> tuple[GoldCall, ...]:
        wanted = assertion.arguments
        if assertion.func_name != "assert_task_status" or not assertion.assert_value:
            return ()
        arguments = {"task_id": wanted["task_id"], "status": wanted["expected_status"]}
        return (GoldCall(action_id="toward", name="update_task_status", arguments=arguments),)

    def assert_task_status(self, task_id: str, expected_status: str) -> bool:
        found = self._tasks.get(task_id)
        return found is not None and found.status == expected_status
