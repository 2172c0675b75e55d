"""What holds for all tests."""

from hypothesis import HealthCheck, settings

# How long a machine takes for an example, or to think of one, says nothing of what is tested.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
