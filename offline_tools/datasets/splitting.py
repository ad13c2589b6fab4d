"""Make splits: by donor (the default), as published, or by frame where someone insists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from offline_tools.datasets.images import ImageSource
from offline_tools.datasets.split import SUBSETS, TEST, TRAIN, VAL, Split
from offline_tools.errors import InputError

DEFAULT_SHARES = (0.8, 0.1, 0.1)

# The specimen numbers of UltraBones100k's README; its paper validates on one of the first list.
PUBLISHED_TRAIN = (1, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14)
PUBLISHED_TEST = (2, 7, 8)

FRAME_WARNING = (
    "split by frame: neighbouring frames are near copies of each other, so that scores on test say "
    "nothing about another sweep, bone or donor"
)
_SPECIMEN_NUMBER = re.compile(r"(?<![A-Za-z0-9])cadaver(\d+)")
_FEWEST_FOLDS = 3  # one group to test, one to validate, the others to train


def split_by_donor(
    sources: Sequence[ImageSource], amounts: tuple[float, float, float], seed: int
) -> Split:
    """Donors dealt at random to train, val and test; both legs of a donor go together.

    Parameters
    ----------
    amounts : numbers of donors, or shares that add up to 1, see `counts_of`.

    Raises
    ------
    InputError : there are too few donors.
    """
    donors = _shuffled({source.donor for source in sources}, seed)
    counts = counts_of(amounts, len(donors), "donors")
    dealt = dict(zip(donors, np.repeat(SUBSETS, counts).tolist(), strict=False))
    left = donors[sum(counts) :]
    notes = (f"not used: donors {', '.join(left)}",) if left else ()
    return Split("donor", seed, _collected(sources, lambda s: dealt.get(s.donor)), notes)


def donor_folds(sources: Sequence[ImageSource], n_folds: int | None, seed: int) -> list[Split]:
    """Cross-validation over donors: each is tested once. `n_folds` None leaves one donor out.

    The group after the tested one validates.

    Raises
    ------
    InputError : fewer than three folds, or more folds than donors.
    """
    donors = _shuffled({source.donor for source in sources}, seed)
    n = len(donors) if n_folds is None else n_folds
    if not _FEWEST_FOLDS <= n <= len(donors):
        raise InputError(
            f"{n} folds of {len(donors)} donors ({', '.join(sorted(donors))}), expected "
            f"{_FEWEST_FOLDS} or more and no more than donors; one specimen is split --by anatomy"
        )
    group = {donor: k % n for k, donor in enumerate(donors)}

    def fold(tested: int) -> Split:
        role = {tested: TEST, (tested + 1) % n: VAL}
        subsets = _collected(sources, lambda s: role.get(group[s.donor], TRAIN))
        return Split("donor", seed, subsets, (f"fold {tested + 1} of {n}",))

    return [fold(k) for k in range(n)]


def published_split(sources: Sequence[ImageSource], n_val: int, seed: int) -> Split:
    """UltraBones100k's own split by specimen, `n_val` of the training specimens drawn to validate.

    Raises
    ------
    InputError : the data lacks all specimens of one side.
    """
    numbers = {source.specimen: _specimen_number(source.specimen) for source in sources}
    train = [s for s in sorted(numbers) if numbers[s] in PUBLISHED_TRAIN]
    test = [s for s in numbers if numbers[s] in PUBLISHED_TEST]
    if len(train) <= n_val or not test:
        raise InputError(
            f"{len(train)} specimens of the published training list {PUBLISHED_TRAIN} and "
            f"{len(test)} of the test list {PUBLISHED_TEST} are in the data, expected folders "
            f"cadaverNN_CODE: more than {n_val} and at least one"
        )
    val = set(_shuffled(train, seed)[:n_val])
    role = {s: VAL if s in val else TRAIN for s in train} | dict.fromkeys(test, TEST)
    missing = sorted({*PUBLISHED_TRAIN, *PUBLISHED_TEST} - set(numbers.values()))
    notes = ["published split of UltraBones100k, by specimen"]
    if missing:
        notes.append(f"specimens not in the data: {', '.join(map(str, missing))}")
    return Split(
        "specimen", seed, _collected(sources, lambda s: role.get(s.specimen)), tuple(notes)
    )


def split_by_frame(
    sources: Sequence[ImageSource], amounts: tuple[float, float, float], seed: int
) -> Split:
    """Images dealt at random whatever they show: leaks, and says so."""
    names = [name for source in sources for name in source.names]
    counts = counts_of(amounts, len(names), "images")
    dealt = dict(zip(_shuffled(names, seed), np.repeat(SUBSETS, counts).tolist(), strict=False))
    subsets = {part: tuple(n for n in names if dealt.get(n) == part) for part in SUBSETS}
    return Split("frame", seed, subsets, (FRAME_WARNING,))


def counts_of(amounts: tuple[float, float, float], n: int, what: str) -> tuple[int, int, int]:
    """How many of `n` things go to train, val and test.

    Whole numbers are counts; numbers that add up to 1 are shares, of which each above 0 gets one
    thing at least.

    Raises
    ------
    InputError : neither, or there are too few things.
    """
    if min(amounts) < 0.0:
        raise InputError(f"{amounts} as train, val, test, expected no negative number")
    if all(float(amount).is_integer() for amount in amounts) and sum(amounts) > 1.0:
        counts = [int(amount) for amount in amounts]
    elif abs(sum(amounts) - 1.0) < 1e-6:
        counts = _by_share(np.array(amounts), n)
    else:
        raise InputError(
            f"{amounts} as train, val, test, expected whole numbers of {what} or shares that add "
            "up to 1"
        )
    if sum(counts) > n or counts[0] < 1:
        raise InputError(
            f"{amounts} as train, val, test needs {max(sum(counts), sum(a > 0 for a in amounts))} "
            f"{what}, the data holds {n}"
            + ("; one specimen is split --by anatomy" if what == "donors" else "")
        )
    return counts[0], counts[1], counts[2]


def _by_share(shares: np.ndarray, n: int) -> list[int]:
    """Largest remainders, after one for each share above 0; the rest of that is train's."""
    counts = np.floor(shares * n + 1e-9).astype(int)
    by_remainder = np.argsort(-(shares * n - counts), kind="stable")
    counts[by_remainder[: n - counts.sum()]] += 1
    for k in (1, 2):
        if shares[k] > 0.0 and counts[k] == 0:
            counts[k] += 1
            counts[0] -= 1
    return [int(count) for count in counts]


def _specimen_number(specimen: str) -> int | None:
    found = _SPECIMEN_NUMBER.search(specimen)
    return int(found[1]) if found else None


def _shuffled(things: Iterable[str], seed: int) -> list[str]:
    """In an order that the seed alone decides."""
    ordered = sorted(things)
    return [ordered[k] for k in np.random.default_rng(seed).permutation(len(ordered))]


def _collected(
    sources: Sequence[ImageSource], subset_of: Callable[[ImageSource], str | None]
) -> dict[str, tuple[str, ...]]:
    """Names by subset; sources that belong to none are left out."""
    return {
        part: tuple(name for s in sources if subset_of(s) == part for name in s.names)
        for part in SUBSETS
    }
