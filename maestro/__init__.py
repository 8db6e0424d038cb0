"""Maestro: a scheduler for multi-agent LLM workflows. The domain that all parts share, and the client.

What users need is importable from here; it is loaded when it is first named, so that ``import maestro`` stays light.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from maestro.client import AsyncClient, Client, PlanReport, WorkflowNotSucceededError, WorkflowResult
    from maestro.errors import MaestroError
    from maestro.workflow import ChatMessage, ContextPolicy, LlmStage, Sampling, Stage, ToolStage, WorkflowSpec

__all__ = [
    "AsyncClient",
    "ChatMessage",
    "Client",
    "ContextPolicy",
    "LlmStage",
    "MaestroError",
    "PlanReport",
    "Sampling",
    "Stage",
    "ToolStage",
    "WorkflowNotSucceededError",
    "WorkflowResult",
    "WorkflowSpec",
]

_HOMES = {
    **dict.fromkeys(
        ("AsyncClient", "Client", "PlanReport", "WorkflowNotSucceededError", "WorkflowResult"), "maestro.client"
    ),
    **dict.fromkeys(("MaestroError",), "maestro.errors"),
    **dict.fromkeys(
        ("ChatMessage", "ContextPolicy", "LlmStage", "Sampling", "Stage", "ToolStage", "WorkflowSpec"),
        "maestro.workflow",
    ),
}


def __getattr__(name: str) -> object:
    """Load a name's home when the name is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module 'maestro' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
