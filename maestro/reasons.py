"""Every outcome that a person may ask about, as one enum used alike in logs, metrics, API and CLI."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a stage waits, why an attempt or a workflow ended, why a plan is a fallback."""

    # Why a stage is not running.
    WAITING_FOR_PREDECESSORS = "waiting_for_predecessors"
    WAITING_FOR_TOOL = "waiting_for_tool"
    WAITING_FOR_PLAN = "waiting_for_plan"
    WAITING_FOR_LOAD = "waiting_for_load"
    WAITING_FOR_DRAIN = "waiting_for_drain"
    WAITING_FOR_BATCH_SLOT = "waiting_for_batch_slot"
    WAITING_FOR_KV = "waiting_for_kv"
    WAITING_FOR_EARLIER_STAGE = "waiting_for_earlier_stage"
    WAITING_FOR_RETRY = "waiting_for_retry"
    DEFERRED_BEYOND_HORIZON = "deferred_beyond_horizon"
    NO_NODE = "no_node"
    NO_ACCELERATOR_FITS = "no_accelerator_fits"

    # How an attempt, a stage or a workflow ended.
    COMPLETED = "completed"
    CANCELLED_BY_CLIENT = "cancelled_by_client"
    CONTEXT_LIMIT = "context_limit"
    ENGINE_ABORTED = "engine_aborted"
    ENGINE_DIED = "engine_died"
    ENGINE_REJECTED = "engine_rejected"
    NODE_LOST = "node_lost"
    STALE_GENERATION = "stale_generation"
    RETRIES_EXHAUSTED = "retries_exhausted"
    PREDECESSOR_FAILED = "predecessor_failed"
    TOOL_FAILED = "tool_failed"

    # Why a load did not happen.
    LOAD_FAILED = "load_failed"
    MEMORY_EXCEEDED = "memory_exceeded"

    # Why a plan did not come from the solver.
    SOLVER_TIMED_OUT = "solver_timed_out"
    SOLVER_CRASHED = "solver_crashed"
    SOLVER_RAISED = "solver_raised"
    SOLVER_NOT_BETTER = "solver_not_better"
    SOLVER_NOT_READY = "solver_not_ready"
    MODEL_TOO_LARGE = "model_too_large"
    PLAN_REJECTED_BY_CHECKER = "plan_rejected_by_checker"
    NOTHING_TO_PLAN = "nothing_to_plan"
