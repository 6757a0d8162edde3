"""Timing, peaks, accuracy, operation accounting and the result schema: what the command line and benchmarks/ share."""
