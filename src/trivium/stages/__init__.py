"""Stages: functions from run directories to one run directory."""
