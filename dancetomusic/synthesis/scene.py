"""Pictures of dancers from their landmarks: clothed, capsule-limbed figures with faces.

Needs the extra ``render`` (PyVista), which draws off-screen without a display.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from dancetomusic.errors import DependencyError, InputError
from dancetomusic.io.atomic import atomic_output
from dancetomusic.synthesis.choreography import Choreography

MAX_DANCERS = 4
SPACING_M = 1.5
"""Between neighbours."""

Points = Float32[np.ndarray, "frames 33 3"]
Vectors = Float[np.ndarray, "frames 3"]
Matrices = Float[np.ndarray, "frames 4 4"]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Camera:
    """Where the picture is taken from.

    Attributes:
        distance: From the middle of the dancers, in metres; ``None`` keeps everything in view.
        height: Above the floor, in metres.
        look_height: Height of the picture's middle, in metres.
        yaw_deg: Camera's way round the dancers; 0 is in front, positive towards the picture's
            right.
        view_angle_deg: Vertical field of view.
    """

    distance: float | None = None
    height: float = 1.25
    look_height: float = 0.95
    yaw_deg: float = 0.0
    view_angle_deg: float = 36.0


@dataclass(frozen=True)
class Outfit:
    """Colours, each channel in [0, 1]."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour


_WHITE, _BLACK = (0.92, 0.92, 0.92), (0.10, 0.09, 0.09)
OUTFITS = (
    Outfit((0.87, 0.67, 0.55), (0.20, 0.12, 0.08), (0.78, 0.20, 0.22), (0.20, 0.27, 0.44), _WHITE),
    Outfit((0.50, 0.33, 0.24), _BLACK, (0.93, 0.78, 0.25), (0.24, 0.24, 0.26), (0.80, 0.20, 0.20)),
    Outfit((0.94, 0.77, 0.66), (0.62, 0.40, 0.18), (0.13, 0.48, 0.47), (0.40, 0.31, 0.25), _BLACK),
    Outfit((0.70, 0.50, 0.37), _BLACK, (0.42, 0.28, 0.62), (0.55, 0.57, 0.60), (0.20, 0.30, 0.60)),
)


def place_dancers(dances: Sequence[Choreography]) -> list[Points]:
    """Landmarks in the room of dancers side by side, first on the left of the picture.

    Args:
        dances: Of equal length.
    """
    return [
        dance.world + dance.root[:, None] + np.array([shift, 0, 0], np.float32)
        for dance, shift in zip(dances, side_by_side(len(dances)), strict=True)
    ]


def side_by_side(count: int) -> list[float]:
    """Where dancers stand in a row, in metres right of its middle."""
    return [(number - (count - 1) / 2) * SPACING_M for number in range(count)]


def stand_on_floor(world: Points) -> Points:
    """Lift hip-centred landmarks so that the lowest one touches the floor (y = 0)."""
    lowest = world[..., 1].max(axis=1)
    return world - np.stack([0 * lowest, lowest, 0 * lowest], axis=1)[:, None]


def project(
    points: Float[np.ndarray, "*points 3"], camera: Camera, *, width: int, height: int
) -> Float[np.ndarray, "*points 2"]:
    """Where room points appear, as shares of the picture's width and height from top left.

    Raises:
        InputError: If ``camera`` has no distance.
    """
    if camera.distance is None:
        raise InputError("the camera has no distance", "Give one, or use fit_camera.")
    position, target = _camera_pose(camera)
    ahead = (target - position) / np.linalg.norm(target - position)
    right = np.cross([0.0, 1.0, 0.0], ahead)
    right /= np.linalg.norm(right)
    seen = (points - position) @ np.stack([right, np.cross(ahead, right), ahead], axis=1)
    scale = math.tan(math.radians(camera.view_angle_deg) / 2) * seen[..., 2]
    return np.stack(
        [0.5 + 0.5 * seen[..., 0] / scale * height / width, 0.5 + 0.5 * seen[..., 1] / scale],
        axis=-1,
    )


def fit_camera(dancers: Sequence[Points], camera: Camera, *, width: int, height: int) -> Camera:
    """The camera at the smallest distance (steps of 0.1 m) that keeps every landmark in view."""
    if camera.distance is not None:
        return camera
    points = np.concatenate([d[:: max(1, len(d) // 500)].reshape(-1, 3) for d in dancers])
    for distance in np.arange(2.0, 40.0, 0.1):
        fitted = replace(camera, distance=float(distance))
        if distance < np.linalg.norm(points[:, [0, 2]], axis=1).max() + 0.5:
            continue
        at = project(points, fitted, width=width, height=height)
        if at.min() > 0.06 and at.max() < 0.94:
            return fitted
    raise InputError("the dancers fit no picture", "Check that landmarks are in metres.")


def render_frames(
    dancers: Sequence[Float32[np.ndarray, "_ 33 3"]],
    *,
    width: int = 640,
    height: int = 480,
    camera: Camera | None = None,
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Draw one RGB picture per frame.

    Args:
        dancers: One to four dancers' landmarks in the room: metres, x right in the image, y
            down with the floor at 0, z away from the camera; of equal length.
        width: Of the picture, in pixels.
        height: Of the picture, in pixels.
        camera: In front of the dancers and far enough away when ``None``.

    Raises:
        InputError: If there are no dancers, too many, or their lengths differ.
        DependencyError: If PyVista is not installed.
    """
    if not 1 <= len(dancers) <= MAX_DANCERS:
        raise InputError(f"{len(dancers)} dancers cannot be drawn", f"Give 1 to {MAX_DANCERS}.")
    if len({len(d) for d in dancers}) != 1:
        raise InputError("dancers differ in length", "Cut them to the same number of frames.")
    camera = fit_camera(dancers, camera or Camera(), width=width, height=height)
    plotter = _open_scene(camera, width, height)
    try:
        figures = [
            _Figure(plotter, points.astype(float), outfit)
            for points, outfit in zip(dancers, OUTFITS, strict=False)
        ]
        for k in range(len(dancers[0])):
            for figure in figures:
                figure.show(k)
            plotter.render()
            yield np.ascontiguousarray(plotter.screenshot(return_img=True))
    finally:
        plotter.close()


def write_video(
    path: Path | str, frames: Iterable[UInt8[np.ndarray, "height width 3"]], fps: float
) -> None:
    """Write pictures as a silent H.264 file; sides must be even.

    Raises:
        OutputError: If it cannot be written.
        InputError: If there are no pictures or a side is odd.
    """
    import av

    frames = iter(frames)
    first = next(frames, None)
    if first is None or first.shape[0] % 2 or first.shape[1] % 2:
        size = "no picture" if first is None else f"{first.shape[1]}x{first.shape[0]}"
        raise InputError(f"a video of {size} cannot be written", "Give pictures of even size.")
    with atomic_output(path) as temporary, av.open(str(temporary), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "23", "preset": "slow"}
        for picture in chain([first], frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def _camera_pose(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    yaw = math.radians(camera.yaw_deg)
    assert camera.distance is not None
    position = [camera.distance * math.sin(yaw), -camera.height, -camera.distance * math.cos(yaw)]
    return np.array(position), np.array([0.0, -camera.look_height, 0.0])


def _pyvista() -> Any:
    try:
        import pyvista
        import vtk
    except ImportError as error:
        raise DependencyError(
            "PyVista is not installed", "Install it with: pip install 'dancetomusic[render]'."
        ) from error
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    vtk.vtkObject.GlobalWarningDisplayOff()
    return pyvista


def _open_scene(camera: Camera, width: int, height: int) -> Any:
    pyvista = _pyvista()
    plotter = pyvista.Plotter(off_screen=True, window_size=(width, height), lighting="none")
    plotter.enable_anti_aliasing("msaa", multi_samples=4)
    plotter.set_background((0.62, 0.66, 0.72), top=(0.86, 0.89, 0.93))
    position, target = _camera_pose(camera)
    # With "up" at -y and the view along +z, the picture's right is +x: nothing is mirrored.
    plotter.camera_position = [tuple(position), tuple(target), (0.0, -1.0, 0.0)]
    plotter.camera.view_angle = camera.view_angle_deg
    plotter.camera.clipping_range = (0.5, 60.0)
    for place, strength in _LIGHTS:
        plotter.add_light(pyvista.Light(position=place, focal_point=(0, -1, 0), intensity=strength))
    floor = pyvista.Plane(center=(0, 0.002, 8), direction=(0, -1, 0), i_size=60, j_size=36)
    plotter.add_mesh(floor, color=(0.70, 0.63, 0.55), lighting=False)
    wall = pyvista.Plane(center=(0, -5, 6), direction=(0, 0, -1), i_size=60, j_size=10)
    plotter.add_mesh(wall, color=(0.82, 0.85, 0.89), lighting=False)
    return plotter


# ---- A figure: rigid parts that follow landmarks, and a torso bent between hips and chest. ----

# (from, to, radii along the limb in metres, share that is clothed, cloth): a limb between points.
_LIMBS = (
    (11, 13, (0.058, 0.055, 0.050, 0.044), 0.6, "shirt"),
    (13, 15, (0.043, 0.045, 0.037, 0.029), 0.0, "shirt"),
    (23, 25, (0.096, 0.092, 0.078, 0.066), 1.0, "trousers"),
    (25, 27, (0.064, 0.067, 0.056, 0.047), 1.0, "trousers"),
)
_JOINTS = ((11, 0.060, "shirt"), (13, 0.043, "skin"), (15, 0.029, "skin"), (23, 0.097, "trousers"),
           (25, 0.066, "trousers"), (27, 0.044, "trousers"))  # fmt: skip
# Height share from hips to shoulders, half width and half depth in metres.
_TORSO = np.array(
    [
        [-0.13, 0.085, 0.070],
        [-0.08, 0.150, 0.105],
        [0.02, 0.165, 0.115],
        [0.18, 0.152, 0.108],
        [0.40, 0.138, 0.100],
        [0.62, 0.155, 0.112],
        [0.80, 0.172, 0.118],
        [0.93, 0.178, 0.105],
        [1.02, 0.150, 0.085],
        [1.08, 0.075, 0.062],
        [1.10, 0.001, 0.001],
    ]
)
_BELT = 4  # rings of the torso that are trousers
_RING = 28


# Position in the room and strength.
_LIGHTS = (((-2.5, -3.5, -5.0), 0.70), ((3.5, -1.0, -4.0), 0.40), ((0.0, -5.0, 4.0), 0.30))


class _Figure:
    """One dancer's actors and where each is in every frame."""

    def __init__(
        self, plotter: Any, points: Float[np.ndarray, "frames 33 3"], outfit: Outfit
    ) -> None:
        self._plotter = plotter
        self._moving: list[tuple[Any, Matrices]] = []
        for side in (0, 1):
            self._add_side(points, side, outfit)
        shoulders, hips = points[:, 11:13].mean(axis=1), points[:, 23:25].mean(axis=1)
        ears = points[:, 7:9].mean(axis=1)
        self._add(_revolve((0.055, 0.05, 0.05), outfit.skin), _bone_matrices(shoulders, ears))
        self._add(_head_mesh(outfit), _head_matrices(points))
        self._torso, self._normals = _torso_points(points)
        self._meshes = []
        for rings, colour in (
            (slice(0, _BELT), outfit.trousers),
            (slice(_BELT - 1, None), outfit.shirt),
        ):
            mesh = _tube_mesh(self._torso[0, rings])
            mesh.point_data["Normals"] = self._normals[0, rings].reshape(-1, 3).astype(np.float32)
            mesh.point_data.active_normals_name = "Normals"
            self._paint(mesh, color=colour)
            self._meshes.append((mesh, rings))
        shadow = _pyvista().Disc(center=(0, 0, 0), inner=0, outer=0.36, normal=(0, -1, 0), c_res=40)
        flat = np.tile(np.eye(4), (len(points), 1, 1))
        flat[:, [0, 2], 3] = (hips + points[:, 27:29].mean(axis=1))[:, [0, 2]] / 2
        flat[:, 1, 3] = -0.002
        actor = plotter.add_mesh(shadow, color="black", opacity=0.22, lighting=False)
        self._moving.append((actor, flat))

    def show(self, k: int) -> None:
        """Move every part to frame ``k``."""
        for actor, matrices in self._moving:
            actor.user_matrix = matrices[k]
        for mesh, rings in self._meshes:
            mesh.points = self._torso[k, rings].reshape(-1, 3)
            mesh.point_data["Normals"] = self._normals[k, rings].reshape(-1, 3)

    def _paint(self, mesh: Any, **looks: Any) -> Any:
        return self._plotter.add_mesh(
            mesh, smooth_shading=True, ambient=0.32, diffuse=0.72, specular=0.06, **looks
        )

    def _add(self, mesh: Any, matrices: Matrices) -> None:
        self._moving.append((self._paint(mesh, scalars="rgb", rgb=True), matrices))

    def _add_side(
        self, points: Float[np.ndarray, "frames 33 3"], side: int, outfit: Outfit
    ) -> None:
        colours = vars(outfit)
        for start, end, radii, clothed, cloth in _LIMBS:
            mesh = _revolve(radii, outfit.skin, clothed, colours[cloth])
            self._add(mesh, _bone_matrices(points[:, start + side], points[:, end + side]))
        for index, radius, colour in _JOINTS:
            place = np.tile(np.eye(4), (len(points), 1, 1))
            place[:, :3, 3] = points[:, index + side]
            self._add(_ball((radius,) * 3, (0.0, 0.0, 0.0), colours[colour]), place)
        wrist, thumb = points[:, 15 + side], points[:, 21 + side]
        knuckles = (points[:, 17 + side] + points[:, 19 + side]) / 2
        hand = _revolve((0.026, 0.034, 0.040, 0.036, 0.024, 0.004), outfit.skin, squash=0.5)
        across = points[:, 19 + side] - points[:, 17 + side]
        self._add(hand, _bone_matrices(wrist, wrist + 1.9 * (knuckles - wrist), across))
        self._add(_revolve((0.016, 0.014, 0.012, 0.003), outfit.skin), _bone_matrices(wrist, thumb))
        ankle, heel, toe = (points[:, i + side] for i in (27, 29, 31))
        length = toe - heel
        lateral = np.cross(length, ankle - heel)
        shoe = _revolve((0.010, 0.036, 0.042, 0.040, 0.044, 0.046, 0.036, 0.008), outfit.shoes)
        self._add(shoe, _bone_matrices(heel - 0.12 * length, toe + 0.18 * length, lateral))
        self._add(
            _revolve((0.044, 0.046, 0.04), outfit.shoes),
            _bone_matrices(ankle, heel + 0.22 * length, lateral),
        )


def _unit(vectors: Float[np.ndarray, "*frames 3"]) -> Float[np.ndarray, "*frames 3"]:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _matrices(x: Vectors, y: Vectors, z: Vectors, origin: Vectors) -> Matrices:
    matrices = np.zeros((len(origin), 4, 4))
    matrices[:, :3] = np.stack([x, y, z, origin], axis=2)
    matrices[:, 3, 3] = 1.0
    return matrices


def _bone_matrices(start: Vectors, end: Vectors, across: Vectors | None = None) -> Matrices:
    """Put a unit limb (0 to 1 along z) between two points, its x along ``across``."""
    axis = _unit(end - start)
    if across is None:
        least = np.abs(axis).argmin(axis=1)
        across = np.eye(3)[least]
    x = _unit(across - (across * axis).sum(axis=1, keepdims=True) * axis)
    return _matrices(x, np.cross(axis, x), end - start, start)


def _head_matrices(points: Float[np.ndarray, "frames 33 3"]) -> Matrices:
    """The head's left, up and forward, from ears, eyes and nose."""
    centre = points[:, 7:9].mean(axis=1)
    ears = points[:, 7] - points[:, 8]
    left = _unit(ears)
    ahead = points[:, 0] - centre
    forward = _unit(ahead - (ahead * left).sum(axis=1, keepdims=True) * left)
    size = np.clip(np.linalg.norm(ears, axis=1, keepdims=True) / 0.15, 0.85, 1.2)
    return _matrices(size * left, size * np.cross(forward, left), size * forward, centre)


def _torso_points(
    points: Float[np.ndarray, "frames 33 3"],
) -> tuple[Float[np.ndarray, "frames rings ring 3"], Float[np.ndarray, "frames rings ring 3"]]:
    """Elliptic cross-sections and their outward normals."""
    hips, shoulders = points[:, 23:25].mean(axis=1), points[:, 11:13].mean(axis=1)
    hip_line, shoulder_line = points[:, 23] - points[:, 24], points[:, 11] - points[:, 12]
    up = _unit(shoulders - hips)
    share = np.clip(_TORSO[:, 0], 0.0, 1.0)[None, :, None]
    left = _unit((1 - share) * _unit(hip_line)[:, None] + share * _unit(shoulder_line)[:, None])
    back = _unit(np.cross(up[:, None], left))
    girth = (1 - share) * np.median(np.linalg.norm(hip_line, axis=1)) / 0.19
    girth = np.clip(
        girth + share * np.median(np.linalg.norm(shoulder_line, axis=1)) / 0.35, 0.8, 1.2
    )
    centre = hips[:, None] + _TORSO[None, :, :1] * (shoulders - hips)[:, None]
    angle = np.linspace(0, 2 * np.pi, _RING, endpoint=False)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    wide = (girth * _TORSO[None, :, 1:2])[:, :, None]
    deep = (girth * _TORSO[None, :, 2:3])[:, :, None]
    outward = cos * wide * left[:, :, None] + sin * deep * back[:, :, None]
    normal = _unit(cos / wide * left[:, :, None] + sin / deep * back[:, :, None])
    return centre[:, :, None] + outward, normal


def _faces(rings: int, ring: int) -> np.ndarray:
    """Quadrilaterals between neighbouring rings, as VTK wants them."""
    i, j = np.meshgrid(np.arange(rings - 1), np.arange(ring), indexing="ij")
    right = (j + 1) % ring
    corners = [i * ring + j, i * ring + right, (i + 1) * ring + right, (i + 1) * ring + j]
    return np.stack([np.full_like(i, 4), *corners], axis=-1).reshape(-1)


def _tube_mesh(rings: Float[np.ndarray, "rings ring 3"]) -> Any:
    return _pyvista().PolyData(rings.reshape(-1, 3), _faces(*rings.shape[:2]))


def _revolve(
    radii: Sequence[float],
    skin: Colour,
    clothed: float = 0.0,
    cloth: Colour | None = None,
    squash: float = 1.0,
) -> Any:
    """A unit limb along z with the given radii; its first share ``clothed`` in ``cloth``."""
    stations = np.linspace(0.0, 1.0, 4 * len(radii))
    radius = np.interp(stations, np.linspace(0.0, 1.0, len(radii)), radii)
    dressed = (stations <= clothed) & (clothed > 0)
    radius = radius + 0.008 * dressed
    angle = np.linspace(0, 2 * np.pi, 18, endpoint=False)
    x, y = radius[:, None] * np.cos(angle), squash * radius[:, None] * np.sin(angle)
    mesh = _tube_mesh(np.stack([x, y, np.repeat(stations[:, None], 18, axis=1)], axis=2))
    colours = np.where(dressed[:, None], cloth or skin, skin)
    mesh.point_data["rgb"] = _bytes(np.repeat(colours, 18, axis=0))
    return mesh


def _ball(radii: Sequence[float], centre: Sequence[float], colour: Colour) -> Any:
    mesh = _pyvista().Sphere(radius=1.0, theta_resolution=24, phi_resolution=18)
    mesh.points = mesh.points * np.array(radii) + np.array(centre)
    mesh.point_data["rgb"] = _bytes(np.tile(colour, (mesh.n_points, 1)))
    return mesh


def _skull(colour: Colour) -> Any:
    """An ellipsoid that narrows towards the chin."""
    mesh = _ball((0.075, 0.114, 0.090), (0.0, 0.010, 0.008), colour)
    below = np.clip(-mesh.points[:, 1] / 0.1, 0.0, 1.0)
    mesh.points[:, 0] *= 1.0 - 0.25 * below
    mesh.points[:, 2] += 0.03 * below
    return mesh


def _bytes(colours: Float[np.ndarray, "points 3"]) -> UInt8[np.ndarray, "points 3"]:
    return np.round(255 * colours).astype(np.uint8)


def _head_mesh(outfit: Outfit) -> Any:
    """Skull, jaw, hair and face: left, up, forward of the middle of the ears, in metres."""
    white, dark, lips = (0.97, 0.97, 0.97), (0.08, 0.06, 0.05), (0.72, 0.30, 0.30)
    red, green, blue = outfit.skin
    shade = (0.94 * red, 0.94 * green, 0.94 * blue)
    parts = [
        _skull(outfit.skin),
        _ball((0.081, 0.092, 0.092), (0.0, 0.052, -0.020), outfit.hair),
        _ball((0.078, 0.095, 0.060), (0.0, 0.010, -0.045), outfit.hair),
        _ball((0.012, 0.021, 0.020), (0.0, 0.002, 0.098), shade),
        _ball((0.027, 0.008, 0.010), (0.0, -0.045, 0.097), lips),
    ]
    for side in (1, -1):
        parts += [
            _ball((0.017, 0.010, 0.010), (0.032 * side, 0.037, 0.085), white),
            _ball((0.008, 0.008, 0.006), (0.032 * side, 0.037, 0.093), dark),
            _ball((0.020, 0.004, 0.008), (0.033 * side, 0.060, 0.084), outfit.hair),
            _ball((0.012, 0.028, 0.018), (0.077 * side, 0.000, 0.000), outfit.skin),
        ]
    return (
        parts[0].merge(parts[1:], merge_points=False).extract_surface(algorithm="dataset_surface")
    )
