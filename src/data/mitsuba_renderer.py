"""CLEVR-like pictures of scene descriptions, path traced with Mitsuba 3, and who owns each of their pixels.

Legend: S objects of a scene, H = W = image_size. Mitsuba's `scalar_rgb` variant with one thread: the bytes depend on
the scene, the sizes and the machine alone. The look is CLEVR's: a grey ground, three area lamps in a dim surrounding,
objects with rounded edges, rubber (matte with a faint highlight) or metal (a tinted, slightly blurred mirror).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .clevr_scenes import CUBE, HALF_WIDTH, METAL, SPHERE, Scene, Variant

OWNER_RAYS = 4  # squared, rays a pixel that decide its owner
BOUNCES = 6
GROUND = 0.45  # reflectance
AMBIENT = 0.28  # radiance of the surroundings
LAMP_SIZES = (1.0, 1.0, 1.0)  # side of each square lamp: key, fill, back
LAMP_POWERS = (100.0, 30.0, 50.0)
EDGE = 0.06  # radius of rounded edges, as a share of an object's half height
METAL_ROUGHNESS, RUBBER_ROUGHNESS = 0.2, 0.6


class Mesh(NamedTuple):
    """A closed surface: points and their normals (P, 3) float32, faces (F, 3) uint32, seen from outside."""

    points: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


def load_mitsuba() -> Any:
    """The module, set to one thread of its `scalar_rgb` variant.

    Raises:
        ImportError: Mitsuba is not installed; one line says how to install it.
    """
    try:
        import drjit
        import mitsuba
    except ImportError as error:
        raise ImportError(
            f"rendering needs Mitsuba 3 ({error}); install it with: pip install mitsuba, or the extra: svq[render]"
        ) from error
    if mitsuba.variant() != "scalar_rgb":
        mitsuba.set_variant("scalar_rgb")
    drjit.set_thread_count(1)
    return mitsuba


def render(variant: Variant, scene: Scene, image_size: int, samples: int, key: int) -> tuple[np.ndarray, np.ndarray]:
    """The picture (3, H, W) uint8 and the owners of its pixels (H, W) uint8: 0 the ground, k + 1 object k.

    A pixel belongs to whoever is seen by most of OWNER_RAYS squared rays through it (of equal ones to the ground, then
    to the earlier object).

    Args:
        samples: light paths a pixel.
        key: starts the renderer's random numbers.
    """
    mi = load_mitsuba()
    shapes = [_object(mi, variant, scene, k) for k in range(len(scene))]
    world = mi.load_dict(
        {
            "type": "scene",
            "ground": {
                "type": "rectangle",
                "to_world": mi.ScalarTransform4f().scale([200, 200, 1]),
                "surface": {"type": "diffuse", "reflectance": {"type": "rgb", "value": [GROUND] * 3}},
            },
            "surroundings": {"type": "constant", "radiance": {"type": "rgb", "value": [AMBIENT] * 3}},
            **{f"lamp_{i}": _lamp(mi, scene.lamps[i], LAMP_SIZES[i], LAMP_POWERS[i]) for i in range(len(scene.lamps))},
            **{f"object_{k}": shape for k, shape in enumerate(shapes)},
        }
    )
    path = mi.load_dict({"type": "path", "max_depth": BOUNCES, "hide_emitters": False})
    light = np.array(mi.render(world, sensor=_camera(mi, scene, image_size, samples), integrator=path, seed=key))
    image = np.rint(255 * _from_linear(light[:, :, :3])).astype(np.uint8).transpose(2, 0, 1)

    index = mi.load_dict({"type": "aov", "aovs": "owner:shape_index"})
    fine = _camera(mi, scene, image_size * OWNER_RAYS, 1)
    seen = np.array(mi.render(world, sensor=fine, integrator=index, seed=key))[:, :, -1]
    return image, _owners(np.rint(seen).astype(np.int64), _indices(world, shapes))


def _from_linear(light: np.ndarray) -> np.ndarray:
    """Light as channels of an sRGB picture, 0 to 1."""
    light = np.clip(light, 0, 1)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _indices(world: Any, shapes: list[Any]) -> np.ndarray:
    """From Mitsuba's numbers of what is seen (0 nothing, i + 1 its shape i) to owners."""
    names = {f"object_{k}": k + 1 for k in range(len(shapes))}
    return np.array([0, *(names.get(shape.id(), 0) for shape in world.shapes())])


def _owners(seen: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Most frequent owner of each pixel: (OWNER_RAYS H, OWNER_RAYS W) -> (H, W) uint8."""
    size = len(seen) // OWNER_RAYS
    rays = owner[seen].reshape(size, OWNER_RAYS, size, OWNER_RAYS)
    votes = np.stack([(rays == number).sum((1, 3)) for number in range(owner.max() + 1)])
    return votes.argmax(0).astype(np.uint8)


def _camera(mi: Any, scene: Scene, size: int, samples: int) -> Any:
    return mi.load_dict(
        {
            "type": "perspective",
            "fov": float(np.degrees(2 * np.arctan(HALF_WIDTH))),
            "to_world": mi.ScalarTransform4f().look_at(scene.camera.tolist(), [0, 0, 0], [0, 0, 1]),
            "film": {
                "type": "hdrfilm",
                "width": size,
                "height": size,
                "pixel_format": "rgb",
                "component_format": "float32",
                "rfilter": {"type": "box"},  # a sample counts in its own pixel only, as it does in the masks
            },
            "sampler": {"type": "multijitter" if samples > 1 else "independent", "sample_count": samples},
        }
    )


def _lamp(mi: Any, position: np.ndarray, side: float, power: float) -> dict[str, Any]:
    """A square lamp that shines on the origin."""
    to_origin = mi.ScalarTransform4f().look_at(position.tolist(), [0, 0, 0], [0, 0, 1])
    radiance = power / (np.pi * side * side)
    return {
        "type": "rectangle",
        "to_world": to_origin @ mi.ScalarTransform4f().scale([side / 2, side / 2, 1]),
        "emitter": {"type": "area", "radiance": {"type": "rgb", "value": [radiance] * 3}},
    }


def _surface(colour: tuple[float, float, float], material: int) -> dict[str, Any]:
    look: dict[str, Any] = {"type": "principled", "base_color": {"type": "rgb", "value": list(colour)}}
    if material == METAL:
        return {**look, "metallic": 0.9, "roughness": METAL_ROUGHNESS, "specular": 0.8}
    return {**look, "metallic": 0.0, "roughness": RUBBER_ROUGHNESS, "specular": 0.3}


def _object(mi: Any, variant: Variant, scene: Scene, k: int) -> Any:
    surface = _surface(variant.colour_values[scene.colour[k]], scene.material[k])
    if scene.shape[k] == SPHERE:
        radius = float(scene.radius[k])
        return mi.load_dict({"type": "sphere", "center": scene.centre[k].tolist(), "radius": radius, "bsdf": surface})
    mesh = cube_mesh() if scene.shape[k] == CUBE else cylinder_mesh()
    cos, sin = np.cos(scene.rotation[k]), np.sin(scene.rotation[k])
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    properties = mi.Properties()
    properties["bsdf"] = mi.load_dict(surface)
    made = mi.Mesh(f"object_{k}", len(mesh.points), len(mesh.faces), props=properties, has_vertex_normals=True)
    entries = mi.traverse(made)
    entries["vertex_positions"] = (mesh.points * scene.half_height[k] @ turn.T + scene.centre[k]).ravel()
    entries["vertex_normals"] = (mesh.normals @ turn.T).ravel()
    entries["faces"] = mesh.faces.ravel()
    entries.update()
    return made


@cache
def cube_mesh() -> Mesh:
    """A cube from -1 to 1 along each axis with rounded edges: six grids bent over the edges."""
    bend = 1 - EDGE * (1 - np.tan(np.linspace(np.pi / 4, 0, 5)))  # from the edge's middle to where the face is flat
    ticks = np.concatenate([-bend, bend[::-1]])
    side = len(ticks)
    u, v = (axis.ravel() for axis in np.meshgrid(ticks, ticks, indexing="ij"))
    faces = [_grid_faces(side, side)]
    return u, v, faces


def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """Two triangles for each cell of a grid of points (rows, columns), counter-clockwise with the columns to the left
    ... (F, 3)."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    first = np.stack([corner, corner + columns, corner + 1], 1)
    second = np.stack([corner + 1, corner + columns, corner + columns + 1], 1)
    return np.concatenate([first, second]).astype(np.uint32)
