"""The procedural bone is a closed surface that stands somewhere in CT space."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from recon.phantom_bone import bone_placement, long_bone_mesh
from tracking.transforms import apply, check_rigid, invert


@pytest.mark.parametrize("seed", range(4))
def test_bone_is_closed_and_oriented(seed):
    mesh = long_bone_mesh(seed, length_mm=60.0, edge_mm=2.0)
    edges = Counter(
        (a, b)
        for face in mesh.faces.tolist()
        for a, b in zip(face, face[1:] + face[:1], strict=True)
    )
    assert set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)
    n_vertices = len(np.unique(mesh.faces))
    assert n_vertices == len(mesh.vertices_mm)
    assert n_vertices - len(edges) // 2 + len(mesh.faces) == 2  # Euler: one sphere


def test_edges_are_short():
    triangles_mm = long_bone_mesh(edge_mm=1.0).triangles_mm()
    edges_mm = np.linalg.norm(triangles_mm - np.roll(triangles_mm, 1, axis=1), axis=2)
    assert np.median(edges_mm) < 1.1
    assert edges_mm.max() < 2.5


def test_bone_has_its_length_and_stands_far_from_the_origin():
    mesh = long_bone_mesh(seed=3, length_mm=150.0)
    along_mm = apply(invert(bone_placement(3)), mesh.vertices_mm)[:, 2]
    assert np.ptp(along_mm) == pytest.approx(168.0, abs=0.1)  # with both caps
    assert np.abs(mesh.vertices_mm.mean(axis=0)).min() > 100.0


def test_shaft_is_not_round():
    vertices_mm = apply(invert(bone_placement(0)), long_bone_mesh(seed=0).vertices_mm)
    ring_mm = vertices_mm[np.abs(vertices_mm[:, 2]) < 0.5, :2]
    radii_mm = np.linalg.norm(ring_mm - ring_mm.mean(axis=0), axis=1)
    assert radii_mm.max() / radii_mm.min() > 1.15


def test_seeds_give_different_bones_and_the_same_one_again():
    first, other = long_bone_mesh(seed=0), long_bone_mesh(seed=1)
    assert first.vertices_mm.shape != other.vertices_mm.shape
    np.testing.assert_array_equal(first.vertices_mm, long_bone_mesh(seed=0).vertices_mm)


def test_placement_is_rigid():
    check_rigid(bone_placement(9), "bone_placement")
