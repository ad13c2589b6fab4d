from __future__ import annotations

import numpy as np

from navapp.gui.gl_surface import vertex_normals
from recon.surface import TriangleMesh

_OCTAHEDRON = np.concatenate((np.eye(3), -np.eye(3)))
_OCTAHEDRON_FACES = np.array(
    [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)],
    dtype=np.int32,
)


def test_normals_of_an_octahedron_point_outwards() -> None:
    mesh = TriangleMesh(_OCTAHEDRON, _OCTAHEDRON_FACES)
    np.testing.assert_allclose(vertex_normals(mesh), _OCTAHEDRON, atol=1e-12)


def test_a_vertex_without_a_face_has_no_normal() -> None:
    mesh = TriangleMesh(np.eye(4, 3), np.array([(0, 1, 2)], dtype=np.int32))
    normals = vertex_normals(mesh)
    np.testing.assert_allclose(np.abs(normals[:3]), np.full((3, 3), 3**-0.5))
    np.testing.assert_array_equal(normals[3], 0.0)
