"""The tools that the conformance suite calls, as plain functions for `agentenv mcp serve tools`."""

from __future__ import annotations

from agentenv import Part, tool

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SILENCE = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="


@tool(inline=True)
def test_simple_text() -> str:
    """Answers with text."""
    return "This is a simple text response for testing."


@tool(inline=True)
def test_image_content() -> Part:
    """Answers with an image."""
    return Part.image_url(f"data:image/png;base64,{PIXEL}")


@tool(inline=True)
def test_audio_content() -> Part:
    """Answers with a sound."""
    return Part.audio(SILENCE, "wav")


@tool(inline=True)
def test_error_handling() -> str:
    """Fails, always."""
    raise ValueError("This tool intentionally returns an error for testing")


@tool(inline=True)
def add_numbers(a: float, b: float) -> float:
    """Adds two numbers."""
    return a + b


for _function in (test_simple_text, test_image_content, test_audio_content, test_error_handling):
    _function.__test__ = False  # type: ignore[attr-defined]  # a tool's name, not a test's
