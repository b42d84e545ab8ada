"""A server that breaks every rule, without the SDK: it would not let one. `python rude.py` speaks over stdio."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

OBJECT = {"type": "object"}
TOOLS: list[dict[str, Any]] = [
    *({"name": name, "inputSchema": OBJECT} for name in ("die", "hang", "flood", "garbage", "huge", "ok", "change")),
    {"name": "twice", "description": "the first", "inputSchema": OBJECT},
    {"name": "twice", "description": "the second", "inputSchema": OBJECT},
    {"name": "odd/näme with spaces" + "x" * 80, "inputSchema": OBJECT},
    {"name": "badly_described", "inputSchema": {"type": "object", "properties": {"a": {"type": "objekt"}}}},
    {
        "name": "unsupported",
        "inputSchema": {"type": "object", "properties": {"a": {"type": "string", "x-widget": 1}}, "wishes": True},
    },
    {"name": "remote", "inputSchema": {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/a"}}}},
    {"name": "lies", "inputSchema": OBJECT, "outputSchema": {"type": "object", "required": ["number"]}},
]


def say(message: object) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def called(id: object, name: str, arguments: dict[str, Any]) -> None:
    text = "fine"
    if name == "die":
        print("the disk is on fire", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "hang":
        time.sleep(3600)
    if name == "flood":
        while True:
            sys.stdout.write("x" * 2**20)
    if name == "garbage":
        sys.stdout.write("{this is no JSON\n[]\n\xff\n")
        sys.stdout.flush()
        return
    if name == "huge":
        text = "x" * 50_000_000
    if name == "change":
        TOOLS[:] = [{"name": "other", "inputSchema": OBJECT}]
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    if not any(tool["name"] == name for tool in TOOLS) and name != "change":
        say({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": f"Unknown tool: {name}"}})
        return
    result: dict[str, Any] = {"content": [{"type": "text", "text": text}]}
    if name == "lies":
        result["structuredContent"] = {"word": "no number"}
    say({"jsonrpc": "2.0", "id": id, "result": result})


for line in sys.stdin:
    asked = json.loads(line)
    method, id = asked["method"], asked.get("id")
    if method == "initialize":
        about = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": True}}}
        say({"jsonrpc": "2.0", "id": id, "result": about | {"serverInfo": {"name": "rude", "version": "0"}}})
    elif method == "tools/list":
        say({"jsonrpc": "2.0", "id": id, "result": {"tools": TOOLS}})
    elif method == "tools/call":
        called(id, asked["params"]["name"], asked["params"].get("arguments", {}))
    elif id is not None:
        say({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}})
