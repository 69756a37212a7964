"""The recursions of many cells over a batch of increments: e-detector, e-process and CUSUM."""

import numpy as np
import numpy.typing as npt

from detectors.sequential import Floats, Integers, shiryaev_roberts


def advance(
    grids: tuple[Floats, Floats, Floats],
    start: npt.NDArray[np.int32],
    seen: Integers,
    numbers: Integers,
    places: Integers,
    increments: Floats,
    now: Integers,
    gate: bool,
) -> Floats:
    """Take increments into the grids, in order; log M, or log E for a `gate`, after each, (rows,
    bets).

    `grids`: log M, log E and CUSUM, (categories, cells, bets), changed in place like `start` (of
    the same shape: trajectory number at which the CUSUM last began) and `seen`, (categories,
    cells): the category's clock at the cell's last increment. Of each row: `numbers`, the
    trajectory's; `places`, the flat cell; `increments`, (rows, bets); `now`, the category's clock.
    The cells with the most increments come first, so that those that still have some are always the
    leading rows. Source: Shin, Ramdas & Rinaldo 2022, definition 2.5; Page 1954.
    """
    bets = increments.shape[1]
    clock = seen.reshape(-1)
    by_place = np.argsort(places, kind="stable")
    used, begins, lengths = np.unique(places[by_place], return_index=True, return_counts=True)
    clocks = now[by_place]
    previous = np.concatenate((clocks[:1], clocks[:-1]))
    previous[begins] = clock[used]
    most_first = np.argsort(-lengths, kind="stable")
    rank = np.empty(len(used), np.int64)
    rank[most_first] = np.arange(len(used))
    turn = np.arange(len(places)) - np.repeat(begins, lengths)
    order = np.lexsort((np.repeat(rank, lengths), turn))
    rows, used = by_place[order], used[most_first]
    starts = (clocks - previous)[order, None].astype(np.float64)
    begun = starts > 0  # a part goes on where its trajectory was
    step, number = increments[rows], numbers[rows, None].astype(np.int32)
    log_m, log_e, cusum = (grid.reshape(-1, bets)[used] for grid in grids)
    since = start.reshape(-1, bets)[used]
    values = np.empty_like(step)
    ends = np.cumsum(np.bincount(turn))
    for low, high in zip((0, *ends[:-1].tolist()), ends.tolist(), strict=True):
        here, gained = slice(0, high - low), step[low:high]
        log_m[here] = shiryaev_roberts(log_m[here], gained, starts[low:high])
        log_e[here] += gained
        anew = (cusum[here] <= 0) & begun[low:high]
        np.copyto(since[here], number[low:high], where=anew)
        np.copyto(cusum[here], 0.0, where=anew)
        cusum[here] += gained
        values[low:high] = log_e[here] if gate else log_m[here]
    for grid, risen in zip(grids, (log_m, log_e, cusum), strict=True):
        grid.reshape(-1, bets)[used] = risen
    start.reshape(-1, bets)[used] = since
    clock[used] = clocks[(begins + lengths - 1)[most_first]]
    out = np.empty_like(step)
    out[rows] = values
    return out
