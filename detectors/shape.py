"""What a whole trajectory looks like, as a short vector without content; for `detectors.omnibus`.

A student is compared with trajectories of the reference that were drawn at random when the baseline
was frozen and kept as such vectors, each beside the context (role) it is of.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from detectors.features import Encoded
from detectors.sequential import Floats

FEATURES: Final = 64
"""Length of a vector."""
WIDTH: Final = 1 + FEATURES
"""Columns of a sample: the context id, and the vector."""
MOST: Final = 512
"""Vectors a baseline keeps, each good for one comparison."""
_PLACES: Final = np.array([24, 16, 8, 8])
_STARTS: Final = np.array([0, 24, 40, 48])
"""Number of places, and the first, of the tools, acts, outcomes and unsafe acts of the calls."""
_LENGTHS: Final = 56
"""First place of the length, one of eight classes."""


def shape(encoded: Encoded) -> Floats:
    """(FEATURES,), of norm 1: the share of the calls that fall on each hashed tool, act, outcome
    and unsafe act, as square roots, so that Euclidean distance is Hellinger's; and the class of the
    length.
    """
    calls = len(encoded.tokens)
    places = encoded.tokens % _PLACES + _STARTS
    out: Floats = np.sqrt(np.bincount(places.ravel(), minlength=FEATURES) / max(1, calls))
    out[_LENGTHS + min(FEATURES - _LENGTHS - 1, calls.bit_length())] = 1.0
    norm: float = np.sqrt(float(out @ out))
    return out / norm


def sample(
    encoded: Sequence[Encoded], contexts: Mapping[str, int], rng: np.random.Generator
) -> Floats:
    """Of at most `MOST` trajectories, drawn without replacement, in an order drawn too;
    (trajectories, WIDTH). `contexts`: context id per role.
    """
    chosen: list[int] = rng.permutation(len(encoded))[:MOST].tolist()
    rows = [(contexts[encoded[place].role], *shape(encoded[place])) for place in chosen]
    return np.array(rows, np.float64).reshape(-1, WIDTH)
