"""Chat templates of real families, as they are published or nearly so, each with the trouble it is known for."""

from __future__ import annotations

_QWEN_TOOLS = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
    {{- "# Tools\\n<tools>" }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}"""

_QWEN_CALLS = """\
        {%- for call in message.tool_calls or [] %}
            {%- if not loop.first or message.content %}{{- '\\n' }}{%- endif %}
            {{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- call.function.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}"""

_QWEN_RESULTS = """\
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\\n' }}{%- endif %}"""

HERMES = (
    _QWEN_TOOLS
    + """
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' + (message.content or '') }}
"""
    + _QWEN_CALLS
    + """
        {{- '<|im_end|>\\n' }}
"""
    + _QWEN_RESULTS
    + """
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
)
"""Qwen2.5 and Hermes: the end of a turn is followed by a line break nobody samples, and the JSON of a tool call is
written anew on lines of its own."""

THINKING = (
    _QWEN_TOOLS
    + """
{%- set ns = namespace(last_query=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}{%- set ns.last_query = loop.index0 %}{%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|im_start|>user\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- if message.reasoning_content and loop.index0 > ns.last_query %}
            {{- '<think>\\n' + message.reasoning_content.strip() + '\\n</think>\\n\\n' }}
        {%- endif %}
        {{- (message.content or '').lstrip('\\n') }}
"""
    + _QWEN_CALLS
    + """
        {{- '<|im_end|>\\n' }}
"""
    + _QWEN_RESULTS
    + """
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
)
"""Qwen3: reasoning stays in the prompt until the user speaks again, and is dropped then."""

STRIPPING = """\
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|Assistant|>' + (message.content or '').split('</think>')[-1] + '<|im_end|>' }}
    {%- else %}
        {{- '<|User|>' + message.content }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|Assistant|>' }}{%- endif %}"""
"""DeepSeek-R1: an answer's reasoning is dropped as soon as it is history."""

TRIMMING = """\
{{- '<|begin|>' }}
{%- for message in messages %}
    {{- '<|start|>' + message.role + '<|sep|>\\n\\n' + (message.content or '') | trim + '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant<|sep|>\\n\\n' }}{%- endif %}"""
"""Llama 3: white space around a text is not written down."""

MERGING = """\
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- 'Assistant:\\n' + (message.content or '') + '<|im_end|>\\n\\n' }}
    {%- else %}
        {{- 'Human: ' + message.content + '\\n\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'Assistant:\\n' }}{%- endif %}"""
"""Plain text markers: an answer that begins with a line break is one token with the end of the prompt."""

ENDLESS = """\
{%- for message in messages %}
    {{- ('Assistant:' if message.role == 'assistant' else 'Human:') + (message.content or '') + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'Assistant:' }}{%- endif %}"""
"""A base model: no token ends a turn; the client stops at a line break."""

PLAIN = {"hermes": HERMES, "thinking": THINKING, "trimming": TRIMMING, "merging": MERGING}
"""Templates that write a text without white space around it as it is, and end it with `<|im_end|>`."""
