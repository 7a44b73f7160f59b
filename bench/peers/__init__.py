"""Others who can do a part of the same: each a module with `COVERS` and `run(path)`.

`COVERS` names the rules (with their steps) that the peer can express, or is "all"; `run` computes their verdicts over
a log and returns what that took, and the verdict of each case by rule and trigger, as `bench.replay.key` writes them.
"""
