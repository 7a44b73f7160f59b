"""A brute-force reading of the contract, independent of the engine, to test the engine against.

`effective` and `stays` read section 2, `verdicts` sections 3 and 4 (and the feeds of 5), `alert_history`
section 6. Rules and the registry are plain dicts, as they stand in YAML.
"""

from alerts import alert_history
from effective import Clock, Effective, effective, stays
from verdicts import verdicts

__all__ = ["Clock", "Effective", "alert_history", "effective", "stays", "verdicts"]
