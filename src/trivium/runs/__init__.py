"""Everything a run leaves behind: its folder, metrics, checkpoints, config and report.

Nothing is imported here, so that reading a recipe never loads torch.
"""
