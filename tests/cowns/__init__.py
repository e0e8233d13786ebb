"""Behaviours over data."""
