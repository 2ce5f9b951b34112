"""Evaluation of a model on pairs of scans, as the papers' tables report it (RCN, section 4).

    rows = [row for rows in evaluate(model, pairs) for row in rows]
    frame = to_frame(rows)            # one row per pair and stage
    summary = summarise(frame)        # mean and standard deviation across pairs, per stage

Each pair is measured before registration and after every stage of the model, always by
warping the moving scan once with the total flow up to there. Means and standard deviations
are taken ACROSS pairs, so that "0.953 (0.014)" says how much pairs differ: a pair's Dice is
first averaged over its structures, its landmark distance over its landmarks.
"""

from rcn_tf.evaluation.pairs import BEFORE, evaluate
from rcn_tf.evaluation.registration import Registration
from rcn_tf.evaluation.scores import PairScores
from rcn_tf.evaluation.stored import read_results, write_results
from rcn_tf.evaluation.tables import METRICS, summarise, to_frame

__all__ = [
    "BEFORE",
    "METRICS",
    "PairScores",
    "Registration",
    "evaluate",
    "read_results",
    "summarise",
    "to_frame",
    "write_results",
]
