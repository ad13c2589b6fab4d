"""Colours and text sizes: dark, calm, and readable from two metres."""

from __future__ import annotations

from PySide6.QtGui import QColor, QFont, QPalette

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

GAP_PX = 8
CAPTION_PX = 16
SMALL_PX = 18
LARGE_PX = 24
GAUGE_PX = 30
HUGE_PX = 56

STYLE_SHEET = f"""
QMenuBar, QMenu {{ background: {BACKGROUND}; color: {TEXT}; font-size: {SMALL_PX}px; }}
QMenuBar::item, QMenu::item {{ padding: 4px 14px; }}
QMenuBar::item:selected, QMenu::item:selected {{ background: {PANEL}; }}
QMessageBox QLabel {{ font-size: {SMALL_PX}px; }}
QPushButton {{
    font-size: {SMALL_PX}px; padding: 8px 18px; border: none; border-radius: 8px;
    background: {RAISED}; color: {TEXT};
}}
QPushButton:hover {{ background: {HOVER}; }}
QPushButton:checked {{ background: {SKIN}; color: {BACKGROUND}; font-weight: bold; }}
QPushButton:disabled {{ color: {DISABLED}; }}
QLabel, QCheckBox, QComboBox, QLineEdit, QSpinBox, QTableWidget, QListWidget, QPlainTextEdit,
QHeaderView {{ font-size: {SMALL_PX}px; }}
QLabel[role="title"] {{ font-size: {LARGE_PX}px; font-weight: bold; }}
QLabel[role="muted"] {{ color: {MUTED}; }}
QLabel[role="problem"] {{ color: {PROBLEM}; }}
QLineEdit, QComboBox, QSpinBox, QPlainTextEdit, QTableWidget, QListWidget {{
    background: {VIEW}; color: {TEXT}; border: 1px solid {RAISED}; border-radius: 6px; padding: 5px;
}}
QLineEdit[is_wrong="true"] {{ border: 2px solid {PROBLEM}; }}
QTableWidget {{ gridline-color: {PANEL}; }}
QHeaderView::section {{ background: {PANEL}; color: {MUTED}; border: none; padding: 5px; }}
QScrollArea, QStackedWidget {{ border: none; }}
QSplitter::handle {{ background: {BACKGROUND}; width: 8px; }}
QToolTip {{ background: {PANEL}; color: {TEXT}; font-size: {SMALL_PX}px; }}
"""


def font(size_px: int, is_bold: bool = False) -> QFont:
    """The application's font at a size in logical pixels."""
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
