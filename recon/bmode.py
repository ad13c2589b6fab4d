"""Paint a B-mode image in grey values, as a scanner shows it: after compression to a log scale.

Frames need not be exact, only their bone line must; what is simulated is what makes bone hard to
find: speckle that moves with the tissue, bright layers that are no bone, an echo that fades with
incidence, and the cue that tells bone from all others, the shadow below.

The kernels do without Numba's fastmath (a millisecond per image): with it, grey values change with
whether a kernel was just compiled or came from the cache, and a seed would not name one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from recon.phantom_tissue import LayerLines
from tracking.transforms import Matrix

Array = NDArray[np.float64]
Canvas = NDArray[np.float32]
Volume = NDArray[np.uint8]

# Speckle volume over frame `bone`, axes (z, y, x): voxel sizes and standard deviation of the point
# spread. It repeats after a power of two, so that wrapping is a bit mask: after 16, 20 and 31 mm,
# and what repeats is grain without a figure.
_SHAPE = (32, 256, 256)
_VOXEL_MM = np.array((0.5, 0.08, 0.12))
_GRAIN_VOXELS = np.array((1.5, 1.1, 1.3))
_GREY_MEAN, _GREY_STD = 128.0, 40.0

# Where (1 - (x / reach)^2)^3, a bell that ends, is half its height: at x = 1.
_BELL_REACH = 2.2015

_PROBE_COVER_MM = 0.5  # depth of the line that the cover of the transducer leaves in each image


@dataclass(frozen=True, slots=True)
class Look:
    """How one scanner and one limb look. Grey values run from 0 to 255, what is brighter clips."""

    layer_grey: Array  # of gel, then below the skin and below each following layer
    layer_shade: float  # part of a layer's brightness that is missing below it
    speckle: float
    streaks: float
    fall_per_mm: float  # grey, below the focus
    focus_mm: float
    bone_peak: float
    rise_mm: float  # of the bone echo, see BModePainter
    fall_mm: float
    repetition: float  # strength of the bone's second image, relative to the first
    shadow: float  # grey
    shadow_length_mm: float
    noise: float
    cover_peak: float
    echo_blur_mm: float
    shadow_blur_mm: float

    @classmethod
    def from_seed(cls, seed: int) -> Look:
        """One of many; the ranges were set by eye beside the recordings of UltraBones100k."""
        rng = np.random.default_rng((seed, 4))
        gain = rng.uniform(-14.0, 22.0)
        darkest, brightest = (75, 75, 65, 60, 55, 55, 50), (105, 105, 95, 95, 85, 80, 80)
        return cls(
            layer_grey=np.concatenate(((4.0,), gain + rng.uniform(darkest, brightest))),
            layer_shade=rng.uniform(0.0, 0.025),
            speckle=rng.uniform(0.2, 0.4),
            streaks=rng.uniform(0.35, 0.9),
            fall_per_mm=rng.uniform(0.8, 2.5),
            focus_mm=rng.uniform(10.0, 20.0),
            bone_peak=rng.uniform(210.0, 290.0),
            rise_mm=rng.uniform(0.2, 0.3),
            fall_mm=rng.uniform(0.4, 0.75),
            repetition=rng.uniform(0.0, 0.2),
            shadow=rng.uniform(70.0, 110.0),
            shadow_length_mm=rng.uniform(1.2, 4.0),
            noise=rng.uniform(8.0, 20.0),
            cover_peak=rng.uniform(60.0, 180.0),
            echo_blur_mm=rng.uniform(0.2, 0.4),
            shadow_blur_mm=rng.uniform(0.5, 1.4),
        )


class _Scene(NamedTuple):
    """What `_compose` paints, besides the echoes; a tuple because Numba takes it whole."""

    volume: Volume
    volume_from_pixel: Array  # (3, 3): voxel (z, y, x) of (u, v, 1)
    streak_origin: Array
    voxels_per_row: float
    layer_v_px: Canvas  # (K, width)
    layer_grey: Canvas  # (K + 1, width)
    bone_v_px: Canvas  # (width,), below the image for no bone
    contact_loss: Canvas
    row_grey: Canvas
    row_noise: Canvas
    noise_start: int
    speckle: float
    streaks: float
    shadow: float
    light_per_row: float  # part of the beam that is left one row further below the bone
    echo_smear: float  # part of a column's value that its neighbour takes over
    shadow_smear: float


class BModePainter:
    """Paints the images of one sweep: holds its look and its speckle.

    The bone echo rises to half its height at the true surface and peaks `rise_mm` (0.2 to 0.3 mm)
    below it, as the line drawn from CT lies in the real recordings.
    """

    def __init__(
        self, seed: int, image_size_px: tuple[int, int], spacing_mm: tuple[float, float]
    ) -> None:
        rng = np.random.default_rng((seed, 5))
        self._seed = seed
        self._size_px = image_size_px
        self._spacing_mm = spacing_mm
        self._look = Look.from_seed(seed)
        self._volume = _speckle_volume(rng)
        self._origin = rng.uniform(0.0, 256.0, 3)
        self._streak_origin = rng.uniform(0.0, 256.0, 3)

    def paint(
        self,
        index: int,
        A_bone_pixel: Matrix,
        layers: LayerLines,
        bone_v_px: Array,
        incidence_rad: Array,
    ) -> NDArray[np.uint8]:
        """One image, (height, width) uint8; of it, only the electronic noise depends on `index`.

        Parameters
        ----------
        bone_v_px, incidence_rad : (width,) as from `section.first_surface`, NaN for no bone
        """
        width, height = self._size_px
        image = np.empty((height, width), dtype=np.uint8)
        echoes = self._echoes(layers, bone_v_px, incidence_rad)
        _compose(image, echoes, self._scene(index, A_bone_pixel, layers, bone_v_px))
        return image

    def _scene(
        self, index: int, A_bone_pixel: Matrix, layers: LayerLines, bone_v_px: Array
    ) -> _Scene:
        look = self._look
        height = self._size_px[1]
        column_mm, row_mm = self._spacing_mm
        depth_mm = np.arange(height) * row_mm
        row_grey = -look.fall_per_mm * np.maximum(depth_mm - look.focus_mm, 0.0)
        row_noise = look.noise / _GREY_MEAN * (0.3 + depth_mm / depth_mm[-1])
        volume_from_pixel = A_bone_pixel[[2, 1, 0]][:, [0, 1, 3]] / _VOXEL_MM[:, None]
        volume_from_pixel[:, 2] += self._origin
        rng = np.random.default_rng((self._seed, 6, index))
        return _Scene(
            volume=self._volume,
            volume_from_pixel=volume_from_pixel,
            streak_origin=self._streak_origin,
            voxels_per_row=float(row_mm / _VOXEL_MM[1]),
            layer_v_px=layers.v_px.astype(np.float32),
            layer_grey=self._layer_grey(layers).astype(np.float32),
            bone_v_px=np.nan_to_num(bone_v_px, nan=height).astype(np.float32),
            contact_loss=layers.contact_loss.astype(np.float32),
            row_grey=row_grey.astype(np.float32),
            row_noise=row_noise.astype(np.float32),
            noise_start=int(rng.integers(self._volume.size)),
            speckle=look.speckle,
            streaks=look.streaks,
            shadow=look.shadow,
            light_per_row=float(np.exp(-row_mm / look.shadow_length_mm)),
            echo_smear=float(np.exp(-column_mm / look.echo_blur_mm)),
            shadow_smear=float(np.exp(-column_mm / look.shadow_blur_mm)),
        )

    def _layer_grey(self, layers: LayerLines) -> Array:
        """Even grey of the tissue above, between and below the layers, (K + 1, width)."""
        shade = self._look.layer_shade * np.cumsum(layers.peak, axis=0)
        grey = np.repeat(self._look.layer_grey[:, None], layers.peak.shape[1], axis=1)
        grey[1:] -= shade - shade[0]  # the skin's is part of the gain
        return grey

    def _echoes(self, layers: LayerLines, bone_v_px: Array, incidence_rad: Array) -> Canvas:
        """Everything that reflects like a mirror: probe cover, layers, bone and its repetition."""
        width, height = self._size_px
        look = self._look
        row_mm = self._spacing_mm[1]
        echoes = np.zeros((height, width), dtype=np.float32)
        cover_v_px, cover_peak = np.full(
            (2, width), ((_PROBE_COVER_MM / row_mm,), (look.cover_peak,))
        )
        _paint_line(echoes, cover_v_px, cover_peak, 0.08 / row_mm, 0.12 / row_mm)
        is_bare = ~(layers.v_px > bone_v_px)  # also where there is no bone
        for v_px, peak in zip(layers.v_px, layers.peak * is_bare, strict=True):
            _paint_line(echoes, v_px, peak, 0.25 / row_mm, 0.37 / row_mm)
        fading = np.clip(1.0 - (incidence_rad / np.radians(80.0)) ** 2, 0.0, 1.0)
        peak = look.bone_peak * layers.bone_gain * fading
        peak_v_px = bone_v_px + look.rise_mm / row_mm
        rise_px, fall_px = look.rise_mm / row_mm, look.fall_mm / row_mm
        _paint_line(echoes, peak_v_px, peak, rise_px, fall_px)
        repeated_v_px = 2.0 * peak_v_px - layers.v_px[0]
        _paint_line(echoes, repeated_v_px, look.repetition * peak, 3 * rise_px, 3 * fall_px)
        return echoes


def _speckle_volume(rng: np.random.Generator) -> Volume:
    """Log-compressed magnitude of complex noise seen through a point spread, periodic, grey."""
    spectrum = rng.standard_normal((*_SHAPE, 2), dtype=np.float32).view(np.complex64)[..., 0]
    for axis, (n, grain) in enumerate(zip(_SHAPE, _GRAIN_VOXELS, strict=True)):
        transfer = np.exp(-2.0 * (np.pi * grain * np.fft.fftfreq(n)) ** 2).astype(np.float32)
        spectrum *= np.expand_dims(transfer, [a for a in range(3) if a != axis])
    log_magnitude = np.log(np.abs(np.fft.ifftn(spectrum)))
    scaled = (log_magnitude - log_magnitude.mean()) / log_magnitude.std()
    return np.clip(_GREY_MEAN + _GREY_STD * scaled, 0.0, 255.0).astype(np.uint8)


@numba.njit(cache=True, nogil=True)
def _paint_line(canvas: Canvas, v_px: Array, peak: Array, rise_px: float, fall_px: float) -> None:
    """Raise the canvas to a line with one place per column; NaN in `v_px` or `peak` leaves it out.

    Across, it is a bell with half its height `rise_px` above and `fall_px` below its peak.
    """
    height, width = canvas.shape
    for u in range(width):
        if not (peak[u] > 0.0 and -height < v_px[u] < 2 * height):
            continue
        first = max(int(v_px[u] - _BELL_REACH * rise_px), 0)
        last = min(int(v_px[u] + _BELL_REACH * fall_px) + 1, height - 1)
        for v in range(first, last + 1):
            away = (v - v_px[u]) / (rise_px if v < v_px[u] else fall_px)
            bell = max(1.0 - (away / _BELL_REACH) ** 2, 0.0)
            canvas[v, u] = max(canvas[v, u], peak[u] * bell * bell * bell)


@numba.njit(cache=True, nogil=True)
def _sample(volume: Volume, z: float, y: float, x: float) -> float:
    """Trilinear value of the periodic volume."""
    z_floor, y_floor, x_floor = np.floor(z), np.floor(y), np.floor(x)
    fz, fy, fx = np.float32(z - z_floor), np.float32(y - y_floor), np.float32(x - x_floor)
    z_0, y_0, x_0 = int(z_floor) & 31, int(y_floor) & 255, int(x_floor) & 255
    z_1, y_1, x_1 = (z_0 + 1) & 31, (y_0 + 1) & 255, (x_0 + 1) & 255
    gx = np.float32(1.0) - fx
    a = gx * volume[z_0, y_0, x_0] + fx * volume[z_0, y_0, x_1]
    b = gx * volume[z_0, y_1, x_0] + fx * volume[z_0, y_1, x_1]
    c = gx * volume[z_1, y_0, x_0] + fx * volume[z_1, y_0, x_1]
    d = gx * volume[z_1, y_1, x_0] + fx * volume[z_1, y_1, x_1]
    near, far = a + fy * (b - a), c + fy * (d - c)
    return near + fz * (far - near)


@numba.njit(cache=True, nogil=True)
def _compose(image: NDArray[np.uint8], echoes: Canvas, scene: _Scene) -> None:
    """Tissue, shadow, echoes and noise, row by row; `echoes` is used up.

    The beams go down together: `layer`, `ground` and `beam` say where each one is and what is
    left of it.
    """
    height, width = image.shape
    n_layers = scene.layer_v_px.shape[0]
    layer = np.zeros(width, np.int32)
    next_layer_v = scene.layer_v_px[0].copy()
    ground = scene.layer_grey[0].copy()
    beam = np.ones(width, np.float32)
    texture = np.zeros(width, np.float32)
    noise = scene.volume.ravel()
    shadow, echo_grain = np.float32(scene.shadow), np.float32(0.002)
    one, half, white = np.float32(1.0), np.float32(0.5), np.float32(255.0)
    grain = np.empty(width, np.float32)
    light = np.empty(width, np.float32)
    for v in range(height):
        streak = np.float32(0.0)
        for u in range(width):
            while v >= next_layer_v[u]:
                layer[u] += 1
                ground[u] = scene.layer_grey[layer[u], u]
                next_layer_v[u] = scene.layer_v_px[layer[u], u] if layer[u] < n_layers else height
            if v > scene.bone_v_px[u]:
                beam[u] *= scene.light_per_row
            light[u] = beam[u]
            z, y, x = _voxel(scene.volume_from_pixel, u, v)
            grain[u] = _sample(scene.volume, z, y, x) - _GREY_MEAN
            if u % 4 == 0:  # streaks are long: their value serves four columns
                below_skin = (v - scene.layer_v_px[0, u]) * scene.voxels_per_row
                streak = _streak(scene.volume, scene.streak_origin, z, below_skin, x)
            if layer[u] > 0:  # gel has no texture
                texture[u] = scene.streaks * streak + scene.speckle * grain[u] + scene.row_grey[v]
        _smear(light, scene.shadow_smear, echoes[v], scene.echo_smear)
        first_noise = (scene.noise_start + v * width) % (noise.size - width)
        for u in range(width):
            dark = shadow * (one - light[u]) + scene.contact_loss[u]
            echo = echoes[v, u] * (one + echo_grain * grain[u]) - half * scene.contact_loss[u]
            floor = scene.row_noise[v] * noise[first_noise + u]
            grey = max(ground[u] + texture[u] - dark, echo, floor)
            image[v, u] = np.uint8(min(grey, white))


@numba.njit(cache=True, nogil=True, inline="always")
def _voxel(volume_from_pixel: Array, u: int, v: int) -> tuple[float, float, float]:
    m = volume_from_pixel
    return (
        m[0, 0] * u + m[0, 1] * v + m[0, 2],
        m[1, 0] * u + m[1, 1] * v + m[1, 2],
        m[2, 0] * u + m[2, 1] * v + m[2, 2],
    )


@numba.njit(cache=True, nogil=True)
def _streak(volume: Volume, origin: Array, z: float, y: float, x: float) -> float:
    """The fibrous pattern: the same grain drawn out, fine fibres within broad patches."""
    fibres = _sample(volume, origin[0] + z / 6.0, origin[1] + y / 2.2, origin[2] + x / 14.0)
    patches = _sample(volume, origin[1] + z / 8.0, origin[2] + y / 12.0, origin[0] + x / 25.0)
    bright = max(fibres - np.float32(_GREY_MEAN + 20.0), np.float32(-20.0))
    return bright + np.float32(0.4) * (patches - np.float32(_GREY_MEAN))


@numba.njit(cache=True, nogil=True)
def _smear(light: Canvas, light_smear: float, echo: Canvas, echo_smear: float) -> None:
    """Blur two rows sideways, in place: the beam is wider than a column."""
    pass_light, pass_echo = np.float32(light_smear), np.float32(echo_smear)
    keep_light, keep_echo = np.float32(1.0) - pass_light, np.float32(1.0) - pass_echo
    for u in range(1, len(light)):
        light[u] = keep_light * light[u] + pass_light * light[u - 1]
        echo[u] = keep_echo * echo[u] + pass_echo * echo[u - 1]
    for u in range(len(light) - 2, -1, -1):
        light[u] = keep_light * light[u] + pass_light * light[u + 1]
        echo[u] = keep_echo * echo[u] + pass_echo * echo[u + 1]
