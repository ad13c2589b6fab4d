"""What every item of the 3D scene shares: its shader program, buffers, textures, colours.

Items are built without a context; `upload*` and `paint` run with the view's context current.
Desktop OpenGL 3.3 core. A shader works on float32: millimetres of a scene keep micrometres.
"""

from __future__ import annotations

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


class ShaderItem(GLGraphicsItem):
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


def buffer_of(
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


def texture_of(columns: int, rows: int, pixel: QOpenGLTexture.TextureFormat) -> QOpenGLTexture:
    texture = QOpenGLTexture(QOpenGLTexture.Target.Target2D)
    texture.setFormat(pixel)
    texture.setSize(columns, rows)
    texture.setMinMagFilters(QOpenGLTexture.Filter.Linear, QOpenGLTexture.Filter.Linear)
    texture.setWrapMode(QOpenGLTexture.WrapMode.ClampToEdge)
    texture.allocateStorage()
    return texture


def rgb(colour: str) -> QVector3D:
    return QVector3D(*(c / 255 for c in bytes.fromhex(colour.removeprefix("#"))))


def blend_over() -> None:
    """Translucent over what is drawn already.

    The view's own alpha stays 1: it would let the window behind shine through.
    """
    GL.glEnable(GL.GL_BLEND)
    GL.glBlendFuncSeparate(
        GL.GL_SRC_ALPHA, GL.GL_ONE_MINUS_SRC_ALPHA, GL.GL_ONE, GL.GL_ONE_MINUS_SRC_ALPHA
    )
