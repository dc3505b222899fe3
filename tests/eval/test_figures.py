import itertools
import os
import subprocess
import sys
from pathlib import Path

from eval.figures import COLOURS, HATCHES, KINDS, LINES, MARKERS, bar, line, new_figure, save, style


def draw(folder: Path) -> dict[str, Path]:
    outputs = {kind: folder / f"figure.{kind}" for kind in KINDS}
    with style():
        figure = new_figure(4, 3)
        left, right = figure.subplots(1, 2)
        for number in range(3):
            left.plot([0, 1, 2], [number, 2, 1], label=f"series {number}", **line(number))
            right.bar([number], [1], label=f"series {number}", **bar(number))
        left.legend()
    save(figure, outputs)
    return outputs


def test_a_figure_is_the_same_bytes_when_another_process_makes_it_again(tmp_path: Path) -> None:
    here = draw(tmp_path / "here")
    call = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); from pathlib import Path; "
    call += f"from test_figures import draw; draw(Path({str(tmp_path / 'there')!r}))"
    subprocess.run([sys.executable, "-c", call], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    for kind, path in here.items():
        assert path.read_bytes() == (tmp_path / "there" / f"figure.{kind}").read_bytes(), kind


def test_only_the_kinds_asked_for_are_written(tmp_path: Path) -> None:
    with style():
        save(new_figure(1, 1), {"svg": tmp_path / "f.svg", "csv": tmp_path / "f.csv"})
    assert [path.name for path in tmp_path.iterdir()] == ["f.svg"]


def test_no_two_series_look_alike_and_neighbours_differ_without_colour() -> None:
    lines = [line(number) for number in range(len(MARKERS))]
    assert len({tuple(look.values()) for look in lines}) == len(lines)
    for one, other in itertools.pairwise(lines):
        assert one["marker"] != other["marker"] and one["linestyle"] != other["linestyle"]
    assert len({bar(number)["hatch"] for number in range(len(HATCHES))}) == len(HATCHES) == len(COLOURS)
    assert len(LINES) == len(set(LINES))
