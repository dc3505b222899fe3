"""The configuration's schema: loading it, and checking settings of a run or of one stage by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import InputError
from pipeline.files import read_json, read_lines

FOLDER = Path(__file__).parent / "config"
Settings = dict[str, Any]


@cache
def load(name: str) -> Settings:
    """A file of settings in pipeline/config.

    Raises:
        InputError: it is not YAML, or no mapping.
    """
    path = FOLDER / name
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is
    try:
        found = loader("\n".join(read_lines(path))).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(path, f"not YAML ({str(error).splitlines()[0]})", "mend the file") from None
    if not isinstance(found, dict):
        raise InputError(path, "holds no settings", "write them as 'key: value'")
    return found


def full_schema() -> Settings:
    """The whole schema."""
    return load("schema.yaml")


def resolved(part: Settings) -> Settings:
    """A part of the schema with its reference followed; keys beside the reference win."""
    if "$ref" not in part:
        return part
    found = _at(part["$ref"].removeprefix("#/"))
    return {**found, **{key: value for key, value in part.items() if key != "$ref"}}


def _at(place: str) -> Settings:
    found: Any = full_schema()
    for key in place.split("/"):
        found = found[key]
    return dict(found)


def validate(settings: Mapping[str, Any], part: Settings, where: str) -> None:
    """Check settings by a part of the schema.

    Raises:
        InputError: at ``where``: the key, and what is wrong with its value.
    """
    checker = _validator()(
        {**part, "$defs": full_schema()["$defs"], "properties": part.get("properties", {})}
    )
    for error in checker.iter_errors(settings):
        key = ".".join([*filter(None, [where]), *map(str, error.absolute_path)])
        raise InputError(key or "settings", error.message, "see pipeline/config/schema.yaml")


@cache
def _validator() -> Any:
    """JSON Schema, but for what Python would stumble over: 64.0 is no integer, and NaN no number."""
    from jsonschema import Draft202012Validator, validators

    kinds = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": lambda _, value: type(value) is int, "number": lambda _, value: _is_number(value)}
    )
    return validators.extend(Draft202012Validator, type_checker=kinds)


def _is_number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and math.isfinite(value))


def read_checked(path: Path, form: Settings) -> Settings:
    """A JSON object in a file, checked by a JSON Schema.

    Raises:
        InputError: not JSON, no object, or not of that form.
    """
    found = read_json(path, dict)
    error = next(_validator()(form).iter_errors(found), None)
    if error is not None:
        where = " ".join([str(path), ".".join(map(str, error.absolute_path))])
        raise InputError(where, error.message, "restore the file, or make it again")
    return found


def check_stage(spec: Mapping[str, Any], section: str = "") -> None:
    """Check what a command was told: settings of all stages, and those of its own section.

    Args:
        section: place in the schema of the stage's own settings; a mapping in it must be complete.

    Raises:
        InputError: a setting that the schema refuses.
    """
    common = full_schema()["$defs"]["stage"]["properties"]
    known = {key: resolved(part) for key, part in common.items()}
    own = _complete(_at(section))["properties"] if section else {}
    validate(spec, {"type": "object", "properties": {**known, **own}}, "--spec")
    _check_method(spec.get("method", {}), "--spec.method")
    for number, variant in enumerate(spec.get("variants", [])):
        _check_method(variant["method"], f"--spec.variants.{number}.method")


def _check_method(method: Mapping[str, Any], where: str) -> None:
    """A mapping in the settings of a method must be complete."""
    if (form := full_schema()["$defs"]["modules"].get(method.get("module"))) is not None:
        validate(method, {**_complete(form), "required": ["module"]}, where)


def _complete(part: Settings) -> Settings:
    """A part of the schema in which what has a default must be there, since defaults are filled in."""
    part = resolved(part)
    inner = {key: _complete(value) for key, value in part.get("properties", {}).items()}
    needed = [key for key, value in inner.items() if "default" in value or "properties" in value]
    return {**part, "properties": inner, "required": needed} if inner else part
