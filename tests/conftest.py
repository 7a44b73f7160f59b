"""Properties are tried on the same examples each time, so that a run can be repeated; to hunt, ask for a number of them.

`HYPOTHESIS_EXAMPLES=20000 make test` tries as many, and others each time.
"""

import os

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("hunt", deadline=None, print_blob=True)
settings.load_profile("hunt" if "HYPOTHESIS_EXAMPLES" in os.environ else "repeatable")
