"""Properties are tried on the same examples each time, so that a run can be repeated; to hunt, ask for a number of them.

`HYPOTHESIS_EXAMPLES=20000 make test` tries as many, and others each time.
"""

import os
import signal

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# how long an example takes says nothing: other tests run beside
by_no_clock = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", by_no_clock, derandomize=True)
settings.register_profile("hunt", by_no_clock, print_blob=True)

if "HYPOTHESIS_EXAMPLES" in os.environ:
    settings.load_profile("hunt")
else:
    settings.load_profile("repeatable")
    # Hypothesis draws constants out of whichever modules of ours are imported by then: others in each process, and order.
    assert hasattr(providers, "_get_local_constants")
    providers._get_local_constants = providers.Constants  # there is no setting for it

# Whoever is started in the background ignores Ctrl-C, and so do all whom it starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
