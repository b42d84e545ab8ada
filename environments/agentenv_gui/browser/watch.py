"""What happens in a page by itself: dialogs, new windows, downloads, loading, a crash. Each is dealt with at once.

A dialog is accepted: a question is answered with yes, a prompt with what stands in it, and a page that asks whether it
may be left is left. There is one window: what a click opens in a new one opens in this one, in place of what is there;
the mouse's button `back` goes back. A window that a script opens without a click is not opened. Downloads are denied.
Whatever came to pass is told in a notice.
"""

from __future__ import annotations

import contextlib
from typing import Any

from agentenv_gui.browser.cdp import Answer, BrowserStuck, Session

MOST_NOTICES = 10
"""Notices between two looks; the others are counted."""
ASKED_SECONDS = 0.1
"""How long it may take until another document is begun with, after a frame has asked for it. That is at once, but the
browser tells it by another way; or, as with a form, when some of the page's time has gone by."""
ASKED_TIMES = 3
_LONGEST_ADDRESS = 200
_BLOCKED = ("ERR_PROXY_CONNECTION_FAILED", "ERR_TUNNEL_CONNECTION_FAILED")

_SAID = {
    "alert": 'A dialog said "{message}" and was closed.',
    "confirm": 'A dialog asked "{message}" and was answered with yes.',
    "prompt": 'A dialog asked "{message}" and was answered with "{answer}".',
    "beforeunload": "The page asked whether it may be left, and was left.",
}


class Watch:
    """Watches one page, and deals with what happens.

    Args:
        session: of the page. frame: the id of its main frame.

    Attributes:
        documents: how many the main frame has had.
        loading: the frames that are loading. leaving: the frames that are about to have another document.
        asked: frames that have asked for another document, and how often one will wait for that to begin.
        wanted: the address that a new window was to have, and now this one is to have.
    """

    def __init__(self, session: Session, frame: str) -> None:
        self._session, self._frame = session, frame
        self._notices: list[str] = []
        self._more = 0
        self._changed: Answer | None = None
        self.documents = 0
        self.loading: set[str] = set()
        self.leaving: set[str] = set()
        self.asked: dict[str, int] = {}
        self.wanted: str | None = None
        for event, handler in {
            "Inspector.targetCrashed": self._crashed,
            "Log.entryAdded": self._logged,
            "Page.downloadWillBegin": self._download,
            "Page.fileChooserOpened": self._file_chooser,
            "Page.frameDetached": self._stopped,
            "Page.frameNavigated": self._navigated,
            "Page.frameRequestedNavigation": self._requested,
            "Page.frameStartedLoading": self._started,
            "Page.frameStartedNavigating": self._leaves,
            "Page.frameStoppedLoading": self._stopped,
            "Page.javascriptDialogOpening": self._dialog,
            "Page.navigatedWithinDocument": self._stays,
            "Page.windowOpen": self._window,
        }.items():
            session.on(event, handler)

    def start(self) -> None:
        """Has the browser tell of it."""
        for command, params in (
            ("Page.enable", None),
            ("Log.enable", None),
            ("Page.setInterceptFileChooserDialog", {"enabled": True}),
        ):
            self._session.post(command, params)

    def notice(self, text: str) -> None:
        """Adds a notice, unless it is the same as the last."""
        if text in self._notices[-1:]:
            return
        if len(self._notices) < MOST_NOTICES:
            self._notices.append(text)
        else:
            self._more += 1

    def take(self) -> tuple[str, ...]:
        """The notices since the last time."""
        more = (f"… and {self._more} more of such notices.",) if self._more else ()
        taken = (*self._notices, *more)
        self._notices.clear()
        self._more = 0
        return taken

    @property
    def restless(self) -> bool:
        """Whether anything is on its way."""
        return bool(self.loading or self.leaving or self.asked)

    async def arrived(self, seconds: float) -> None:
        """Until no frame is about to have another document.

        Raises:
            BrowserStuck: it takes longer than so many seconds. BrowserGone: the page has failed.
        """
        if self.asked and not self.leaving:
            with contextlib.suppress(BrowserStuck):
                await self._change(ASKED_SECONDS)
            self.asked = {frame: times - 1 for frame, times in self.asked.items() if times > 1}
        while self.leaving:
            await self._change(seconds)

    async def _change(self, seconds: float) -> None:
        self._changed = self._session.expect("")  # which fails with the page, and else is told by `_tell`
        await self._session.answer(self._changed, seconds)

    def stay(self) -> None:
        """Expects no other document any more."""
        self.leaving.clear()
        self.asked.clear()

    def _leaves(self, event: dict[str, Any]) -> None:
        if event.get("navigationType") not in ("sameDocument", "historySameDocument"):
            self.asked.pop(event["frameId"], None)
            self.leaving.add(event["frameId"])
            self._tell()

    def _requested(self, event: dict[str, Any]) -> None:
        if event.get("disposition") == "currentTab" and not event.get("url", "").startswith("javascript:"):
            self.asked[event["frameId"]] = ASKED_TIMES

    def _stays(self, event: dict[str, Any]) -> None:
        self.leaving.discard(event["frameId"])
        self.asked.pop(event["frameId"], None)
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result({})

    def _navigated(self, event: dict[str, Any]) -> None:
        frame = event["frame"]
        if (address := frame.get("unreachableUrl")) is not None:
            self.notice(f"{shortened(address)} cannot be reached from here.")
        if frame["id"] == self._frame:
            self.documents += 1
        self._stays({"frameId": frame["id"]})

    def _started(self, event: dict[str, Any]) -> None:
        self.loading.add(event["frameId"])

    def _stopped(self, event: dict[str, Any]) -> None:
        self.loading.discard(event["frameId"])
        self._stays(event)

    def _crashed(self, event: dict[str, Any]) -> None:
        self._session.connection.forget(self._session.id, "the page has crashed")

    def _dialog(self, event: dict[str, Any]) -> None:
        answer = event.get("defaultPrompt", "")
        self._session.post("Page.handleJavaScriptDialog", {"accept": True, "promptText": answer})
        said = _SAID.get(event["type"], _SAID["alert"])
        self.notice(said.format(message=shortened(event.get("message", "")), answer=shortened(answer)))

    def _window(self, event: dict[str, Any]) -> None:
        address = event.get("url", "")
        if event.get("userGesture") and address.startswith(("http:", "https:", "file:", "data:", "blob:")):
            self.wanted = address
            self.notice(f"A new window was to show {shortened(address)}; it is shown in this one.")
        else:
            self.notice(f"A new window was not opened: {shortened(address) or 'about:blank'}")

    def _download(self, event: dict[str, Any]) -> None:
        name = shortened(event.get("suggestedFilename", ""))
        self.notice(f'The download of "{name}" was denied.')
        self._stays(event)

    def _file_chooser(self, event: dict[str, Any]) -> None:
        self.notice("The page asked for a file, and was given none.")

    def _logged(self, event: dict[str, Any]) -> None:
        entry = event["entry"]
        if entry.get("source") == "network" and any(error in entry.get("text", "") for error in _BLOCKED):
            self.notice(f"{shortened(entry.get('url', ''))} cannot be reached from here.")


def shortened(text: str) -> str:
    """A text on one line, and of a length that can be read."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_ADDRESS else line[:_LONGEST_ADDRESS] + "…"
