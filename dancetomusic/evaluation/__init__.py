"""Evaluation: baselines, reports, tasks."""
