# The files of figures, examples and the report. A figure NAME is results/<scale>/figures/NAME.{svg,pdf,png} with
# its data as CSV and its caption as Markdown (a title of level 3, then what to see) beside it.
from eval.decoding_settings import settings_rows

FIGURES = f"{RESULTS}/figures"
PICTURES = ("svg", "pdf", "png")
ON_DEMAND = ("ablations", "likelihood", "sampling_ablations")  # tables


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


def decoding():
    """The rows of Table 6."""
    methods = {name: METHODS[name] for name in ("pplm", "fudge", "diffusion_lm") if name in METHODS}
    return settings_rows(methods, guidance_presets()["released"])


def made_on_demand():
    """Tables and figures of other goals that have been made. They are no inputs: the report makes none again."""
    known = report_files()
    tables = {f"tables/{name}": Path(f"{RESULTS}/tables/{name}.md") for name in ON_DEMAND}
    found = sorted(path.stem for path in Path(FIGURES).glob("*.svg") if path.with_suffix(".md").is_file())
    figures = {
        f"{kind}/{name}": f"{FIGURES}/{name}.{ending}"
        for name in found
        for kind, ending in (("figures", "svg"), ("captions", "md"))
        if f"figures/{name}" not in known
    }
    return {name: str(path) for name, path in tables.items() if path.is_file()} | figures


def hashes(files):
    """What the files hold, so that a change of one of them makes the report again."""
    return {name: sha256(Path(path)) for name, path in files.items()}
