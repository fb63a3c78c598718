"""The quickstart's small world, in which everything can be known.

A web to read, instructions, people who answer and rank, and gold: what is really wanted.
"""

from trivium.miniature.gold import Gold, judge, score
from trivium.miniature.labelers import Labeler, panel, rank
from trivium.miniature.world import World, build

__all__ = ["Gold", "Labeler", "World", "build", "judge", "panel", "rank", "score"]
