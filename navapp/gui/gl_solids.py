"""Solid things of the 3D scene: the probe, the stylus, the target and its line, landmarks."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from OpenGL import GL
from PySide6.QtGui import QMatrix4x4
from PySide6.QtOpenGL import QOpenGLBuffer

from navapp.gui.gl_base import ShaderItem, blend_over, buffer_of, rgb
from tracking.transforms import Matrix

Array = NDArray[np.float64]

_PROBE_LENGTH_MM, _PROBE_NECK_MM, _PROBE_DEPTH_MM = 55.0, 12.0, 12.0
_STYLUS_LENGTH_MM, _STYLUS_RADIUS_MM = 120.0, 2.5
_LINE_RADIUS_MM = 0.6
_N_SIDES = 16

_VERTEX = """#version 330 core
layout(location = 0) in vec3 p_solid;
uniform mat4 u_clip_scene;
uniform mat4 u_camera_scene;
uniform mat4 u_scene_solid;
out vec3 v_camera;
void main() {
    vec4 p_scene = u_scene_solid * vec4(p_solid, 1.0);
    gl_Position = u_clip_scene * p_scene;
    v_camera = (u_camera_scene * p_scene).xyz;
}
"""
_FRAGMENT = """#version 330 core
in vec3 v_camera;
uniform vec3 u_colour;
uniform float u_opacity;
out vec4 colour;
void main() {
    vec3 normal = normalize(cross(dFdx(v_camera), dFdy(v_camera)));
    float light = 0.35 + 0.65 * abs(dot(normal, normalize(vec3(0.3, 0.5, 1.0))));
    colour = vec4(u_colour * light, u_opacity);
}
"""


class SolidItem(ShaderItem):
    """Triangles (N, 3, 3) in mm in a frame of their own, placed by `T_scene_solid`.

    One that is not opaque lets the cloud behind it show, and only its front is seen.
    """

    _SOURCES = (_VERTEX, _FRAGMENT)

    def __init__(self, triangles_mm: Array, colour: str, opacity: float = 1.0) -> None:
        super().__init__()
        self.opacity = opacity
        self.T_scene_solid: Matrix = np.eye(4)
        self._triangles = np.ascontiguousarray(triangles_mm, dtype=np.float32).reshape(-1, 3)
        self._colour = rgb(colour)

    def initializeGL(self) -> None:
        super().initializeGL()
        self._vertex_array.bind()
        self._program.bind()
        self._buffer: QOpenGLBuffer = buffer_of(self._triangles.nbytes, self._triangles.tobytes())
        self._buffer.bind()
        self._program.enableAttributeArray(0)
        self._program.setAttributeBuffer(0, GL.GL_FLOAT, 0, 3)
        self._buffer.release()
        self._unbind()

    def paint(self) -> None:
        self._bind()
        self._set("u_camera_scene", self.modelViewMatrix())
        self._set("u_scene_solid", QMatrix4x4(self.T_scene_solid.ravel().tolist()))
        self._set("u_colour", self._colour)
        self._set("u_opacity", self.opacity)
        if self.opacity < 1.0:
            self._lay_depth()
            blend_over()
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, len(self._triangles))
        GL.glDisable(GL.GL_BLEND)
        GL.glDepthFunc(GL.GL_LESS)
        self._unbind()

    def _lay_depth(self) -> None:
        """Draw the depth alone first, so that nothing of its back shines through its front."""
        GL.glColorMask(False, False, False, False)
        GL.glDrawArrays(GL.GL_TRIANGLES, 0, len(self._triangles))
        GL.glColorMask(True, True, True, True)
        GL.glDepthFunc(GL.GL_LEQUAL)


def probe_triangles(width_mm: float) -> Array:
    """A linear probe: x along the image's rows from its middle, y down into the body, z across.

    Its face is at y = 0, as wide as the image; it narrows towards the hand.
    """
    half, depth = width_mm / 2.0, _PROBE_DEPTH_MM / 2.0
    rings = [
        _ring(half, depth * 0.6, 0.0),
        _ring(half, depth, -_PROBE_NECK_MM),
        _ring(0.6 * half, depth, -2.2 * _PROBE_NECK_MM),
        _ring(0.5 * half, depth, -_PROBE_LENGTH_MM),
    ]
    return _lofted(rings)


def stylus_triangles() -> Array:
    """A stylus whose tip is the origin and whose shaft comes along -z."""
    angle = np.linspace(0.0, 2.0 * np.pi, _N_SIDES, endpoint=False)
    circle = np.column_stack((np.cos(angle), np.sin(angle), np.zeros(_N_SIDES)))
    rings = [
        circle * 0.01,
        circle * _STYLUS_RADIUS_MM - (0.0, 0.0, 18.0),
        circle * _STYLUS_RADIUS_MM - (0.0, 0.0, _STYLUS_LENGTH_MM),
    ]
    return _lofted(rings)


def ball_triangles(radius_mm: float) -> Array:
    """A ball around the origin."""
    up = np.linspace(-np.pi / 2.0, np.pi / 2.0, 9)
    angle = np.linspace(0.0, 2.0 * np.pi, _N_SIDES, endpoint=False)
    rings = [
        radius_mm
        * np.column_stack(
            (np.cos(a) * np.cos(angle), np.cos(a) * np.sin(angle), np.full(_N_SIDES, np.sin(a)))
        )
        for a in up
    ]
    return _lofted(rings)


def rod_triangles(begin_mm: Array, end_mm: Array) -> Array:
    """A thin rod between two points."""
    axis = (end_mm - begin_mm) / np.linalg.norm(end_mm - begin_mm)
    across = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    across /= np.linalg.norm(across)
    other = np.cross(axis, across)
    angle = np.linspace(0.0, 2.0 * np.pi, _N_SIDES, endpoint=False)[:, None]
    circle = _LINE_RADIUS_MM * (np.cos(angle) * across + np.sin(angle) * other)
    return _lofted([begin_mm + circle, end_mm + circle])


def placed_on_image(A_scene_pixel: Matrix, columns: int) -> tuple[Matrix, float]:
    """Where the probe is that makes this image: T_scene_solid for `probe_triangles`, and width."""
    u, v = A_scene_pixel[:3, 0], A_scene_pixel[:3, 1]
    x, y = u / np.linalg.norm(u), v / np.linalg.norm(v)
    T = np.eye(4)
    T[:3, 0], T[:3, 1], T[:3, 2] = x, y, np.cross(x, y)
    T[:3, 3] = (A_scene_pixel @ ((columns - 1) / 2.0, -0.5, 0.0, 1.0))[:3]
    return T, float(np.linalg.norm(u)) * columns


def _ring(half_x: float, half_z: float, y: float) -> Array:
    """A rectangle with cut corners."""
    a, b = 0.8 * half_x, 0.6 * half_z
    corners = (
        (half_x, b), (a, half_z), (-a, half_z), (-half_x, b),
        (-half_x, -b), (-a, -half_z), (a, -half_z), (half_x, -b),
    )  # fmt: skip
    return np.array([(x, y, z) for x, z in corners])


def _lofted(rings: list[Array]) -> Array:
    """Triangles between rings of as many points, both ends closed: (N, 3, 3)."""
    triangles = []
    for first, second in itertools.pairwise(rings):
        next_first, next_second = np.roll(first, -1, axis=0), np.roll(second, -1, axis=0)
        triangles.append(np.stack((first, next_first, second), axis=1))
        triangles.append(np.stack((next_first, next_second, second), axis=1))
    for ring in (rings[0], rings[-1]):
        centre = np.broadcast_to(ring.mean(axis=0), ring.shape)
        triangles.append(np.stack((ring, np.roll(ring, -1, axis=0), centre), axis=1))
    return np.concatenate(triangles)
