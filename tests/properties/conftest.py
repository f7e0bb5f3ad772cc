"""Every run tries the same examples; ``HYPOTHESIS=search`` tries others, and many more."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much, HealthCheck.function_scoped_fixture]
settings.register_profile("repeat", derandomize=True, database=None, deadline=None, suppress_health_check=CHECKS)
settings.register_profile("search", settings.get_profile("repeat"), derandomize=False, max_examples=3000)
settings.load_profile(os.environ.get("HYPOTHESIS", "repeat"))
