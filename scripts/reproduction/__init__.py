"""What scripts/reproduce.sh does: runs the contrasts that are missing, records them, judges them, writes tables and page."""
