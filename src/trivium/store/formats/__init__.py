"""Label lines in the formats of other programs, there and back.

What a format has a place for goes there, and is read from there again; the rest of the line travels
along in a field of its own, so that nothing is lost on a round trip.
"""
