"""`make bench`: how fast a replay is, in ratios to a plain decode of the same file in the same run."""

from bench.replay import main

main()
