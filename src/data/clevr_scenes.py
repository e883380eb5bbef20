"""Random descriptions of CLEVR-like 3D scenes: which objects stand where on the ground, seen and lit from where.

Legend: S objects of a scene; lengths are CLEVR's scene units, z points up and the ground is z = 0. A scene is a pure
function of (variant, seed, split, index): it reads the random stream of scenes.py by position. The definition is
frozen (docs/clevr_like.md): changing anything here changes every published number.

Camera, lamps, jitter, the area of positions, distances, margins and the eight colours are those of CLEVR (Johnson et
al., 2017) and its public generator; the number and size of the objects and the square view follow CLEVR-Easy and
CLEVR-Hard of Singh et al. (2023), whose objects are few and large.
"""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np

from .scenes import image_keys, uniform

DEFINITION = 1  # of scenes and pictures; rendered files name it

SHAPE_NAMES = ("cube", "sphere", "cylinder")
CUBE, SPHERE, CYLINDER = range(3)
MATERIAL_NAMES = ("rubber", "metal")
RUBBER, METAL = range(2)

CAMERA = (7.48113, -6.50764, 5.34367)
TARGET = (0.0, 0.0, 0.5)  # what it looks at: a little above the ground, so that objects stand in the middle
CAMERA_JITTER = 0.5  # along each axis, to either side, like the next
LAMPS = ((6.44671, -2.90517, 4.2584), (-4.67112, -4.0136, 3.01122), (-1.1685, 2.64602, 5.81574))  # key, fill, back
LAMP_JITTER = 1.0
# Half the picture's width at distance 1: a 35 mm lens over a 32 mm sensor, of which the middle 192 of 320 columns and
# of 240 rows stay, the usual crop of CLEVR.
HALF_WIDTH = 16 / 35 * 192 / 320
AREA = 3.0  # centres lie in a square of twice this side around the origin
MIN_DISTANCE = 0.25  # between the circles around two objects on the ground
MARGIN = 0.4  # between two centres, to the side and in depth: left or right, in front or behind is never a close call
BORDER = 0.02  # of the picture's width, between any object and the picture's border
MIN_VISIBLE = 0.5  # of an object's pixels, counted on RAYS x RAYS rays
RAYS = 96
MAX_ATTEMPTS = 100  # positions tried for one object before all objects of the scene are drawn again
MAX_ROUNDS = 10_000

_COUNT, _SHAPE, _COLOUR, _SIZE, _MATERIAL, _ROTATION, _X, _Y = range(8)
_CAMERA, _LAMP = range(8, 11), range(11, 14)


@dataclass(frozen=True)
class Variant:
    """What the objects of one kind of scene can be; `number` keys its random stream.

    colour_values are linear RGB, as the renderer reads them; sizes are the half width of a sphere, a cylinder (as high
    as wide), and half the diagonal of a cube's face.
    """

    number: int
    colour_names: tuple[str, ...]
    colour_values: tuple[tuple[float, float, float], ...]
    size_names: tuple[str, ...]
    sizes: tuple[float, ...]
    materials: tuple[int, ...]
    min_objects: int = 2
    max_objects: int = 3


_CLEVR_COLOURS = {  # of 255; CLEVR hands them to its renderer as linear values, so they look lighter than as sRGB
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
_HUES = {  # degrees on the HSV circle
    "red": 0,
    "vermilion": 15,
    "orange": 30,
    "amber": 45,
    "yellow": 60,
    "lime": 80,
    "green": 120,
    "emerald": 145,
    "turquoise": 165,
    "cyan": 185,
    "azure": 207,
    "blue": 230,
    "indigo": 255,
    "violet": 278,
    "magenta": 305,
    "rose": 338,
}
_TONES = {"dark": (0.9, 0.5), "vivid": (0.9, 0.9), "pale": (0.4, 0.95)}  # saturation and value


def to_linear(value: float) -> float:
    """A channel of an sRGB picture, 0 to 1, as light."""
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _tone(hue: float, saturation: float, value: float) -> tuple[float, float, float]:
    red, green, blue = colorsys.hsv_to_rgb(hue / 360, saturation, value)
    return to_linear(red), to_linear(green), to_linear(blue)


VARIANTS = {
    "easy": Variant(
        number=11,
        colour_names=tuple(_CLEVR_COLOURS),
        colour_values=tuple((r / 255, g / 255, b / 255) for r, g, b in _CLEVR_COLOURS.values()),
        size_names=("large",),
        sizes=(1.0,),
        materials=(RUBBER,),
    ),
    "hard": Variant(
        number=12,
        colour_names=tuple(f"{tone} {hue}" for hue in _HUES for tone in _TONES),
        colour_values=tuple(_tone(hue, *tone) for hue in _HUES.values() for tone in _TONES.values()),
        size_names=("small", "medium", "large"),
        sizes=(0.65, 0.9, 1.2),
        materials=(RUBBER, METAL),
    ),
}


@dataclass(frozen=True)
class Scene:
    """One scene of S objects, in the order they were placed, which means nothing in the picture.

    shape, colour, material, size (S,) int64 indices; radius (S,) the size in scene units; x, y (S,) centre on the
    ground; rotation (S,) radians about the vertical, counter-clockwise from above, in [0, pi / 2) for cubes and 0 for
    the others; camera (3,); lamps (3, 3), one a row. All real numbers are float64.
    """

    shape: np.ndarray
    colour: np.ndarray
    material: np.ndarray
    size: np.ndarray
    radius: np.ndarray
    x: np.ndarray
    y: np.ndarray
    rotation: np.ndarray
    camera: np.ndarray
    lamps: np.ndarray

    def __len__(self) -> int:
        return len(self.shape)

    @property
    def half_height(self) -> np.ndarray:
        """Height of each centre above the ground (S,)."""
        return np.where(self.shape == CUBE, self.radius * 0.5**0.5, self.radius)

    @property
    def centre(self) -> np.ndarray:
        """(S, 3)."""
        return np.stack([self.x, self.y, self.half_height], 1)


def view_axes(camera: np.ndarray) -> np.ndarray:
    """What points right, down and forward in the picture of a camera (3,) that looks at TARGET: rows of (3, 3)."""
    forward = TARGET - camera
    forward /= np.sqrt(np.sum(forward * forward))
    right = np.array([forward[1], -forward[0], 0.0])
    right /= np.sqrt(np.sum(right * right))
    return np.stack([right, np.cross(forward, right), forward])


def project(camera: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(..., 3) scene points -> (..., 3): x to the right, y down, as fractions of the picture, and depth along the
    optical axis in scene units."""
    right, down, depth = np.moveaxis((points - camera) @ view_axes(camera).T, -1, 0)
    return np.stack([0.5 + right / depth / (2 * HALF_WIDTH), 0.5 + down / depth / (2 * HALF_WIDTH), depth], -1)


def sample_scene(variant: Variant, seed: int, split: str, index: int) -> Scene:
    """The scene of an image index.

    An object whose position breaks a rule draws another one. After MAX_ATTEMPTS of them, or if an object shows too
    little of itself, all objects of the scene (not their number, camera and lamps) are drawn again.
    """
    key = image_keys(variant.number, seed, split, np.array([index]))

    def draw(field: int, obj: int = 0, attempt: int = 0, round_: int = 0) -> float:
        return float(uniform(key, field, obj, attempt, round_)[0])

    count = variant.min_objects + int(draw(_COUNT) * (variant.max_objects - variant.min_objects + 1))
    camera = np.array([at + CAMERA_JITTER * (2 * draw(f) - 1) for at, f in zip(CAMERA, _CAMERA, strict=True)])
    lamps = np.array(
        [
            [at + LAMP_JITTER * (2 * draw(f, lamp) - 1) for at, f in zip(LAMPS[lamp], _LAMP, strict=True)]
            for lamp in range(len(LAMPS))
        ]
    )
    for round_ in range(MAX_ROUNDS):
        scene = _draw_objects(variant, count, camera, lamps, partial(draw, round_=round_))
        if scene is not None and np.all(visible_shares(scene) >= MIN_VISIBLE):
            return scene
    raise RuntimeError(f"no room for {count} objects; the rules of the scenes are too strict")


def _draw_objects(
    variant: Variant, count: int, camera: np.ndarray, lamps: np.ndarray, draw: Callable[..., float]
) -> Scene | None:
    """A scene whose objects obey all rules of position, or None if one of them found no place."""

    def choose(field: int, choices: int) -> np.ndarray:
        return np.array([int(draw(field, k) * choices) for k in range(count)])

    shape, size = choose(_SHAPE, len(SHAPE_NAMES)), choose(_SIZE, len(variant.sizes))
    turn = np.array([draw(_ROTATION, k) for k in range(count)])
    scene = Scene(
        shape=shape,
        colour=choose(_COLOUR, len(variant.colour_names)),
        material=np.array(variant.materials)[choose(_MATERIAL, len(variant.materials))],
        size=size,
        radius=np.array(variant.sizes)[size],
        x=np.full(count, np.nan),
        y=np.full(count, np.nan),
        rotation=np.where(shape == CUBE, turn * (np.pi / 2), 0.0),
        camera=camera,
        lamps=lamps,
    )
    for k in range(count):
        for attempt in range(MAX_ATTEMPTS):
            scene.x[k], scene.y[k] = (AREA * (2 * draw(field, k, attempt) - 1) for field in (_X, _Y))
            if _fits(scene, k):
                break
        else:
            return None
    return scene


def _fits(scene: Scene, k: int) -> bool:
    """Whether object k keeps its distances to the objects before it and lies inside the picture."""
    apart = np.stack([scene.x[:k] - scene.x[k], scene.y[:k] - scene.y[k]], 1)
    reach = scene.radius[:k] + scene.radius[k] + MIN_DISTANCE
    if np.any(np.sum(apart * apart, 1) < reach * reach):
        return False
    ahead = -scene.camera[:2] / np.sqrt(np.sum(scene.camera[:2] ** 2))  # on the ground, away from the camera
    sideways = np.array([ahead[1], -ahead[0]])
    if np.any(np.abs(apart @ np.stack([sideways, ahead], 1)) < MARGIN):
        return False
    across = project(scene.camera, outline(scene, k))[:, :2]
    return bool(np.all((across >= BORDER) & (across <= 1 - BORDER)))


def outline(scene: Scene, k: int) -> np.ndarray:
    """Points of the surface of object k (P, 3) whose convex hull is the object, or for a sphere nearly so."""
    if scene.shape[k] == CUBE:
        corners = np.stack(np.meshgrid([-1, 1], [-1, 1], [-1, 1]), -1).reshape(-1, 3) * 0.5**0.5
        cos, sin = np.cos(scene.rotation[k]), np.sin(scene.rotation[k])
        points = np.stack([cos * corners[:, 0] - sin * corners[:, 1], sin * corners[:, 0] + cos * corners[:, 1]], 1)
        points = np.concatenate([points, corners[:, 2:]], 1)
    else:
        angle = np.arange(48) * (np.pi / 24)
        heights = np.array([-1.0, 1.0]) if scene.shape[k] == CYLINDER else np.sin((np.arange(23) - 11) * (np.pi / 24))
        rings = np.ones(2) if scene.shape[k] == CYLINDER else np.sqrt(1 - heights**2)
        points = np.stack(
            [
                (rings[:, None] * np.cos(angle)).ravel(),
                (rings[:, None] * np.sin(angle)).ravel(),
                np.repeat(heights, len(angle)),
            ],
            1,
        )
    return scene.centre[k] + scene.radius[k] * points


def visible_shares(scene: Scene) -> np.ndarray:
    """Share of each object's pixels that no other object hides (S,)."""
    at = ((np.arange(RAYS) + 0.5) / RAYS * 2 - 1) * HALF_WIDTH
    down, right = (axis.ravel() for axis in np.meshgrid(at, at, indexing="ij"))
    rays = np.stack([right, down, np.ones_like(right)], 1) @ view_axes(scene.camera)
    distances = np.stack([distance(scene, k, rays) for k in range(len(scene))])
    nearest = np.argmin(distances, 0)
    covered = np.isfinite(distances)
    mine = covered & (nearest == np.arange(len(scene))[:, None])
    return mine.sum(1) / np.maximum(covered.sum(1), 1)


def distance(scene: Scene, k: int, rays: np.ndarray) -> np.ndarray:
    """How many times each direction (R, 3) leads from the camera to object k, with sharp edges; inf if never. (R,)"""
    start, half = scene.camera - scene.centre[k], scene.half_height[k]
    with np.errstate(divide="ignore", invalid="ignore"):
        if scene.shape[k] == CUBE:
            cos, sin = np.cos(scene.rotation[k]), np.sin(scene.rotation[k])
            to_cube = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
            start, rays = to_cube @ start, rays @ to_cube.T
            planes = np.sort([(-half - start) / rays, (half - start) / rays], 0)
            enter, leave = planes[0].max(1), planes[1].min(1)
        else:
            axes = 3 if scene.shape[k] == SPHERE else 2  # a cylinder is a circle seen from above
            a, b = np.sum(rays[:, :axes] ** 2, 1), rays[:, :axes] @ start[:axes]
            root = np.sqrt(b * b - a * (np.sum(start[:axes] ** 2) - scene.radius[k] ** 2))
            enter, leave = (-b - root) / a, (-b + root) / a
            if scene.shape[k] == CYLINDER:
                ends = np.sort((np.array([[-half], [half]]) - start[2]) / rays[:, 2], 0)
                enter, leave = np.maximum(enter, ends[0]), np.minimum(leave, ends[1])
        return np.where((enter <= leave) & (enter > 0), enter, np.inf)


def noise_seed(variant: Variant, seed: int, split: str, index: int) -> int:
    """Starts the renderer's random numbers for an image index; 31 bits."""
    return int(image_keys(variant.number, seed, split, np.array([index]))[0]) >> 33


def scene_factors(variant: Variant, scene: Scene) -> dict[str, np.ndarray]:
    """Ground truth of a scene, padded to the variant's largest number of objects S; each (S,).

    present bool; shape, colour, material, size int64, -1 where absent; x, y (of the centre, fractions of the picture, y
    down), depth (along the optical axis, scene units) and rotation float32, nan where absent.
    """
    places = variant.max_objects
    x, y, depth = project(scene.camera, scene.centre).T
    factors: dict[str, np.ndarray] = {"present": np.arange(places) < len(scene)}
    for key in ("shape", "colour", "material", "size"):
        factors[key] = np.full(places, -1, np.int64)
        factors[key][: len(scene)] = getattr(scene, key)
    for key, value in {"x": x, "y": y, "depth": depth, "rotation": scene.rotation}.items():
        factors[key] = np.full(places, np.nan, np.float32)
        factors[key][: len(scene)] = value
    return factors


def checksum(scenes: Iterable[Scene]) -> str:
    """SHA-256 of scene descriptions, real numbers rounded to float32 so that every platform agrees."""
    digest = hashlib.sha256()
    for scene in scenes:
        for entry in fields(scene):
            value = getattr(scene, entry.name)
            digest.update(value.astype("<f4" if value.dtype.kind == "f" else "<i8").tobytes())
    return digest.hexdigest()
