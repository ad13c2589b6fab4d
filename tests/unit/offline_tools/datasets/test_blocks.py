"""Splits along one bone: nothing near the test block trains, and neighbours stay together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from offline_tools.datasets.anatomy import BoneAxis
from offline_tools.datasets.blocks import anatomy_folds, clusters_of, guard_fault, halves_of
from offline_tools.datasets.split import Split
from offline_tools.errors import InputError
from tests.support.bones import placed, tube
from tests.support.datasets import FakeSource
from tracking.transforms import from_euler_xyz_deg


@pytest.fixture
def sources() -> list[FakeSource]:
    """Two passes of a proximal stretch, one of a distal one, in the order of no position."""
    rng = np.random.default_rng(3)
    return [
        FakeSource(record="record01", positions_mm=rng.uniform(50, 180, 120).tolist()),
        FakeSource(record="record02", positions_mm=rng.uniform(-160, -60, 110).tolist()),
        FakeSource(record="record03", positions_mm=rng.uniform(80, 185, 60).tolist()),
    ]


def places(split: Split, subset: str, sources: Sequence[FakeSource]) -> np.ndarray:
    known = {n: p for s in sources for n, p in zip(s.names, s.positions_mm, strict=True)}
    return np.array([known[name] for name in split.subsets[subset]])


def test_bone_axis_is_found_in_any_pose_and_points_upwards() -> None:
    mesh = tube(8.0, half_length_mm=60.0, n=36)
    T = from_euler_xyz_deg((5.0, -7.0, 900.0), (20.0, 10.0, 40.0))
    axis = BoneAxis.of(placed(mesh, T))
    np.testing.assert_allclose(axis.direction_ct, T[:3, 2], atol=1e-6)
    np.testing.assert_allclose(axis.middle_ct_mm, T[:3, 3], atol=1e-6)
    tip = T[:3, :3] @ (3.0, 0.0, 60.0) + T[:3, 3]
    assert axis.position_mm(tip) == pytest.approx(60.0, abs=1e-6)
    turned = from_euler_xyz_deg((0.0, 0.0, 0.0), (180.0, 0.0, 0.0))
    assert BoneAxis.of(placed(mesh, turned)).direction_ct[2] == pytest.approx(1.0)


def test_clusters_are_separated_at_gaps_and_halved_at_the_median() -> None:
    position_mm = np.array([0.0, 100.0, 29.0, 140.0, 59.0, 130.0, 150.0])
    clusters = clusters_of(position_mm)
    assert [position_mm[c].tolist() for c in clusters] == [[0, 29, 59], [100, 130.0, 140, 150]]
    halves = [h for c in clusters for h in halves_of(position_mm, c)]
    assert [position_mm[h].tolist() for h in halves] == [[0], [29, 59], [100, 130.0], [140, 150]]
    assert [len(h) for h in halves_of(np.zeros(4), np.arange(4))] == [4]


@pytest.mark.parametrize("guard_mm", [0.0, 3.0, 10.0])
def test_every_block_is_tested_once_and_nothing_near_it_trains(
    sources: list[FakeSource], guard_mm: float
) -> None:
    folds = anatomy_folds(sources, seed=0, guard_mm=guard_mm)
    assert len(folds) == 4
    tested = [name for fold in folds for name in fold.subsets["test"]]
    assert sorted(tested) == sorted(name for s in sources for name in s.names)
    for fold in folds:
        train, val, test = (places(fold, part, sources) for part in ("train", "val", "test"))
        for block in (test, val):
            outside = np.maximum(block.min() - train, train - block.max())
            assert outside.min() > guard_mm
        # Validation is one stretch, of the other part of the bone.
        assert np.sign(val).tolist() == [-np.sign(test[0])] * len(val)
        between = np.concatenate([train, test])
        assert not ((between > val.min()) & (between < val.max())).any()
        assert len(val) == round(0.1 * (len(train) + len(val) + _guarded_by_val(fold, sources)))


def _guarded_by_val(fold: Split, sources: Sequence[FakeSource]) -> int:
    """Images that neither side of the guard took from the test block."""
    guard_mm = float(fold.notes[4].partition(" within ")[2].partition(" mm")[0])
    used = {name for names in fold.subsets.values() for name in names}
    test = places(fold, "test", sources)
    left = [
        p for s in sources for n, p in zip(s.names, s.positions_mm, strict=True) if n not in used
    ]
    return sum(not test.min() - guard_mm <= p <= test.max() + guard_mm for p in left)


def test_same_seed_same_blocks_and_another_validation(sources: list[FakeSource]) -> None:
    first, again, other = (anatomy_folds(sources, seed=seed) for seed in (1, 1, 2))
    assert [f.sha256 for f in first] == [f.sha256 for f in again]
    assert [f.subsets["test"] for f in first] == [f.subsets["test"] for f in other]
    assert any(a.subsets["val"] != b.subsets["val"] for a, b in zip(first, other, strict=True))


def test_on_one_stretch_validation_is_its_far_end() -> None:
    source = FakeSource(positions_mm=np.arange(0.0, 100.0).tolist())
    fold = anatomy_folds([source], seed=0)[0]
    assert places(fold, "test", [source]).tolist() == list(range(50))
    assert places(fold, "train", [source]).tolist() == list(range(53, 92))
    assert places(fold, "val", [source]).tolist() == list(range(95, 100))
    assert fold.notes == (
        "block 1 of 2 is test",
        "train: 53.0 to 91.0 mm from the bone's middle, 39 images",
        "val: 95.0 to 99.0 mm from the bone's middle, 5 images",
        "test: 0.0 to 49.0 mm from the bone's middle, 50 images",
        "guard band: 6 images within 3 mm of test or val are not used",
    )


def test_without_validation_all_the_rest_trains() -> None:
    source = FakeSource(positions_mm=np.arange(0.0, 100.0).tolist())
    fold = anatomy_folds([source], seed=0, val_share=0.0, guard_mm=0.0)[1]
    assert [len(fold.subsets[part]) for part in ("train", "val", "test")] == [50, 0, 50]


@pytest.mark.parametrize("guard_mm", [0.0, 3.0, 10.0])
def test_a_guard_band_is_kept_until_somebody_moves_an_image(
    sources: list[FakeSource], guard_mm: float
) -> None:
    fold = anatomy_folds(sources, seed=0, guard_mm=guard_mm)[1]
    assert guard_fault(fold, sources) is None
    moved = fold.subsets["test"][7]
    rest = tuple(name for name in fold.subsets["test"] if name != moved)
    subsets = {**fold.subsets, "train": (*fold.subsets["train"], moved), "test": rest}
    fault = guard_fault(replace(fold, subsets=subsets), sources)
    if guard_mm == 0.0:
        assert fault is None
    else:
        assert fault is not None
        assert fault.startswith(f"{moved} trains and lies ")
        assert fault.endswith(f"in test, expected a guard band of {guard_mm:g} mm")
    assert guard_fault(replace(fold, kind="frame", subsets=subsets), sources) is None


def test_images_without_a_place_are_told() -> None:
    source = FakeSource(positions_mm=[*np.arange(0.0, 100.0), None, None])
    fold = anatomy_folds([source], seed=0)[0]
    assert fold.notes[-1] == "2 images without a place on the bone are not used"


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        ([FakeSource("a", "r", [0.0]), FakeSource("b", "r", [1.0])], "the data holds a, b"),
        ([FakeSource("a", "r", [None])], "a: no image's place on the bone is known"),
        ([FakeSource("a", "r", [1.0, 1.0])], "2 images lie at one place"),
        ([FakeSource("a", "r", [0.0, 1.0, 2.0, 3.0])], "leaves no image to train on with 3 mm"),
    ],
)
def test_bones_that_cannot_be_split_are_refused(sources: list[FakeSource], text: str) -> None:
    with pytest.raises(InputError, match=text):
        anatomy_folds(sources, seed=0)
