"""The growing cloud and the live image, each with its own buffers on the GPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from OpenGL import GL
from PySide6.QtGui import QMatrix4x4, QVector2D
from PySide6.QtOpenGL import QOpenGLBuffer, QOpenGLTexture

from navapp.gui import style
from navapp.gui.gl_base import ShaderItem, buffer_of, rgb, texture_of
from navapp.state import DrawnCloud
from tracking.transforms import Matrix

# Points of one buffer. A power of two, so that every stride of the draw budget divides it.
_CHUNK = 65_536
_POINT_BYTES = 12  # three float32
_POINT_SIZE_MM = 0.7
_OUTLINE_STALE = 0.35

_CLOUD_VERTEX = """#version 330 core
layout(location = 0) in vec3 p_scene;
uniform mat4 u_clip_scene;
uniform float u_pixels;    // size of a point in pixels at 1 mm from the camera
uniform float u_distance;  // from the camera to what it looks at
out float v_light;
void main() {
    gl_Position = u_clip_scene * vec4(p_scene, 1.0);
    gl_PointSize = clamp(u_pixels / gl_Position.w, 2.0, 8.0);
    // Further away is darker, which gives a flat colour its depth.
    v_light = mix(1.0, 0.6, smoothstep(0.8, 1.25, gl_Position.w / u_distance));
}
"""
_CLOUD_FRAGMENT = """#version 330 core
in float v_light;
uniform vec3 u_colour;
out vec4 colour;
void main() { colour = vec4(u_colour * v_light, 1.0); }
"""

_PLANE_VERTEX = """#version 330 core
uniform mat4 u_clip_scene;
uniform mat4 u_scene_pixel;
uniform vec2 u_size;       // columns, rows
out vec2 v_place;
void main() {
    v_place = vec2(gl_VertexID & 1, gl_VertexID >> 1);
    // Whole numbers are pixel centres: the image begins half a pixel before the first.
    gl_Position = u_clip_scene * (u_scene_pixel * vec4(v_place * u_size - 0.5, 0.0, 1.0));
}
"""
_PLANE_FRAGMENT = """#version 330 core
in vec2 v_place;
uniform sampler2D u_image;
uniform vec3 u_outline;
uniform vec3 u_skin;
uniform float u_brightness;
out vec4 colour;
void main() {
    vec2 pixels = fwidth(v_place);
    vec2 inside = min(v_place, 1.0 - v_place) / pixels;
    vec3 grey = vec3(texture(u_image, v_place).r) * u_brightness;
    vec3 edge = v_place.y < 4.0 * pixels.y ? u_skin : u_outline;
    bool is_edge = min(inside.x, inside.y) < 2.0 || v_place.y < 4.0 * pixels.y;
    colour = vec4(is_edge ? edge * u_brightness : grey, 1.0);
}
"""


class CloudItem(ShaderItem):
    """Points that are only ever added: fixed buffers of `_CHUNK` points, each row uploaded once."""

    _SOURCES = (_CLOUD_VERTEX, _CLOUD_FRAGMENT)

    def __init__(self) -> None:
        super().__init__()
        self._chunks: list[QOpenGLBuffer] = []
        self.n_points = 0
        self.stride = 1
        self._drawn = DrawnCloud(np.empty((0, 3), np.float32))

    def upload(self, cloud: DrawnCloud) -> int:
        """Bring the rows to the GPU that are not there yet; returns how many were."""
        n_kept = self.n_points = cloud.n_kept(self._drawn)
        self._drawn, points_mm = cloud, cloud.points_mm
        while self.n_points < len(points_mm):
            index, first = divmod(self.n_points, _CHUNK)
            rows = np.ascontiguousarray(points_mm[self.n_points : self.n_points + _CHUNK - first])
            if index == len(self._chunks):
                self._chunks.append(buffer_of(_CHUNK * _POINT_BYTES))
            self._chunks[index].bind()
            self._chunks[index].write(first * _POINT_BYTES, rows, rows.nbytes)  # type: ignore[arg-type]
            self._chunks[index].release()
            self.n_points += len(rows)
        return n_kept

    def paint(self) -> None:
        self._bind()
        GL.glEnable(GL.GL_PROGRAM_POINT_SIZE)
        view = self.view()
        pixels_at_1_mm = view.deviceWidth() * self.projectionMatrix()[0, 0] / 2
        self._set("u_pixels", _POINT_SIZE_MM * pixels_at_1_mm)
        self._set("u_distance", view.opts["distance"])
        self._set("u_colour", rgb(style.BONE_FOUND))
        self._program.enableAttributeArray(0)
        for index, chunk in enumerate(self._chunks):
            n_rows = min(self.n_points - index * _CHUNK, _CHUNK)
            if n_rows <= 0:
                break
            chunk.bind()
            self._program.setAttributeBuffer(0, GL.GL_FLOAT, 0, 3, _POINT_BYTES * self.stride)
            chunk.release()
            GL.glDrawArrays(GL.GL_POINTS, 0, -(-n_rows // self.stride))
        self._unbind()


class PlaneItem(ShaderItem):
    """The live image where it lies in space; its skin side has an edge of its own colour."""

    _SOURCES = (_PLANE_VERTEX, _PLANE_FRAGMENT)

    def __init__(self) -> None:
        super().__init__()
        self.is_stale = False
        self._texture: QOpenGLTexture | None = None
        self._scene_pixel = QMatrix4x4()

    def upload(self, pixels: NDArray[np.uint8], A_scene_pixel: Matrix) -> None:
        """Show `pixels` (rows, columns) at `A_scene_pixel` (mm per pixel)."""
        rows, columns = pixels.shape
        self._scene_pixel = QMatrix4x4(A_scene_pixel.ravel().tolist())
        if self._texture is None or (self._texture.height(), self._texture.width()) != pixels.shape:
            self.release()
            self._texture = texture_of(columns, rows, QOpenGLTexture.TextureFormat.R8_UNorm)
        self._texture.bind()
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)  # 950 columns are not a multiple of 4
        GL.glTexSubImage2D(
            GL.GL_TEXTURE_2D, 0, 0, 0, columns, rows, GL.GL_RED, GL.GL_UNSIGNED_BYTE,
            np.ascontiguousarray(pixels),
        )  # fmt: skip
        self._texture.release()

    def release(self) -> None:
        if self._texture is not None:
            self._texture.destroy()
            self._texture = None

    def paint(self) -> None:
        if self._texture is None:
            return
        self._bind()
        self._texture.bind()
        self._set("u_scene_pixel", self._scene_pixel)
        self._set("u_size", QVector2D(self._texture.width(), self._texture.height()))
        self._set("u_outline", rgb(style.TEXT))
        self._set("u_skin", rgb(style.SKIN))
        self._set("u_brightness", _OUTLINE_STALE if self.is_stale else 1.0)
        GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)
        self._texture.release()
        self._unbind()
