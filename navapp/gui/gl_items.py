"""What the 3D scene is made of, each with its own buffers on the GPU.

Items are built without a context; `upload*` and `paint` run with the view's context current.
Desktop OpenGL 3.3 core. A shader works on float32: millimetres of a scene keep micrometres.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from OpenGL import GL
from pyqtgraph.opengl.GLGraphicsItem import GLGraphicsItem
from PySide6.QtGui import QMatrix4x4, QVector2D, QVector3D
from PySide6.QtOpenGL import (
    QOpenGLBuffer,
    QOpenGLShader,
    QOpenGLShaderProgram,
    QOpenGLTexture,
    QOpenGLVertexArrayObject,
)

from navapp.gui import style
from recon.surface import TriangleMesh
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

_SURFACE_VERTEX = """#version 330 core
layout(location = 0) in vec3 p_scene;
layout(location = 1) in vec3 n_scene;
layout(location = 2) in float scalar;
uniform mat4 u_clip_scene;
uniform mat4 u_camera_scene;
out vec3 v_normal;
out vec3 v_camera;
out float v_scalar;
void main() {
    vec4 p_camera = u_camera_scene * vec4(p_scene, 1.0);
    gl_Position = u_clip_scene * vec4(p_scene, 1.0);
    v_normal = mat3(u_camera_scene) * n_scene;
    v_camera = p_camera.xyz;
    v_scalar = scalar;
}
"""
_SURFACE_FRAGMENT = """#version 330 core
in vec3 v_normal;
in vec3 v_camera;
in float v_scalar;
uniform sampler2D u_colours;
out vec4 colour;
void main() {
    float facing = abs(dot(normalize(v_normal), normalize(v_camera)));
    vec4 base = texture(u_colours, vec2(v_scalar, 0.5));
    // Glass: clear where seen face on, so that the points on it show, denser towards the rim.
    float alpha = base.a * mix(1.0, 0.4, facing);
    colour = vec4(base.rgb * (0.35 + 0.65 * facing), alpha);
}
"""


class _Item(GLGraphicsItem):
    """An item with one shader program; `release` gives back what Qt does not by itself."""

    _SOURCES: tuple[str, str]

    def initializeGL(self) -> None:
        self._program = QOpenGLShaderProgram()
        kinds = (QOpenGLShader.ShaderTypeBit.Vertex, QOpenGLShader.ShaderTypeBit.Fragment)
        for kind, source in zip(kinds, self._SOURCES, strict=True):
            self._program.addShaderFromSourceCode(kind, source)
        if not self._program.link():
            raise RuntimeError(f"{type(self).__name__}: {self._program.log()}")
        self._vertex_array = QOpenGLVertexArrayObject()
        self._vertex_array.create()

    def release(self) -> None:
        """Free textures; buffers and programs free themselves."""

    def _bind(self) -> None:
        self._vertex_array.bind()
        self._program.bind()
        self._set("u_clip_scene", self.mvpMatrix())
        GL.glEnable(GL.GL_DEPTH_TEST)

    def _set(self, name: str, value: float | QVector2D | QVector3D | QMatrix4x4) -> None:
        """Give a uniform of the bound program its value."""
        location = self._program.uniformLocation(name.encode())
        if isinstance(value, float):  # the overload for numbers takes it for a whole one
            self._program.setUniformValue1f(location, value)
        else:
            self._program.setUniformValue(location, value)

    def _unbind(self) -> None:
        self._program.release()
        self._vertex_array.release()


class CloudItem(_Item):
    """Points that are only ever added: fixed buffers of `_CHUNK` points, each row uploaded once."""

    _SOURCES = (_CLOUD_VERTEX, _CLOUD_FRAGMENT)

    def __init__(self) -> None:
        super().__init__()
        self._chunks: list[QOpenGLBuffer] = []
        self.n_points = 0
        self.stride = 1

    def upload(self, points_mm: NDArray[np.float32]) -> None:
        """Make the cloud `points_mm`, (n, 3), of which all rows uploaded before are the first.

        A shorter array is another cloud, and begins anew.
        """
        if len(points_mm) < self.n_points:
            self.n_points = 0
        while self.n_points < len(points_mm):
            index, first = divmod(self.n_points, _CHUNK)
            rows = np.ascontiguousarray(points_mm[self.n_points : self.n_points + _CHUNK - first])
            if index == len(self._chunks):
                self._chunks.append(_buffer(_CHUNK * _POINT_BYTES))
            self._chunks[index].bind()
            self._chunks[index].write(first * _POINT_BYTES, rows, rows.nbytes)  # type: ignore[arg-type]
            self._chunks[index].release()
            self.n_points += len(rows)

    def paint(self) -> None:
        self._bind()
        GL.glEnable(GL.GL_PROGRAM_POINT_SIZE)
        view = self.view()
        pixels_at_1_mm = view.deviceWidth() * self.projectionMatrix()[0, 0] / 2
        self._set("u_pixels", _POINT_SIZE_MM * pixels_at_1_mm)
        self._set("u_distance", view.opts["distance"])
        self._set("u_colour", _rgb(style.BONE_FOUND))
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


class PlaneItem(_Item):
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
            self._texture = _texture(columns, rows, QOpenGLTexture.TextureFormat.R8_UNorm)
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
        self._set("u_outline", _rgb(style.TEXT))
        self._set("u_skin", _rgb(style.SKIN))
        self._set("u_brightness", _OUTLINE_STALE if self.is_stale else 1.0)
        GL.glDrawArrays(GL.GL_TRIANGLE_STRIP, 0, 4)
        self._texture.release()
        self._unbind()


class SurfaceItem(_Item):
    """A translucent mesh, coloured through a table by one scalar in [0, 1] per vertex.

    Parameters
    ----------
    mesh : in the frame of the scene
    scalars : (V,) float32
    colours : (C, 4) uint8 RGBA, the table
    """

    _SOURCES = (_SURFACE_VERTEX, _SURFACE_FRAGMENT)

    def __init__(
        self, mesh: TriangleMesh, scalars: NDArray[np.float32], colours: NDArray[np.uint8]
    ) -> None:
        super().__init__()
        self._mesh = mesh
        self._scalars = scalars
        self._colours = colours
        self._texture: QOpenGLTexture | None = None

    def initializeGL(self) -> None:
        super().initializeGL()
        self._texture = _texture(len(self._colours), 1, QOpenGLTexture.TextureFormat.RGBA8_UNorm)
        self._texture.bind()
        GL.glTexSubImage2D(
            GL.GL_TEXTURE_2D, 0, 0, 0, len(self._colours), 1, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE,
            self._colours,
        )  # fmt: skip
        self._texture.release()
        self._vertex_array.bind()
        self._program.bind()
        self._buffers = [
            self._attribute(0, self._mesh.vertices_mm, 3),
            self._attribute(1, vertex_normals(self._mesh), 3),
            self._attribute(2, self._scalars, 1),
        ]
        self._indices = _buffer(
            self._mesh.faces.nbytes, self._mesh.faces.tobytes(), QOpenGLBuffer.Type.IndexBuffer
        )
        self._indices.bind()
        self._unbind()
        self._indices.release()

    def release(self) -> None:
        if self._texture is not None:
            self._texture.destroy()
            self._texture = None

    def paint(self) -> None:
        if self._texture is None:
            return
        self._bind()
        self._texture.bind()
        self._set("u_camera_scene", self.modelViewMatrix())
        GL.glEnable(GL.GL_BLEND)
        # The view's own alpha stays 1: it would let the window behind shine through.
        GL.glBlendFuncSeparate(
            GL.GL_SRC_ALPHA, GL.GL_ONE_MINUS_SRC_ALPHA, GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA
        )
        GL.glDepthMask(GL.GL_FALSE)
        GL.glDrawElements(GL.GL_TRIANGLES, self._mesh.faces.size, GL.GL_UNSIGNED_INT, None)
        GL.glDepthMask(GL.GL_TRUE)
        GL.glDisable(GL.GL_BLEND)
        self._texture.release()
        self._unbind()

    def _attribute(self, location: int, values: NDArray[np.floating], width: int) -> QOpenGLBuffer:
        """Bind `values` as float32 to a shader input."""
        data = np.ascontiguousarray(values, dtype=np.float32)
        buffer = _buffer(data.nbytes, data.tobytes())
        buffer.bind()
        self._program.enableAttributeArray(location)
        self._program.setAttributeBuffer(location, GL.GL_FLOAT, 0, width)
        buffer.release()
        return buffer


def vertex_normals(mesh: TriangleMesh) -> NDArray[np.float64]:
    """Unit normals at the vertices, (V, 3): the faces' mean, weighted by area."""
    a, b, c = np.moveaxis(mesh.triangles_mm(), 1, 0)
    face_normals = np.cross(b - a, c - a)
    corners = mesh.faces.ravel()
    weights = np.repeat(face_normals, 3, axis=0)
    normals = np.stack(
        [np.bincount(corners, weights[:, k], len(mesh.vertices_mm)) for k in range(3)], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return normals / np.where(length > 0.0, length, 1.0)


def _buffer(
    n_bytes: int,
    data: bytes | None = None,
    kind: QOpenGLBuffer.Type = QOpenGLBuffer.Type.VertexBuffer,
) -> QOpenGLBuffer:
    buffer = QOpenGLBuffer(kind)
    buffer.create()
    buffer.bind()
    if data is None:
        buffer.allocate(n_bytes)
    else:
        buffer.allocate(data, n_bytes)
    buffer.release()
    return buffer


def _texture(columns: int, rows: int, pixel: QOpenGLTexture.TextureFormat) -> QOpenGLTexture:
    texture = QOpenGLTexture(QOpenGLTexture.Target.Target2D)
    texture.setFormat(pixel)
    texture.setSize(columns, rows)
    texture.setMinMagFilters(QOpenGLTexture.Filter.Linear, QOpenGLTexture.Filter.Linear)
    texture.setWrapMode(QOpenGLTexture.WrapMode.ClampToEdge)
    texture.allocateStorage()
    return texture


def _rgb(colour: str) -> QVector3D:
    return QVector3D(*(c / 255 for c in bytes.fromhex(colour.removeprefix("#"))))
