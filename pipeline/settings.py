"""The closed configuration: defaults of the schema, then recipe, scale file and overrides, each checked.

python -m pipeline.settings --scale small [--set key.path=value ...] [--diff-paper]
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from typing import Any

import yaml

from pipeline.errors import InputError, nearest
from pipeline.fingerprint import ROOMS, method_modules
from pipeline.schema import FOLDER, Settings, full_schema, load, resolved, validate
from pipeline.stored import LOCAL
from pipeline.tasks import require_task

SCALES = ("demo", "small", "paper", "rehearsal")


def resolve(scale: str, overrides: Mapping[str, Any] | None = None) -> Settings:
    """All settings of a scale, every default filled in.

    Args:
        overrides: nested settings that win over the scale file.

    Raises:
        InputError: unknown scale or key (with the nearest one), or a value that the schema refuses.
    """
    if scale not in SCALES:
        raise InputError(f"scale '{scale}'", "no such scale", nearest(str(scale), SCALES))
    own, overrides = load(f"{scale}.yaml"), overrides or {}
    layers = [own, overrides]
    recipe = merged(merged({}, own), overrides).get("recipe", "paper")
    if recipe != "paper" and (FOLDER / f"{recipe}.yaml").is_file():
        layers.insert(0, load(f"{recipe}.yaml"))
    settings = _defaults(full_schema())
    for layer, name in zip(
        layers, [*(["recipe"] if len(layers) == 3 else []), f"{scale}.yaml", "override"], strict=True
    ):
        _check_keys(layer, full_schema(), name, "")
        settings = merged(settings, layer)
    if isinstance(methods := settings["methods"], Mapping):
        settings["methods"] = {n: _method(n, m) for n, m in methods.items() if m is not None}
    validate(settings, full_schema(), "")
    return settings


def merged(base: Any, over: Any) -> Any:
    """``over`` laid over ``base``: mappings merge key by key, anything else replaces."""
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return copy.deepcopy(over)
    return {
        key: merged(base.get(key), over[key]) if key in over else copy.deepcopy(base[key])
        for key in {**base, **over}
    }


def parse_override(word: str) -> Settings:
    """``a.b.c=value`` as nested settings; the value is YAML (``3``, ``true``, ``[0, 1]``)."""
    path, equals, value = word.partition("=")
    if not equals:
        raise InputError(f"--set {word}", "not key=value", "write e.g. --set samples.length=5")
    try:
        nested: Any = yaml.safe_load(value)
    except (yaml.YAMLError, RecursionError):
        raise InputError(f"--set {word}", "the value is not YAML", "quote it") from None
    for key in reversed(path.split(".")):
        nested = {key: nested}
    return dict(nested)


def overridden(scale: str, words: Iterable[str]) -> Settings:
    """All settings of a scale, with the overrides of ``--set``."""
    return resolve(scale, reduce(merged, map(parse_override, words), {}))


def differences(settings: Settings, other: Settings, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Dotted keys whose values differ, with both values (None: absent)."""
    for key in sorted({*settings, *other}):
        mine, theirs, name = settings.get(key), other.get(key), f"{path}{key}"
        if isinstance(mine, dict) and isinstance(theirs, dict):
            yield from differences(mine, theirs, f"{name}.")
        elif mine != theirs:
            yield name, mine, theirs


def unlike_paper(settings: Settings) -> list[tuple[str, Any, Any]]:
    """What differs from the paper, as :func:`differences` tells it; nothing that is local to a machine."""
    found = differences(settings, resolve("paper"))
    return [(key, *values) for key, *values in found if key not in ("scale", *LOCAL)]


def guidance_presets() -> Settings:
    """Named guidance settings by task (pipeline/config/guidance.yaml)."""
    return load("guidance.yaml")


def tuning() -> Settings:
    """The trials of method settings (pipeline/config/tuning.yaml)."""
    found = load("tuning.yaml")
    validate(found, full_schema()["$defs"]["tuning"], "tuning.yaml")
    return found


def _defaults(schema: Settings) -> Any:
    """The value a schema stands for when nothing is given."""
    schema = resolved(schema)
    properties = schema.get("properties", {})
    if not properties:
        return copy.deepcopy(schema.get("default", {} if schema.get("type") == "object" else None))
    inner = {
        key: _defaults(part)
        for key, part in properties.items()
        if "default" in resolved(part) or "properties" in resolved(part)
    }
    return merged(inner, schema.get("default", {}))


def _method(name: str, settings: Settings) -> Settings:
    """A method instance with its module's defaults and its guidance preset filled in."""
    where = f"methods.{name}"
    known = full_schema()["properties"]["methods"]["default"]
    if isinstance(settings, Mapping) and "module" not in settings and name not in known:
        how = f"{nearest(str(name), known)} or give it a module"
        raise InputError(where, f"unknown method '{name}'", how)
    validate(settings, resolved({"$ref": "#/$defs/method"}), where)
    for task in settings["tasks"]:
        require_task(task, f"{where}.tasks")
    modules = full_schema()["$defs"]["modules"]
    if (module := settings["module"]) not in modules:
        if module.split(".")[0] in ROOMS and module not in (ours := method_modules()):
            raise InputError(f"{where}.module", f"no method in '{module}'", nearest(module, ours))
        return settings
    schema = modules[settings["module"]]
    _check_keys(settings, schema, where, "")
    filled = merged(_defaults(schema), settings)
    if "guidance_preset" in filled:
        filled["guidance"] = _guidance(where, filled)
    validate(filled, schema, where)
    return dict(filled)


def _guidance(where: str, settings: Settings) -> Any:
    presets, chosen = guidance_presets(), settings["guidance_preset"]
    own = settings.get("guidance") or {}
    if not isinstance(chosen, str) or not isinstance(own, Mapping):
        return own  # the schema will refuse it
    if chosen not in presets:
        raise InputError(f"{where}.guidance_preset", f"no preset '{chosen}'", nearest(chosen, presets))
    given = merged(presets[chosen], own)
    for task in given:
        require_task(task, f"{where}.guidance")
    defaults = _defaults({"$ref": "#/$defs/guidance"})
    return {task: merged(defaults, own) for task, own in given.items() if own is not None}


def _check_keys(settings: Any, schema: Settings, where: str, path: str) -> None:
    """Every key must be in the schema; the message names the nearest one."""
    schema = resolved(schema)
    if not isinstance(settings, Mapping):
        return
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    for key, value in settings.items():
        if key not in known and others is False:
            raise InputError(where, f"unknown key '{path}{key}'", nearest(str(key), known))
        part = known.get(key, others)
        if isinstance(part, Mapping):
            _check_keys(value, dict(part), where, f"{path}{key}.")


def main(words: Sequence[str]) -> None:
    """Print resolved settings as YAML, or their differences from the paper's."""
    from pipeline.command import Parser

    parser = Parser(prog="pipeline.settings", description=__doc__)
    parser.add_argument("--scale", default="demo", help=f"one of {', '.join(SCALES)}")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="override a setting")
    parser.add_argument("--diff-paper", action="store_true", help="print only what differs from the paper")
    options = parser.parse_args(words)
    settings = overridden(options.scale, options.set)
    if not options.diff_paper:
        print(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), end="")
        return
    rows = [(key, _told(mine), _told(paper)) for key, mine, paper in differences(settings, resolve("paper"))]
    widths = [max(len(row[i]) for row in [("setting", options.scale, "paper"), *rows]) for i in range(2)]
    for key, mine, paper in [("setting", options.scale, "paper"), *rows]:
        print(f"{key:<{widths[0]}}  {mine:<{widths[1]}}  {paper}")


def _told(value: Any) -> str:
    return (
        "-" if value is None else yaml.safe_dump(value, default_flow_style=True).replace("\n...", "").strip()
    )


if __name__ == "__main__":
    from pipeline.command import exit_codes

    with exit_codes():
        main(sys.argv[1:])
