"""Verdicts to alerts, metrics and Prometheus rules."""
