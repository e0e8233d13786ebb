"""Tests of `tractor.futures`."""
