"""From a place on the screen to a place on a surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pyqtgraph.opengl import GLViewWidget
from PySide6.QtCore import QPointF
from PySide6.QtGui import QVector3D

from recon.surface import TriangleMesh

Array = NDArray[np.float64]


def pixel_ray(view: GLViewWidget, place: QPointF) -> tuple[Array, Array]:
    """The ray under a place of the view, in the scene: a point on it (mm) and its direction."""
    width, height = view.width(), view.height()
    region = (0, 0, width, height)
    clip_scene = view.projectionMatrix(region, region) * view.viewMatrix()
    scene_clip, is_invertible = clip_scene.inverted()
    if not is_invertible:
        raise ValueError("the camera has no inverse")
    x = 2.0 * place.x() / width - 1.0
    y = 1.0 - 2.0 * place.y() / height
    near = scene_clip.map(QVector3D(x, y, -1.0))
    far = scene_clip.map(QVector3D(x, y, 1.0))
    begin_mm = np.array((near.x(), near.y(), near.z()))
    way = np.array((far.x(), far.y(), far.z())) - begin_mm
    return begin_mm, way / np.linalg.norm(way)


def first_hit_mm(mesh: TriangleMesh, begin_mm: Array, direction: Array) -> Array | None:
    """Where a ray meets the surface first, (3,); None where it passes by.

    Source: T. Moeller and B. Trumbore, Fast, minimum storage ray/triangle intersection, 1997.
    """
    a, b, c = np.moveaxis(mesh.triangles_mm(), 1, 0)
    edge_1, edge_2 = b - a, c - a
    p = np.cross(direction, edge_2)
    determinant = np.einsum("ij,ij->i", edge_1, p)
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = 1.0 / determinant
        t = begin_mm - a
        u = np.einsum("ij,ij->i", t, p) * inverse
        q = np.cross(t, edge_1)
        v = (q @ direction) * inverse
        distance_mm = np.einsum("ij,ij->i", edge_2, q) * inverse
    is_hit = (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (distance_mm > 0.0)
    if not is_hit.any():
        return None
    return begin_mm + direction * distance_mm[is_hit].min()
