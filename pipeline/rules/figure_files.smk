# The files of figures, examples and the report. A figure NAME is results/<scale>/figures/NAME.{svg,pdf,png} with
# its data as CSV and its caption as Markdown (a title of level 3, then what to see) beside it.
FIGURES = f"{RESULTS}/figures"
PICTURES = ("svg", "pdf", "png")


def pictures(name):
    """A figure's files, named for the command."""
    return {kind: f"{FIGURES}/{name}.{kind}" for kind in PICTURES} | {"caption": f"{FIGURES}/{name}.md"}


def example_files():
    """Targets, and the first seed's texts and scores of every method, named for the command."""
    files = {f"targets/{task}": f"{RESULTS}/targets/{task}.jsonl" for task in TASKS}
    for kind in ("samples", "scores"):
        for task in TASKS:
            for name, path in cells(kind, task).items():
                _, method, seed = name.split("/")
                if method not in CHEATERS and seed == f"seed{SEEDS[0]}":
                    files[f"{kind}/{task}/{method}/{seed}"] = path
    return files | {name: path for name, path in judges_of(SYNTAX[0]).items() if name.startswith("judge1_")}


def report_files():
    """What the report always shows, named for the command."""
    figures = ("figure_3", "figure_5")
    return {
        **{f"tables/{name}": f"{RESULTS}/tables/{name}.md" for name in TABLES},
        **{f"figures/{name}": f"{FIGURES}/{name}.svg" for name in figures},
        **{f"captions/{name}": f"{FIGURES}/{name}.md" for name in figures},
        "examples": f"{RESULTS}/examples.md",
    }


def more_figures():
    """Figures of other goals that have been made. They are no inputs: the report has none of them made again."""
    known = report_files()
    found = sorted(path.stem for path in Path(FIGURES).glob("*.svg") if path.with_suffix(".md").is_file())
    return {
        f"{kind}/{name}": f"{FIGURES}/{name}.{ending}"
        for name in found
        for kind, ending in (("figures", "svg"), ("captions", "md"))
        if f"figures/{name}" not in known
    }


def hashes(files):
    """What the files hold, so that a change of one of them makes the report again."""
    return {name: sha256(Path(path)) for name, path in files.items()}
