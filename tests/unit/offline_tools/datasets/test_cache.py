"""The cache of examples: made once, whole or not at all, and never from other data."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.contract import ModelContract, Normalisation
from offline_tools.datasets import cache as module
from offline_tools.datasets.cache import cached_examples
from offline_tools.datasets.examples import Example, Examples
from offline_tools.datasets.flanks import FlankRule
from offline_tools.datasets.images import images_of
from offline_tools.errors import InputError, WorkError
from tests.support.datasets import FakeSource


@pytest.fixture
def source() -> FakeSource:
    return FakeSource(positions_mm=[0.0] * 4)


def folders(cache: Path) -> list[str]:
    """What lies in a cache but its locks."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_cached_examples_are_those_made_in_memory(
    source: FakeSource, contract: ModelContract, tmp_path: Path
) -> None:
    seen = []
    cached = cached_examples(
        [source], contract, tmp_path, on_image=lambda k, n: seen.append((k, n))
    )
    made = Examples.of(images_of([source]), contract)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert isinstance(cached.images, np.memmap)
    assert cached.names == made.names
    for field in ("images", "targets", "lines", "line_ends", "network_spacing_mm"):
        found, expected = getattr(cached, field), getattr(made, field)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_second_call_reads_no_image_and_writes_nothing(
    source: FakeSource, contract: ModelContract, tmp_path: Path
) -> None:
    cached_examples([source], contract, tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    before = [(path, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())]
    n_loads = source.n_loads
    again = cached_examples([source], contract, tmp_path)
    assert source.n_loads == n_loads
    assert [(path, path.stat().st_mtime_ns) for path in sorted(folder.iterdir())] == before
    again.images[:] = 7.0  # in memory alone
    assert cached_examples([source], contract, tmp_path).images.max() < 7.0


def test_cached_targets_hold_what_is_left_open(
    source: FakeSource, contract: ModelContract, tmp_path: Path
) -> None:
    rule = FlankRule(steeper_than_deg=0.0, fainter_than=1.0, open_mm=5.0)
    cached = cached_examples([source], contract, tmp_path, flanks=rule).targets
    made = Examples.of(images_of([source]), contract, rule).targets
    assert cached.shape == (4, 2, 224, 256)
    np.testing.assert_array_equal(cached, made)


def test_other_data_another_contract_or_rule_make_another_cache(
    source: FakeSource, contract: ModelContract, tmp_path: Path
) -> None:
    cached_examples([source], contract, tmp_path)
    brighter = replace(contract, normalisation=Normalisation(1 / 128, 0.5, 1.0))
    cached_examples([source], brighter, tmp_path)
    cached_examples([replace(source, record="record02")], contract, tmp_path)
    cached_examples([source], replace(contract, intended_use="another"), tmp_path)
    for open_mm in (0.0, 2.0):
        cached_examples([source], contract, tmp_path, flanks=FlankRule(60.0, 0.25, open_mm))
    assert len(folders(tmp_path)) == 5  # what a network is for changes no example


@pytest.mark.parametrize("victim", ["images.npy", "targets.npy", "lines.npy", "names.json"])
def test_cut_short_cache_is_made_anew(
    source: FakeSource, contract: ModelContract, tmp_path: Path, victim: str
) -> None:
    whole = cached_examples([source], contract, tmp_path / "whole").images
    cached_examples([source], contract, tmp_path)
    (name,) = (name for name in folders(tmp_path) if name != "whole")
    os.truncate(tmp_path / name / victim, (tmp_path / name / victim).stat().st_size // 2)
    again = cached_examples([source], contract, tmp_path)
    assert source.n_loads == 12
    np.testing.assert_array_equal(again.images, whole)


def test_leftover_of_a_killed_process_is_not_used(
    source: FakeSource, contract: ModelContract, tmp_path: Path
) -> None:
    cached_examples([source], contract, tmp_path)
    (name,) = folders(tmp_path)
    (tmp_path / name).rename(tmp_path / f".{name}.part")
    (tmp_path / f".{name}.part" / "targets.npy").unlink()
    cached_examples([source], contract, tmp_path)
    assert source.n_loads == 8
    assert folders(tmp_path) == [name]


def test_full_disk_is_one_line_and_leaves_nothing(
    source: FakeSource,
    contract: ModelContract,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    append, n_written = module._append, 0

    def full_after_two(images: object, targets: object, example: Example) -> None:
        nonlocal n_written
        n_written += 1
        if n_written > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(images, targets, example)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_append", full_after_two)
    with pytest.raises(WorkError, match=r"cannot keep 4 examples \(2 MB\): No space left") as error:
        cached_examples([source], contract, tmp_path)
    assert "\n" not in str(error.value)
    assert folders(tmp_path) == []
    monkeypatch.undo()
    assert len(cached_examples([source], contract, tmp_path)) == 4


def test_disk_known_to_be_too_small_is_refused_before_any_image_is_read(
    source: FakeSource, contract: ModelContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(WorkError, match=r"cannot keep 4 examples \(2 MB\): No space left"):
        cached_examples([source], contract, tmp_path)
    assert source.n_loads == 0


def test_two_at_once_make_it_once(
    source: FakeSource, contract: ModelContract, tmp_path: Path
) -> None:
    made: list[Examples] = []
    threads = [
        threading.Thread(target=lambda: made.append(cached_examples([source], contract, tmp_path)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert source.n_loads == 4
    np.testing.assert_array_equal(made[0].targets, made[1].targets)


def test_no_image_and_one_name_twice_are_refused(
    source: FakeSource, contract: ModelContract, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="0 different images of 0"):
        cached_examples([], contract, tmp_path)
    with pytest.raises(InputError, match="4 different images of 8, expected each once"):
        cached_examples([source, source], contract, tmp_path)
