"""Tests of `tractor.pinned`."""
