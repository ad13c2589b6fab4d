"""Label a whole record: every frame once, on several processes, resumable at any moment."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from offline_tools.labeling.baseline import correction_of, global_registration
from offline_tools.labeling.frame import (
    REPAIRABLE,
    FrameLabel,
    LabelSettings,
    Status,
    label_frame,
    repair_frame,
    section_of,
)
from offline_tools.labeling.job import Inputs, LabelJob, load_inputs
from offline_tools.labeling.journal import Journal
from offline_tools.labeling.output import JOURNAL, LABELS, write_record
from offline_tools.labeling.refine import Frame
from offline_tools.labeling.visibility import visible_band_mask

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]

# Corrections drift slowly: their correlation from frame to frame is 0.5 to 0.8 at 20 Hz. Seven
# frames are enough for a median that two bad ones do not move.
_N_NEIGHBOURS, _FEWEST_NEIGHBOURS = 7, 3
_NEIGHBOURS_WITHIN_MS = 3000
_CHUNK = 4  # frames that a process takes at a time
_N_REGISTRATION_FRAMES = 60  # of one registration for the whole sweep


@dataclass(frozen=True, slots=True)
class Task:
    """One frame to label, or to repair where `rejected` is its first fate; see `label_frame`."""

    index: int
    rejected: FrameLabel | None = None
    believed: Array | None = None
    is_fixed: bool = False


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """How a record's frames fared."""

    n_frames: int
    n_by_status: dict[str, int]
    n_by_reason: dict[str, int]
    n_repaired: int
    n_resumed: int
    warnings: tuple[str, ...]


def label_record(job: LabelJob, *, n_workers: int, on_progress: Progress) -> LabelSummary:
    """Label every frame of a record and write the labelled record; continue where one stopped.

    Raises
    ------
    InputError : naming what does not fit, before any work is done.
    """
    inputs = load_inputs(job)
    fingerprint = job.fingerprint()
    (job.out / LABELS).mkdir(parents=True, exist_ok=True)
    with Journal(job.out / JOURNAL, fingerprint) as journal:
        n_resumed = len(journal.labels)
        open_tasks = [
            task
            for task, plan in zip(_tasks(job, inputs), inputs.frames, strict=True)
            if plan.timestamp_ms not in journal.labels
        ]
        with _workers(job, inputs, min(n_workers, len(open_tasks) or 1)) as work:
            _do(open_tasks, work, inputs, journal, on_progress)
            if job.settings.repair and not job.is_global:
                _do(_repairs(inputs, journal), work, inputs, journal, on_progress)
        labels = [journal.labels[plan.timestamp_ms] for plan in inputs.frames]
        write_record(job, inputs, labels, journal.seconds)
    return LabelSummary(
        n_frames=len(labels),
        n_by_status=dict(Counter(str(label.status) for label in labels)),
        n_by_reason=dict(Counter(str(x.reason) for x in labels if x.reason is not None)),
        n_repaired=sum(label.repaired is not None for label in labels),
        n_resumed=n_resumed,
        warnings=inputs.warnings,
    )


def sampled_frames(inputs: Inputs, n_frames: int) -> list[Frame]:
    """Readable frames evenly spread over the record."""
    indices = np.unique(np.linspace(0, len(inputs.frames) - 1, n_frames).round().astype(int))
    frames = [inputs.load_frame(int(index)) for index in indices]
    return [frame for frame in frames if isinstance(frame, Frame)]


def _tasks(job: LabelJob, inputs: Inputs) -> list[Task]:
    """One per frame; in the comparison mode with the correction that one registration gives."""
    if not job.is_global:
        return [Task(index) for index in range(len(inputs.frames))]
    frames = sampled_frames(inputs, _N_REGISTRATION_FRAMES)
    T_ct_recorded = global_registration(inputs.mesh, frames, job.settings.refine)
    return [
        Task(
            index,
            believed=None if T is None else correction_of(T, T_ct_recorded),
            is_fixed=True,
        )
        for index, T in enumerate(plan.T_ct_probe for plan in inputs.frames)
    ]


def _do(
    tasks: Sequence[Task],
    work: Callable[[Sequence[Task]], Iterator[tuple[int, FrameLabel, float]]],
    inputs: Inputs,
    journal: Journal,
    on_progress: Progress,
) -> None:
    for n_done, (index, label, seconds) in enumerate(work(tasks), start=1):
        journal.add(
            inputs.frames[index].timestamp_ms,
            label,
            seconds,
            is_repair=tasks[0].rejected is not None,
        )
        on_progress(n_done, len(tasks))


def _repairs(inputs: Inputs, journal: Journal) -> list[Task]:
    """Tasks for the rejected frames whose neighbours may know better.

    Only frames that were accepted on their own count as neighbours, so that the outcome does not
    depend on the order of repairs or on where a run was interrupted.
    """
    labels = [journal.labels[plan.timestamp_ms] for plan in inputs.frames]
    stamps_ms = np.array([plan.timestamp_ms for plan in inputs.frames])
    accepted = np.array(
        [x.status is Status.LABELLED and x.repaired is None for x in labels], dtype=bool
    )
    return [
        Task(index, label, _believed(index, labels, stamps_ms, np.flatnonzero(accepted)))
        for index, label in enumerate(labels)
        if label.reason in REPAIRABLE and stamps_ms[index] not in journal.repairs_tried
    ]


def _believed(
    index: int,
    labels: Sequence[FrameLabel],
    stamps_ms: NDArray[np.int64],
    accepted: NDArray[np.intp],
) -> Array | None:
    """Median correction of the accepted frames nearest in time; None where there are too few."""
    apart_ms = np.abs(stamps_ms[accepted] - stamps_ms[index])
    nearest = np.argsort(apart_ms, kind="stable")[:_N_NEIGHBOURS]
    near = accepted[nearest[apart_ms[nearest] <= _NEIGHBOURS_WITHIN_MS]]
    corrections = [r.correction for i in near if (r := labels[i].refinement) is not None]
    if len(corrections) < _FEWEST_NEIGHBOURS:
        return None
    return np.median(corrections, axis=0)


@contextmanager
def _workers(
    job: LabelJob, inputs: Inputs, n_workers: int
) -> Iterator[Callable[[Sequence[Task]], Iterator[tuple[int, FrameLabel, float]]]]:
    """A mapping of tasks to results, in this process where one is enough."""
    if n_workers <= 1:
        yield lambda tasks: map(partial(_perform, inputs, job.settings, job.out), tasks)
        return
    # Spawned, not forked: a fork would copy the threads' locks of the progress display.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, initializer=_prepare, initargs=(job,)) as pool:
        try:
            yield lambda tasks: pool.map(_perform_prepared, tasks, chunksize=_CHUNK)
        except BaseException:
            pool.shutdown(cancel_futures=True)  # else leaving would wait for every frame
            raise


_prepared: dict[str, Callable[[Task], tuple[int, FrameLabel, float]]] = {}


def _prepare(job: LabelJob) -> None:
    """In a worker process: load the inputs once, they cannot be sent (images load lazily).

    Ctrl-C is for the parent, which lets its workers finish the frames that they have begun.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _prepared["perform"] = partial(_perform, load_inputs(job), job.settings, job.out)


def _perform_prepared(task: Task) -> tuple[int, FrameLabel, float]:
    return _prepared["perform"](task)


def _perform(
    inputs: Inputs, settings: LabelSettings, out: Path, task: Task
) -> tuple[int, FrameLabel, float]:
    """Label or repair one frame, write its mask; the CPU time it took."""
    begin_s = time.process_time()
    frame = inputs.load_frame(task.index)
    if not isinstance(frame, Frame):
        label = FrameLabel(Status.SKIPPED, frame)
    elif task.rejected is None:
        label = label_frame(inputs.mesh, frame, settings, task.believed, is_fixed=task.is_fixed)
    else:
        label = repair_frame(inputs.mesh, frame, settings, task.rejected, task.believed)
    if label.status is Status.LABELLED and isinstance(frame, Frame):
        path = out / LABELS / f"{inputs.frames[task.index].timestamp_ms}.png"
        _write_mask(path, inputs, frame, label, settings)
    return task.index, label, time.process_time() - begin_s


def _write_mask(
    path: Path, inputs: Inputs, frame: Frame, label: FrameLabel, settings: LabelSettings
) -> None:
    if label.T_ct_probe is None:
        raise ValueError("a labelled frame has a pose")
    A_ct_pixel = label.T_ct_probe @ frame.A_probe_pixel
    seen = section_of(inputs.mesh, frame, A_ct_pixel, settings)
    mask = visible_band_mask(inputs.mesh, A_ct_pixel, frame.size_px, settings.band_mm, seen)
    Image.fromarray(mask.astype(np.uint8) * 255).save(path, compress_level=1)
