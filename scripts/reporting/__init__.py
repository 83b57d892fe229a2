"""The parts of scripts/report.py: read (runs, probes, sweeps), draw (figures), write (page)."""
