"""What holds for all tests."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "tests",
    # How long a machine takes for an example, or to think of one, says nothing of what is tested.
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # Where a change is judged, it is judged by itself and not by chance; that has its turn everywhere else.
    derandomize="TRIOSERVICE_SAME_EXAMPLES" in os.environ,
)
settings.load_profile("tests")
