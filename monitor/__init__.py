"""Rule-based handoff-reliability monitor."""
