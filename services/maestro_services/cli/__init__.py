"""The ``maestro`` command: the one place that puts all parts together.

One module for each group of commands; a command imports its part when it runs, so that ``maestro --help`` is instant.
"""
