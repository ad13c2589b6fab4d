"""The CT surface: translucent, coloured by one number per vertex through a table."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from OpenGL import GL
from PySide6.QtOpenGL import QOpenGLBuffer, QOpenGLTexture

from navapp.gui.gl_base import ShaderItem, blend_over, buffer_of, texture_of
from recon.surface import TriangleMesh

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


class SurfaceItem(ShaderItem):
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
        self._texture = texture_of(len(self._colours), 1, QOpenGLTexture.TextureFormat.RGBA8_UNorm)
        self._upload_table(self._texture)
        self._vertex_array.bind()
        self._program.bind()
        self._buffers = [
            self._attribute(0, self._mesh.vertices_mm, 3),
            self._attribute(1, vertex_normals(self._mesh), 3),
            self._attribute(2, self._scalars, 1),
        ]
        self._indices = buffer_of(
            self._mesh.faces.nbytes, self._mesh.faces.tobytes(), QOpenGLBuffer.Type.IndexBuffer
        )
        self._indices.bind()
        self._unbind()
        self._indices.release()

    def upload_scalars(self, scalars: NDArray[np.float32]) -> None:
        """Colour the vertices anew; their places are not touched."""
        self._scalars = np.ascontiguousarray(scalars, dtype=np.float32)
        if self._texture is None:  # not on the GPU yet
            return
        buffer = self._buffers[2]
        buffer.bind()
        buffer.write(0, self._scalars, self._scalars.nbytes)  # type: ignore[arg-type]
        buffer.release()

    def upload_colours(self, colours: NDArray[np.uint8]) -> None:
        """Another table of as many colours."""
        self._colours = np.ascontiguousarray(colours)
        if self._texture is not None:
            self._upload_table(self._texture)

    def release(self) -> None:
        if self._texture is not None:
            self._texture.destroy()
            self._texture = None

    def _upload_table(self, texture: QOpenGLTexture) -> None:
        texture.bind()
        GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
        GL.glTexSubImage2D(
            GL.GL_TEXTURE_2D, 0, 0, 0, len(self._colours), 1, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE,
            self._colours,
        )  # fmt: skip
        texture.release()

    def paint(self) -> None:
        if self._texture is None:
            return
        self._bind()
        self._texture.bind()
        self._set("u_camera_scene", self.modelViewMatrix())
        blend_over()
        GL.glDepthMask(GL.GL_FALSE)
        GL.glDrawElements(GL.GL_TRIANGLES, self._mesh.faces.size, GL.GL_UNSIGNED_INT, None)
        GL.glDepthMask(GL.GL_TRUE)
        GL.glDisable(GL.GL_BLEND)
        self._texture.release()
        self._unbind()

    def _attribute(self, location: int, values: NDArray[np.floating], width: int) -> QOpenGLBuffer:
        """Bind `values` as float32 to a shader input."""
        data = np.ascontiguousarray(values, dtype=np.float32)
        buffer = buffer_of(data.nbytes, data.tobytes())
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
