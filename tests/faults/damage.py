"""Ways to damage a file or a setting, each so that whoever reads it must notice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Damage = Callable[[Path, Path], None]  # reads a good file, writes a bad one
MEGABYTES = 1 << 20


def pickled(created: Path) -> bytes:
    """A pickle that makes the folder ``created`` when it is read, spelled out: nothing of ours pickles."""
    return f"cos\nmkdir\n(V{created}\ntR.".encode()


def in_bytes(change: Callable[[bytes], bytes]) -> Damage:
    return lambda good, bad: bad.write_bytes(change(good.read_bytes())) and None


def in_first_line(change: Callable[[str], str]) -> Damage:
    def damage(data: bytes) -> bytes:
        first, _, rest = data.decode().partition("\n")
        return f"{change(first)}\n{rest}".encode(errors="surrogatepass")

    return in_bytes(damage)


def in_first_record(change: Callable[[dict[str, Any]], object]) -> Damage:
    def damage(line: str) -> str:
        record = json.loads(line)
        change(record)
        return json.dumps(record)

    return in_first_line(damage)


def without_last_key(record: dict[str, Any]) -> None:
    """Text and samples may lack their optional keys, but not these."""
    del record[[key for key in record if key not in ("schema", *OPTIONAL)][-1]]


OPTIONAL = (
    *("fields", "tags", "tree", "sentences", "spans"),
    *("references", "source_id", "tuned_on", "target_set", "released", "metrics"),
)

ABSENT: dict[str, Damage] = {
    "absent": lambda good, bad: None,
    "a folder": lambda good, bad: bad.mkdir(),
    "a link to itself": lambda good, bad: bad.symlink_to(bad),
    "a device": lambda good, bad: bad.symlink_to("/dev/zero"),
}
EMPTY: dict[str, Damage] = {"empty": in_bytes(lambda data: b"")}
TEXT: dict[str, Damage] = {
    "cut": in_bytes(lambda data: data[: -min(30, len(data) // 2)]),
    "Latin-1": in_bytes(lambda data: data.replace(b'"', b'"\xe9', 1)),
    "UTF-16": in_bytes(lambda data: data.decode().encode("utf-16")),
    "with a byte order mark": in_bytes(lambda data: b"\xef\xbb\xbf" + data),
    "nested too deep": in_first_line(lambda line: "[" * 200_000),
    "a huge word": in_first_line(lambda line: "a" * (30 * MEGABYTES)),
    "a number": in_first_line(lambda line: "7"),
    "with NaN": in_first_line(lambda line: '{"schema": NaN}'),
    "with Infinity": in_first_line(lambda line: '{"schema": -Infinity}'),
    "with an endless number": in_first_line(lambda line: '{"schema": ' + "9" * 5000 + "}"),
}
JSON: dict[str, Damage] = {
    "a text": in_bytes(lambda data: b'"words"'),
    "null": in_bytes(lambda data: b"null"),
    "NaN inside": in_bytes(lambda data: b"[NaN]"),
    "a list in lists": in_bytes(lambda data: b"[" + data + b"]"),
    "a key twice": in_bytes(lambda data: b'{"a": 1, "a": 1}'),
}
RECORDS: dict[str, Damage] = {
    "a missing key": in_first_record(without_last_key),
    "an extra key": in_first_record(lambda record: record.update(extra=1)),
    "a huge extra key": in_first_record(lambda record: record.update({"a" * (20 * MEGABYTES): 1})),
    "a null": in_first_record(lambda record: record.update({list(record)[1]: None})),
    "a list for a text": in_first_record(lambda record: record.update({list(record)[1]: ["a"]})),
    "a text for a list": in_first_record(lambda record: record.update({list(record)[-1]: 3.5})),
    "of another kind": in_first_record(lambda record: record.update(schema="other/1")),
    "half a character": in_first_record(lambda record: record.update({list(record)[1]: "\ud800"})),
    "a key twice": in_first_line(lambda line: line[:-1] + ', "schema": "other/1"}'),
    "a record twice": in_bytes(lambda data: data + data.split(b"\n")[0] + b"\n"),
}
WEIGHTS: dict[str, Damage] = {
    "cut": in_bytes(lambda data: data[:-100]),
    "half a header": in_bytes(lambda data: data[:20]),
    "an endless header": in_bytes(lambda data: b"\xff" * 8 + data[8:]),
    "pickled": lambda good, bad: bad.write_bytes(pickled(bad.with_name("created"))) and None,
    "text": in_bytes(lambda data: b"weights"),
}


def with_header(change: Callable[[dict[str, Any]], object]) -> Damage:
    """Change what the header of a checkpoint says of it."""

    def damage(good: Path, bad: Path) -> None:
        from safetensors import safe_open
        from safetensors.torch import load_file, save_file

        with safe_open(good, "pt") as file:
            ((key, text),) = file.metadata().items()
        header = json.loads(text)
        change(header)
        save_file(load_file(good), bad, metadata={key: json.dumps(header)})

    return damage


def not_a_number(good: Path, bad: Path) -> None:
    """Weights that an overflow in training has left; nothing where there are no floats."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    with safe_open(good, "pt") as file:
        header = file.metadata()
    weights = load_file(good)
    floats = [name for name, weight in weights.items() if weight.is_floating_point()]
    if floats:
        weights[floats[0]] = weights[floats[0]].clone().fill_(float("nan"))
        save_file(weights, bad, metadata=header)


def foreign(good: Path, bad: Path) -> None:
    """Somebody else's safetensors."""
    from safetensors.torch import load_file, save_file

    save_file(load_file(good), bad)


WEIGHTS |= {
    "without our header": foreign,
    "of another kind": with_header(lambda header: header.update(kind="horse")),
    "without settings": with_header(lambda header: header.pop("settings")),
    "settings of no kind": with_header(lambda header: header.update(settings=[1])),
    "settings emptied": with_header(lambda header: header.update(settings={})),
    "not a number": not_a_number,
}
TABLE: dict[str, Damage] = {
    "UTF-16": TEXT["UTF-16"],
    "without a header": in_first_line(lambda line: "a,b"),
    "a word for a number": in_bytes(lambda data: re.sub(rb"\d+\.\d+", b"many", data, count=1)),
    "a row too long": in_bytes(lambda data: data + b"1," * 99 + b"\n"),
}
BY_SUFFIX = {
    ".jsonl": TEXT | RECORDS,
    ".json": TEXT | JSON,
    ".safetensors": WEIGHTS,
    ".csv": TABLE,
    ".md": {"UTF-16": TEXT["UTF-16"]},
    ".svg": {},
}


def damages(path: Path, is_read: bool) -> dict[str, Damage]:
    """Every damage that suits a file; that of content only where the content is read."""
    return ABSENT | (EMPTY | BY_SUFFIX[path.suffix] if is_read else {})


WRONG: dict[str, Any] = {
    "null": None, "a text": "x y", "a list": [[]], "a mapping": {"a": {"b": 1}}, "true": True,
    "a negative number": -3, "half a number": 0.5, "NaN": float("nan"),
}  # fmt: skip


HARMLESS = (
    ("seed", -3),
    ("temperature", 0.5),
    ("eta", 0.5),
    ("clamp_from", 0.5),
)  # whole numbers may stand where others may, too


def wrong_settings(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Specifications that no stage can run with: a description and the text of each."""
    yield "no JSON", "{times: 2}"
    yield "a list", "[]"
    yield "nested too deep", '{"a":' * 100_000
    for path, value in _leaves(spec):
        if len(path) > 1 + (path[0] == "method"):  # settings may be unused, but mappings in them are complete
            yield f"no {'.'.join(path)}", json.dumps(_without(spec, path))
        for told, wrong in WRONG.items():
            if not _alike(wrong, value) and (path[-1], wrong) not in HARMLESS:
                yield f"{told} for {'.'.join(path)}", json.dumps(_with(spec, path, wrong))


def _alike(wrong: Any, value: Any) -> bool:
    """Whether a setting might take a value, as far as its kind tells."""
    number = (int, float)
    if type(value) is float or (value == 0 and value is not False):
        return type(wrong) in number and (wrong == wrong) and (wrong > 0)
    return type(wrong) is type(value) and not (type(value) in number and wrong < 0)


def _leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if path and not isinstance(value, dict):
        yield path, value
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from _leaves(inner, (*path, key))


def _with(spec: Any, path: tuple[str, ...], value: Any) -> Any:
    return {**spec, path[0]: _with(spec[path[0]], path[1:], value)} if path else value


def _without(spec: Any, path: tuple[str, ...]) -> Any:
    if len(path) == 1:
        return {key: value for key, value in spec.items() if key != path[0]}
    return {**spec, path[0]: _without(spec[path[0]], path[1:])}
