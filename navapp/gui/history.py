"""The last minute of what a chip shows, and its plot when the chip is clicked."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QLabel, QVBoxLayout, QWidget

from navapp.desk.facts import Facts
from navapp.gui import style

SPAN_S = 60.0
_LEAST_RANGE = 1.0
_KEPT = 400  # five a second, with room

# Which curves belong to a chip: name and unit.
CURVES: dict[str, tuple[tuple[str, str], ...]] = {
    "SESSION": (("images processed", "Hz"),),
    "IMAGE": (("image rate", "Hz"),),
    "PROBE": (("probe pose rate", "Hz"), ("probe pose age", "ms")),
    "REFERENCE": (("reference pose rate", "Hz"), ("reference pose age", "ms")),
    "MODEL": (("network p50", "ms"),),
    "END-TO-END": (("end to end p95", "ms"),),
    "DROPPED": (("dropped", "images/s"),),
    "RECORDING": (("free disk", "GB"),),
}


class History:
    """Numbers of `Facts` over the last minute."""

    def __init__(self) -> None:
        self._t_s: deque[float] = deque(maxlen=_KEPT)
        self._values: dict[str, deque[float]] = {
            name: deque(maxlen=_KEPT) for curves in CURVES.values() for name, _ in curves
        }
        self._last: tuple[float, int, int] | None = None

    def add(self, facts: Facts, now_s: float) -> None:
        """Keep one look."""
        status = facts.status
        n_dropped = sum(status.skipped.values())
        processed_hz = dropped_hz = math.nan
        if self._last is not None and now_s > self._last[0]:
            span_s = now_s - self._last[0]
            processed_hz = (status.n_processed - self._last[1]) / span_s
            dropped_hz = (n_dropped - self._last[2]) / span_s
        self._last = now_s, status.n_processed, n_dropped
        values = {
            "images processed": processed_hz,
            "image rate": status.image_rate_hz,
            "network p50": status.infer_p50_ms,
            "end to end p95": status.end_to_end_p95_ms,
            "dropped": dropped_hz,
            "free disk": facts.free_gb,
        }
        for k, who in enumerate(("probe", "reference")):
            tool = facts.tools[k] if len(facts.tools) > k else None
            rates = {s.name: s.rate_hz for s in facts.streams}
            values[f"{who} pose rate"] = math.nan if tool is None else rates.get(tool.stream, 0.0)
            is_finite = tool is not None and math.isfinite(tool.age_s)
            values[f"{who} pose age"] = tool.age_s * 1e3 if tool and is_finite else math.nan
        self._t_s.append(now_s)
        for name, value in values.items():
            self._values[name].append(value)

    def curve(self, name: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Seconds before the last look (0 and negative), and the values."""
        t_s = np.array(self._t_s)
        values = np.array(self._values[name])
        if not len(t_s):
            return t_s, values
        t_s = t_s - t_s[-1]
        is_recent = t_s >= -SPAN_S
        return t_s[is_recent], values[is_recent]


class HistoryDialog(QDialog):
    """The curves of one chip; it follows while it is open."""

    def __init__(self, parent: QWidget, caption: str, history: History) -> None:
        super().__init__(parent)
        # A tool: the keys of the actions, and so a pedal, work on while it is in front.
        self.setWindowFlag(Qt.WindowType.Tool)
        self.setWindowTitle(f"{caption.capitalize()}: the last minute")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(720, 420)
        self._history = history
        layout = QVBoxLayout(self)
        self._detail = QLabel()
        self._detail.setWordWrap(True)
        layout.addWidget(self._detail)
        self._curves: list[tuple[str, pg.PlotWidget, pg.PlotDataItem]] = []
        for name, unit in CURVES[caption]:
            plot = pg.PlotWidget(background=style.VIEW)
            plot.setLabel("left", f"{name} ({unit})")
            plot.setLabel("bottom", "seconds before now")
            plot.setXRange(-SPAN_S, 0.0)
            plot.showGrid(y=True, alpha=0.2)
            curve = plot.plot(pen=pg.mkPen(style.SKIN, width=2), connect="finite")
            layout.addWidget(plot)
            self._curves.append((name, plot, curve))
        self.caption = caption
        self.refresh("")

    def refresh(self, detail: str) -> None:
        """Draw what is new, with a sentence above."""
        self._detail.setText(detail)
        for name, plot, curve in self._curves:
            t_s, values = self._history.curve(name)
            curve.setData(t_s, values)
            # From 0 on: else a rate that is steady to a few percent looks like one that jumps.
            plot.setYRange(0.0, 1.1 * np.nanmax(values, initial=_LEAST_RANGE), padding=0.0)
