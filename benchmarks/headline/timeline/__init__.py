"""Pictures of one run over time: who ran where (a Gantt chart), and what memory was taken by."""
