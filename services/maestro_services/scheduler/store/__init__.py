"""The durable store: accepted workflows and every transition, in SQLite, committed in groups."""

from maestro_services.scheduler.store.store import Store, StoredWorkflow

__all__ = ["Store", "StoredWorkflow"]
