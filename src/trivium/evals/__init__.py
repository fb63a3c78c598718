"""Figures with error bars: win rate, ranking accuracy, agreement, calibration, cloze, text.

Pure functions on plain lists; no model is run here and no file is read.
"""

from trivium.evals.agreement import Agreement, LabelerRanking, labeler_agreement
from trivium.evals.calibration import Bin, Calibration, calibration, pair_probabilities
from trivium.evals.cloze import cloze_accuracy
from trivium.evals.frontier import Fit, best_of_n, best_of_n_kl, fit, sqrt_kl
from trivium.evals.intervals import Interval, bootstrap_mean, bootstrap_share, wilson
from trivium.evals.ranking import (
    GapAccuracy,
    PairOutcome,
    Scored,
    accuracy,
    accuracy_by_gap,
    correlation,
    longer_wins,
    pair_outcomes,
)
from trivium.evals.text_stats import distinct_n, mean_words, repetition_share
from trivium.evals.winrate import WinRate, win_rate

__all__ = [
    "Agreement",
    "Bin",
    "Calibration",
    "Fit",
    "GapAccuracy",
    "Interval",
    "LabelerRanking",
    "PairOutcome",
    "Scored",
    "WinRate",
    "accuracy",
    "accuracy_by_gap",
    "best_of_n",
    "best_of_n_kl",
    "bootstrap_mean",
    "bootstrap_share",
    "calibration",
    "cloze_accuracy",
    "correlation",
    "distinct_n",
    "fit",
    "labeler_agreement",
    "longer_wins",
    "mean_words",
    "pair_outcomes",
    "pair_probabilities",
    "repetition_share",
    "sqrt_kl",
    "wilson",
    "win_rate",
]
