"""PLUS's own messages: TRACKEDFRAME, an image with its poses, and CLIENTINFO, a client's wishes.

Source: PlusLib, igtlPlusTrackedFrameMessage and PlusIgtlClientInfo; IGSIO, igsioTrackedFrame.
"""

from __future__ import annotations

import struct
import time
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from tracking.errors import WireError
from tracking.framing import Message, Parts
from tracking.image_codec import grey_pixels, stated_spacing_mm
from tracking.messages import ClientInfo, ImageFrame, PoseSample
from tracking.pose_codecs import pose_from_columns
from tracking.record_codecs import decode_string, encode_string

TRACKEDFRAME, CLIENTINFO = "TRACKEDFRAME", "CLIENTINFO"

# Scalar type, components, kind of image; size; bytes of pixels and of XML; orientation.
_HEADER = struct.Struct(">3H 3H 2I H")
# Image to a frame of PLUS's choice, row by row: as the sender holds it, not swapped as the rest.
_EMBEDDED = struct.Struct("<16f")
_LITTLE_ENDIAN = 2
_MF = 5  # US_IMG_ORIENT_MF, which PLUS holds its images in
_TRANSFORM, _STATUS = "Transform", "Status"


def decode_tracked_frame(message: Message) -> tuple[PoseSample | ImageFrame, ...]:
    """The poses of one moment, then the image of that moment where there is one.

    All carry the message's stamp. The embedded transform gives the spacing and nothing else: the
    image's place follows from the poses and the calibration. Further fields become metadata.

    Raises
    ------
    WireError : if sizes do not fit, the XML cannot be read, or the image is not in orientation
        MF (any other would mirror the bone).
    """
    content, name = message.content, message.name
    begin = _HEADER.size + _EMBEDDED.size
    if content.size < begin:
        raise WireError(
            f"TRACKEDFRAME {name}: the body has {content.size} bytes, expected at least {begin}"
        )
    scalar_type, n_components, _, *size, image_bytes, xml_bytes, orientation = _HEADER.unpack_from(
        content.data
    )
    if content.size != begin + xml_bytes + image_bytes:
        raise WireError(
            f"TRACKEDFRAME {name}: {content.size} bytes came, "
            f"{begin + xml_bytes + image_bytes} were announced"
        )
    root = _parse_xml(message, content[begin : begin + xml_bytes].tobytes())
    fields = {
        field.get("Name", ""): field.get("Value", "")
        for field in root.iter("FrameField")
    }  # fmt: skip
    poses = _take_poses(message, fields)
    if image_bytes == 0 or root.get("ImageDataValid") == "false":
        return poses
    if size[2] != 1 or min(size) == 0 or orientation != _MF:
        raise WireError(
            f"TRACKEDFRAME {name}: an image of {size[0]}x{size[1]}x{size[2]} in orientation "
            f"{orientation} came, expected one slice in orientation {_MF} (MF)"
        )
    kind = (n_components, scalar_type, _LITTLE_ENDIAN)
    pixels = grey_pixels(name, content[begin + xml_bytes :], kind, tuple(size))
    pixels.setflags(write=False)
    embedded = _EMBEDDED.unpack_from(content.data, _HEADER.size)
    return *poses, ImageFrame(
        name=name,
        pixels=pixels,
        stamps=message.stamps,
        t_decoded_s=time.perf_counter(),
        spacing_mm=stated_spacing_mm(embedded[0:12:4], embedded[1:12:4]),
        metadata={**message.metadata, **fields},
    )


def _take_poses(message: Message, fields: dict[str, str]) -> tuple[PoseSample, ...]:
    """The poses among the fields, which lose them: ProbeToTrackerTransform and its Status."""
    poses = []
    for key in [key for key in fields if key.endswith(_TRANSFORM) and "To" in key]:
        name = key.removesuffix(_TRANSFORM)
        text, status = fields.pop(key), fields.pop(key + _STATUS, "OK")
        try:
            matrix = np.array([float(number) for number in text.split()]).reshape(4, 4)
        except ValueError:
            raise WireError(
                f"TRACKEDFRAME {message.name}: {key} is {text!r}, expected 16 numbers"
            ) from None
        marked = replace(message, metadata={name + _STATUS: status})
        poses.append(pose_from_columns(marked, name, tuple(matrix[:3].T.ravel().tolist())))
    return tuple(poses)


def decode_client_info(message: Message) -> ClientInfo:
    """Raises WireError where its XML cannot be read."""
    root = _parse_xml(message, decode_string(message).text.encode())
    return ClientInfo(
        tuple(e.get("Type", "") for e in root.iterfind("MessageTypes/Message")),
        tuple(e.get("Name", "") for e in root.iterfind("TransformNames/Transform")),
        tuple(
            (e.get("Name", ""), e.get("EmbeddedTransformToFrame", ""))
            for e in root.iterfind("ImageNames/Image")
        ),
    )


def encode_client_info(info: ClientInfo) -> Parts:
    """Asks PlusServer for these streams instead of those of its configuration."""
    root = ElementTree.Element("ClientInfo")
    types, transforms, images = (
        ElementTree.SubElement(root, group)
        for group in ("MessageTypes", "TransformNames", "ImageNames")
    )
    for kind in info.message_types:
        ElementTree.SubElement(types, "Message", Type=kind)
    for name in info.transforms:
        ElementTree.SubElement(transforms, "Transform", Name=name)
    for name, frame in info.images:
        ElementTree.SubElement(images, "Image", Name=name, EmbeddedTransformToFrame=frame)
    return encode_string("", ElementTree.tostring(root, encoding="unicode"), kind=CLIENTINFO)


def _parse_xml(message: Message, text: bytes) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text.rstrip(b"\0"))
    except (ElementTree.ParseError, ValueError) as error:
        raise WireError(f"{message.type} {message.name}: its XML cannot be read: {error}") from None
