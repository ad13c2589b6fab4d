"""What a session finds, as pyigtl receives it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pyigtl
import pytest

from inference.postprocess import BoneLine
from navapp.config import ResultSettings
from navapp.results import ResultSender
from navapp.state import DrawnCloud, DropReason, LiveView
from tracking.messages import ImageFrame, Stamps
from tracking.transforms import Matrix, from_euler_xyz_deg

WAIT_S = 20.0
STAMP_S = 1_722_470_400.25
A_PROBE_PIXEL = np.array(
    [(0.1, 0.0, 0.0, -3.0), (0.0, 0.2, 0.0, 1.0), (0.0, 0.0, 0.15, 0.0), (0.0, 0.0, 0.0, 1.0)]
)
T_CT_PROBE = from_euler_xyz_deg((10.0, -20.0, 30.0), (40.0, 50.0, 60.0))
POINTS_PX = np.array([(1.0, 2.0), (2.0, 2.4), (3.0, 2.6)])


@pytest.fixture
def sender() -> Iterator[ResultSender]:
    with closing(ResultSender(ResultSettings(port=0), A_PROBE_PIXEL)) as sender:
        yield sender


@pytest.fixture
def client(sender: ResultSender) -> Iterator[pyigtl.OpenIGTLinkClient]:
    client = pyigtl.OpenIGTLinkClient("127.0.0.1", sender.port)
    assert sender._server.wait_for_client(WAIT_S)
    yield client
    client.stop()


def view(A_ct_pixel: Matrix | None) -> LiveView:
    frame = ImageFrame("Image", np.zeros((5, 6), np.uint8), Stamps(STAMP_S, 1.0), 1.0, (0.1, 0.2))
    line = BoneLine(POINTS_PX, *2 * [np.ones(3, np.float32)])
    reason = DropReason.NO_POSE if A_ct_pixel is None else None
    return LiveView(frame, line, A_ct_pixel, reason, DrawnCloud(np.zeros((0, 3), np.float32)), 1.0)


def test_mask_points_and_probe_carry_the_images_stamp(
    sender: ResultSender, client: pyigtl.OpenIGTLinkClient
) -> None:
    A_ct_pixel = T_CT_PROBE @ A_PROBE_PIXEL
    sender.send(view(A_ct_pixel), "ct")
    mask = client.wait_for_message("BoneMask", WAIT_S)
    probe = client.wait_for_message("ProbeToCt", WAIT_S)
    points = client.wait_for_message("BonePoints", WAIT_S)
    expected = np.zeros((5, 6), np.uint8)
    expected[2, 1], expected[2, 2], expected[3, 3] = 255, 255, 255
    np.testing.assert_array_equal(mask.image[0], expected)
    np.testing.assert_allclose(probe.matrix, T_CT_PROBE, atol=1e-5)
    expected_mm = [(A_ct_pixel @ (u, v, 0.0, 1.0))[:3] for u, v in POINTS_PX]
    np.testing.assert_allclose(points.positions, expected_mm, atol=1e-5)
    assert {mask.timestamp, probe.timestamp, points.timestamp} == {STAMP_S}


def test_without_a_pose_only_the_mask_goes_out(
    sender: ResultSender, client: pyigtl.OpenIGTLinkClient
) -> None:
    sender.send(view(None), "ct")
    assert client.wait_for_message("BoneMask", WAIT_S) is not None
    assert sender._server.drain(WAIT_S)
    assert {m.device_name for m in client.get_latest_messages()} <= {""}, "only signs of life"
