"""Colours and sizes: dark, calm, and readable from two metres."""

from __future__ import annotations

import math
import re

from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QWidget

BACKGROUND = "#12161c"
PANEL = "#1c222b"
RAISED = "#2a333f"
HOVER = "#36414f"
VIEW = "#07090c"
TEXT = "#e8ecf1"
MUTED = "#93a0ae"
DISABLED = "#5a6673"
OK = "#3fb56b"
WARNING = "#e0a526"
PROBLEM = "#ff5a52"

# What was found in the images, as a line and as points: one colour for one thing.
BONE_FOUND = "#ffd23f"
# What is known from the CT.
BONE_CT = "#8fb3d9"
# The transducer's side of the image plane.
SKIN = "#37c2c9"
# Stretches of insertion.
SWEEP = "#e08a3c"
# The hand-held things.
PROBE = "#6d7a89"
# Where the way is to lead.
TARGET = "#ff7ad9"

# All sizes are those in a window of this size; in another one all grow or shrink together, so that
# what fits once fits in every one, on every screen.
USUAL_PX = (1600, 900)
_LEAST_SCALE, _MOST_SCALE, _SCALE_STEP = 0.6, 2.5, 0.05

GAP_PX = 8
CAPTION_PX = 16
SMALL_PX = 18
LARGE_PX = 24
GAUGE_PX = 30
HUGE_PX = 56

_SHEET = f"""
QMenuBar, QMenu {{ background: {BACKGROUND}; color: {TEXT}; font-size: {SMALL_PX}px; }}
QMenuBar::item, QMenu::item {{ padding: 4px 14px; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {PANEL}; }}
QDialogButtonBox {{ dialogbuttonbox-buttons-have-icons: 0; }}
QMessageBox QLabel {{ font-size: {SMALL_PX}px; }}
QPushButton {{
    font-size: {SMALL_PX}px; padding: 8px 18px; border: none; border-radius: 8px;
    background: {RAISED}; color: {TEXT};
}}
QPushButton:hover {{ background: {HOVER}; }}
QPushButton:checked {{ background: {SKIN}; color: {BACKGROUND}; font-weight: bold; }}
QPushButton:disabled {{ color: {DISABLED}; }}
QPushButton[role="step"] {{ min-width: 128px; }}
QPushButton[role="play"] {{ min-width: 62px; }}
QPushButton[role="browse"] {{ padding: 6px 10px; }}
QPushButton[role="replay"] {{ padding: 8px 14px; }}
QPushButton[role="replay"]:checked {{ font-weight: normal; }}
QLabel, QCheckBox, QComboBox, QLineEdit, QSpinBox, QTableWidget, QListWidget, QPlainTextEdit,
QHeaderView {{ font-size: {SMALL_PX}px; }}
QLabel[role="title"] {{ font-size: {LARGE_PX}px; font-weight: bold; }}
QLabel[role="muted"] {{ color: {MUTED}; }}
QLabel[role="problem"] {{ color: {PROBLEM}; }}
QLabel[role="speed"] {{ min-width: 64px; }}
QLabel[role="watermark"] {{
    color: {WARNING}; background: {VIEW}; border: 2px solid {WARNING}; border-radius: 6px;
    padding: 3px 10px; font-size: {LARGE_PX}px; font-weight: bold;
}}
QLineEdit, QComboBox, QSpinBox, QPlainTextEdit, QTableWidget, QListWidget {{
    background: {VIEW}; color: {TEXT}; border: 1px solid {RAISED}; border-radius: 6px; padding: 5px;
}}
QLineEdit[is_wrong="true"] {{ border: 2px solid {PROBLEM}; }}
QTableWidget::item {{ padding: 0px 6px; }}
QHeaderView::section {{ background: {PANEL}; color: {MUTED}; border: none; padding: 5px 9px; }}
QCheckBox::indicator, QListWidget::indicator {{
    width: 12px; height: 12px; border: 2px solid {MUTED}; border-radius: 4px; background: {VIEW};
}}
QCheckBox::indicator:checked, QListWidget::indicator:checked {{
    background: {SKIN}; border: 2px solid {SKIN};
}}
QDockWidget {{ font-size: {SMALL_PX}px; }}
QDockWidget::title {{ background: {PANEL}; padding: 6px; }}
QScrollArea, QStackedWidget {{ border: none; }}
QSplitter::handle {{ background: {BACKGROUND}; width: 8px; }}
QToolTip {{ background: {PANEL}; color: {TEXT}; font-size: {SMALL_PX}px; }}
"""


def style_sheet(scale: float = 1.0) -> str:
    """The style sheet of a window that is so much larger than the usual one."""
    return re.sub(r"(\d+)px", lambda size: f"{round(scale * int(size[1]))}px", _SHEET)


def scale_of(window: QWidget) -> float:
    """How much larger a window is than the usual one, in steps, so that few sizes are laid out."""
    usual_width, usual_height = USUAL_PX
    share = min(window.width() / usual_width, window.height() / usual_height)
    in_steps = _SCALE_STEP * math.floor(share / _SCALE_STEP + 1e-6)
    return min(max(in_steps, _LEAST_SCALE), _MOST_SCALE)


def font(size_px: int, is_bold: bool = False) -> QFont:
    """The application's font at a size in pixels of the usual window."""
    result = QFont()
    result.setPixelSize(size_px)
    result.setBold(is_bold)
    return result


def dark_palette() -> QPalette:
    """The palette of every widget that the style sheet does not name."""
    palette = QPalette()
    roles = QPalette.ColorRole
    for role in (roles.Window, roles.Base):
        palette.setColor(role, QColor(BACKGROUND))
    for role in (roles.Button, roles.AlternateBase, roles.ToolTipBase):
        palette.setColor(role, QColor(PANEL))
    for role in (roles.WindowText, roles.Text, roles.ButtonText, roles.ToolTipText):
        palette.setColor(role, QColor(TEXT))
    palette.setColor(roles.Highlight, QColor(SKIN))
    palette.setColor(roles.HighlightedText, QColor(BACKGROUND))
    return palette
