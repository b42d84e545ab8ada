"""(c) LangGraph: a model node, a tool node, and the way between them."""

from __future__ import annotations

from langchain_core.messages import HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import SecretStr

from examples.agents.task import INSTRUCTIONS, MAX_TURNS, MODEL, calculator

TOOLS = [tool(calculator)]

GAVE_UP = (GraphRecursionError,)
"""What ends an attempt that the model spoilt: too many turns."""


async def solve(question: str, base_url: str) -> str:
    """The agent's answer to the question."""
    model = ChatOpenAI(model=MODEL, base_url=base_url, api_key=SecretStr("none")).bind_tools(TOOLS)

    async def call_model(state: MessagesState) -> MessagesState:
        return {"messages": [await model.ainvoke([SystemMessage(INSTRUCTIONS), *state["messages"]])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", call_model)
    graph.add_node("tools", ToolNode(TOOLS))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    state = await graph.compile().ainvoke({"messages": [HumanMessage(question)]}, {"recursion_limit": 2 * MAX_TURNS})
    return str(state["messages"][-1].text)
