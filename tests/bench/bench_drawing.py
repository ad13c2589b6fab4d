"""What drawing costs beside what a plain pyqtgraph program does: CPU per update, in one process.

    python tests/bench/bench_drawing.py [--json]

Image: gray 950x811 with what was found over it, painted, against
ImageItem as it comes with an RGBA overlay of the mask. Cloud: 500 new points,
against np.concatenate and GLScatterPlotItem.setData. Texture: a new live image in 3D, against
GLImageItem. Mesh: other colours, against GLMeshItem. Of alternating rounds, each with glFinish,
the median. A display is made with Xvfb where there is none.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from OpenGL import GL
from pyqtgraph.opengl import GLImageItem, GLMeshItem, GLScatterPlotItem
from PySide6.QtWidgets import QApplication

from inference.postprocess import BoneLine
from navapp.gui.app import application
from navapp.gui.gl_items import CloudItem, PlaneItem
from navapp.gui.gl_surface import SurfaceItem
from navapp.gui.image_view import ImageView
from navapp.gui.scene_view import SceneView
from navapp.gui.surface_colours import SurfaceColours, colour_table
from navapp.gui.virtual_display import has_display, virtual_display
from navapp.state import DrawnCloud
from recon.phantom_bone import long_bone_mesh

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file, as `make bench` does
from tests.support.desks import view

_ROWS, _COLUMNS = 811, 950
_SPACING_MM = (0.054, 0.054)
_NEW_POINTS = 500  # of a frame, after the voxel grid
_SIZE_PX = (800, 700)

Update = Callable[[int], object]


def compare(ours: Update, theirs: Update, n_rounds: int) -> tuple[float, float]:
    """Median CPU time of both, ms, of alternating rounds."""
    costs_ms = np.array([(_cpu_ms(ours, k), _cpu_ms(theirs, k)) for k in range(n_rounds)])
    ours_ms, theirs_ms = np.median(costs_ms[2:], axis=0)
    return float(ours_ms), float(theirs_ms)


def image_cost() -> tuple[float, float]:
    """The live image with its line, painted."""
    images = np.random.default_rng(0).integers(0, 235, (4, _ROWS, _COLUMNS), dtype=np.uint8)
    u = np.arange(100.0, 800.0)
    v = 400 + 100 * np.sin(u / 90)
    line = BoneLine(np.column_stack((u, v)), *2 * [np.ones(u.size, dtype=np.float32)])
    views = [view(image, line) for image in images]
    mine, plain = ImageView(_SPACING_MM), pg.GraphicsLayoutWidget()
    box = plain.addViewBox(lockAspect=True, invertY=True)
    item, overlay = pg.ImageItem(), pg.ImageItem()
    box.addItem(item)
    box.addItem(overlay)
    mask = np.zeros((_COLUMNS, _ROWS, 4), dtype=np.uint8)
    mask[u.astype(int), v.astype(int)] = (255, 210, 60, 255)
    for widget in (mine, plain):
        widget.resize(*_SIZE_PX)
        widget.show()
    QApplication.processEvents()

    def ours(k: int) -> None:
        mine.show_view(views[k % 4])
        mine.repaint()

    def theirs(k: int) -> None:
        item.setImage(images[k % 4].T)
        overlay.setImage(mask)
        plain.viewport().repaint()

    costs = compare(ours, theirs, 40)
    mine.close()
    plain.close()
    return costs


def append_cost(n_points: int) -> tuple[float, float]:
    """500 points more."""
    n_rounds = 20
    cloud_mm = _cloud(n_points + (n_rounds + 1) * _NEW_POINTS)
    ours, theirs = _appender(cloud_mm), _naive_appender(cloud_mm)
    ours(n_points)
    theirs(n_points)

    def size(k: int) -> int:
        return n_points + (k + 1) * _NEW_POINTS

    return compare(lambda k: ours(size(k)), lambda k: theirs(size(k)), n_rounds)


def append_alone(n_points: int) -> float:
    """The same of ours alone, for clouds that the other way is too slow for, ms."""
    cloud_mm = _cloud(n_points + 101 * _NEW_POINTS)
    append = _appender(cloud_mm)
    append(n_points)
    costs = [_cpu_ms(append, n_points + (k + 1) * _NEW_POINTS) for k in range(100)]
    return float(np.median(costs))


def texture_cost() -> tuple[float, float]:
    """The next live image in 3D."""
    images = np.random.default_rng(0).integers(0, 235, (4, _ROWS, _COLUMNS), dtype=np.uint8)
    plane, plain = PlaneItem(), GLImageItem(pg.makeRGBA(images[0], levels=(0, 255))[0])

    def theirs(k: int) -> None:
        plain.setData(pg.makeRGBA(images[k % 4].T, levels=(0, 255))[0])
        plain._updateTexture()  # what its paint does before it draws

    return compare(lambda k: plane.upload(images[k % 4], np.eye(4)), theirs, 30)


def mesh_cost() -> tuple[float, float, int]:
    """Other colours for every vertex; and how many those are."""
    mesh = long_bone_mesh(edge_mm=0.7)
    n = len(mesh.vertices_mm)
    rng = np.random.default_rng(0)
    scalars = rng.random((4, n)).astype(np.float32)
    table = colour_table(SurfaceColours.DISTANCE)
    surface = SurfaceItem(mesh, scalars[0], table)
    surface.initialize()
    plain = GLMeshItem(vertexes=mesh.vertices_mm, faces=mesh.faces, smooth=True)

    def theirs(k: int) -> None:
        colours = table[(scalars[k % 4] * 255).astype(np.intp)] / 255.0
        plain.setMeshData(vertexes=mesh.vertices_mm, faces=mesh.faces, vertexColors=colours)
        plain.upload_vertex_buffers(plain.parseMeshData())  # what its paint does first

    ours_ms, theirs_ms = compare(lambda k: surface.upload_scalars(scalars[k % 4]), theirs, 10)
    return ours_ms, theirs_ms, n


def _appender(cloud_mm: NDArray[np.float32]) -> Update:
    item = CloudItem()
    return lambda n: item.upload(DrawnCloud(cloud_mm[:n]))


def _naive_appender(cloud_mm: NDArray[np.float32]) -> Update:
    item = GLScatterPlotItem(pos=cloud_mm[:0])
    grown_mm = cloud_mm[:0]

    def append(n: int) -> None:
        nonlocal grown_mm
        grown_mm = np.concatenate((grown_mm, cloud_mm[len(grown_mm) : n]))
        item.setData(pos=grown_mm)
        item.upload_vbo(item.m_vbo_position, item.pos)  # what its paint does before it draws

    return append


def _cpu_ms(update: Update, k: int) -> float:
    start_s = time.thread_time()
    update(k)
    GL.glFinish()
    return (time.thread_time() - start_s) * 1e3


def _cloud(n_points: int) -> NDArray[np.float32]:
    cloud_mm = np.random.default_rng(0).normal(0.0, 30.0, (n_points, 3)).astype(np.float32)
    cloud_mm.setflags(write=False)
    return cloud_mm


def measure() -> dict[str, float]:
    """All figures; goals are those of the window's issue."""
    application()
    scene = SceneView()
    scene.show()
    QApplication.processEvents()
    scene.makeCurrent()
    figures: dict[str, float] = {}

    def keep(name: str, costs: tuple[float, ...], goal: float) -> None:
        figures[f"{name}_ms"], figures[f"{name}_pyqtgraph_ms"] = costs[:2]
        figures[f"{name}_ratio"] = costs[1] / costs[0]
        figures[f"{name}_goal_ratio"] = goal

    keep("append_1_million", append_cost(1_000_000), 20.0)
    keep("append_3_million", append_cost(3_000_000), 150.0)
    few_ms, many_ms = append_alone(10_000), append_alone(10_000_000)
    figures["append_10_million_to_10_thousand"] = many_ms / few_ms
    keep("texture", texture_cost(), 8.0)
    *mesh_ms, n_vertices = mesh_cost()
    keep("recolour", tuple(mesh_ms), 50.0)
    figures["recolour_vertices"] = n_vertices
    keep("image", image_cost(), 2.0)
    scene.doneCurrent()
    scene.close()
    return figures


def main() -> None:
    """Measure, print a table, and with --json a line of JSON."""
    parser = argparse.ArgumentParser(description="What drawing costs.")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON as well")
    arguments = parser.parse_args()
    with nullcontext() if has_display() else virtual_display():
        figures = measure()
        application().shutdown()
    for name, value in figures.items():
        print(f"{name:34} {value:12,.3f}")
    if arguments.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
