"""Settings of all tests: no example of Hypothesis has a deadline. How long one takes is the machine's affair."""

from hypothesis import settings

settings.register_profile("without_deadline", deadline=None)
settings.load_profile("without_deadline")
