"""What a whole trajectory looks like, as a short vector without content; for `detectors.omnibus`.

A student is compared with trajectories of the reference that were drawn at random when the baseline
was frozen and kept as such vectors.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from detectors.features import Encoded
from detectors.sequential import Floats

FEATURES: Final = 64
"""Length of a vector."""
MOST: Final = 512
"""Vectors a baseline keeps, each good for one comparison."""
_KINDS: Final = ((0, 24), (24, 16), (40, 8), (48, 8))
"""First place and number of places of the tools, acts, outcomes and unsafe acts of the calls."""
_LENGTHS: Final = 56
"""First place of the length, one of eight classes."""


def shape(encoded: Encoded) -> Floats:
    """(FEATURES,): the share of the calls that fall on each hashed tool, act, outcome and unsafe
    act, as square roots, so that Euclidean distance is Hellinger's; and the class of the length.
    """
    out = np.zeros(FEATURES)
    calls = len(encoded.tokens)
    for column, (start, places) in enumerate(_KINDS):
        counts = np.bincount(encoded.tokens[:, column] % places, minlength=places)
        out[start : start + places] = np.sqrt(counts / max(1, calls))
    out[_LENGTHS + min(FEATURES - _LENGTHS - 1, int(calls).bit_length())] = 1.0
    return out


def sample(encoded: Sequence[Encoded], rng: np.random.Generator) -> Floats:
    """Vectors of at most `MOST` trajectories, drawn without replacement, in an order drawn too;
    (trajectories, FEATURES).
    """
    chosen = rng.permutation(len(encoded))[:MOST]
    return np.array([shape(encoded[place]) for place in chosen]).reshape(-1, FEATURES)
