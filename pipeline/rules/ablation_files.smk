# What is made on demand: cells of the ablation grids, groups of the sampling ablations, Table 7.
from pipeline.ablations import STORIES, ablation_cells, seeded, varied
from pipeline.command import exit_codes
from pipeline.factors import factors

ABLATIONS = S["ablations"]
with exit_codes():
    ABLATION_CELLS = ablation_cells(ABLATIONS)
ABLATION_CORPORA = sorted({cell["corpus"] for cell in ABLATION_CELLS.values()})
ABLATION_FIGURES = ("figure_4", "figure_6")
SAMPLING = S["sampling_ablations"]
SAMPLING_GROUPS = {name: group for name, group in SAMPLING["groups"].items() if group is not None}
SAMPLING_TASKS = sorted({group["task"] for group in SAMPLING_GROUPS.values()})
SAMPLING_JUDGES = {name: file for task in SAMPLING_TASKS for name, file in judges_of(task).items() if "judge1" in name}


def ablation_corpus(corpus):
    """The texts and words of a cell's corpus."""
    if corpus == STORIES:
        return {"corpus": f"{RESULTS}/stories.jsonl", "vocabulary": f"{RESULTS}/stories_vocabulary.json"}
    return {"corpus": f"{RESULTS}/corpus.jsonl", "vocabulary": f"{RESULTS}/vocabulary.json"}


def ablation_inputs(wildcards):
    """What a cell is trained on; word vectors may be those of the corpus' language model."""
    cell = ABLATION_CELLS[wildcards.cell]
    stories = cell["corpus"] == STORIES
    files = ablation_corpus(cell["corpus"])
    if cell["model"]["embedding"] == "language_model":
        files["language_model"] = model("story_language_model" if stories else "language_model")
    return files


def ablation_settings(wildcards):
    """The settings of one training of a cell."""
    cell = seeded(ABLATION_CELLS[wildcards.cell], int(wildcards.seed))
    own = {key: cell[key] for key in ("model", "training", "sampling")}
    return spec(**own, name=wildcards.cell, texts=ABLATIONS["texts"], seed=int(wildcards.seed))


def ablation_texts():
    """The texts of every cell and seed, named for the command."""
    return {
        f"samples/{cell}/seed{seed}": f"{RESULTS}/ablations/{cell}/seed{seed}.jsonl"
        for cell in ABLATION_CELLS
        for seed in ABLATIONS["seeds"]
    }


def ablation_judges():
    """What scores them: for each corpus its texts, its words and its teacher."""
    files = {}
    for corpus in ABLATION_CORPORA:
        own = {**ablation_corpus(corpus), "teacher": model("story_teacher" if corpus == STORIES else "teacher")}
        files |= {f"{kind}/{corpus}": path for kind, path in own.items()}
    return files


def with_data(name):
    """A figure's files and its data, named for the command."""
    return {**pictures(name), "csv": f"{FIGURES}/{name}.csv"}


def variant_models(wildcards):
    """The trained files of the method that a group varies."""
    group = SAMPLING_GROUPS[wildcards.sampling_group]
    check_cell(group["method"], group["task"])
    return {name: model(file) for name, file in METHODS[group["method"]]["tasks"][group["task"]].items()}


def variant_settings(wildcards):
    """The method's settings under every variant of a group, and how many texts each writes."""
    group = SAMPLING_GROUPS[wildcards.sampling_group]
    method, task = METHODS[group["method"]], group["task"]
    variants = [
        {
            "label": label,
            "method": for_task(varied(method, task, variant), task),
            "samples": variant.get("samples", group["samples"]),
        }
        for label, variant in group["variants"].items()
        if variant is not None
    ]
    return spec(
        name=group["method"], variants=variants, seed=SAMPLING["seed"], most_words=most_words(task)
    )


def sampling_files():
    """Texts and times of every group, then the run's own texts that MBR chooses from."""
    folder = f"{RESULTS}/sampling_ablations"
    files = {f"samples/{group}": f"{folder}/{group}.jsonl" for group in SAMPLING_GROUPS}
    files |= {f"seconds/{group}": f"{folder}/{group}.seconds.json" for group in SAMPLING_GROUPS}
    for task in SAMPLING["mbr_tasks"]:
        own = f"{task}/diffusion_lm/seed{SEEDS[0]}.jsonl"
        files |= {f"run/{kind}/{task}": f"{RESULTS}/{kind}/{own}" for kind in ("samples", "scores")}
    return files | {f"targets/{task}": f"{RESULTS}/targets/{task}.jsonl" for task in SAMPLING_TASKS}


# Table 7: -log p of held-out texts, exact under the language model, a bound for two
# Diffusion-LMs that differ in what they are trained on: the paper's loss, or the bound itself.
LIKELIHOOD = S["likelihood"]
HELD_OUT = {
    **{key: LIKELIHOOD[key] for key in ("texts", "split")},
    "most_words": LIKELIHOOD["model"]["positions"] - 2,
}
LIKELIHOODS = {
    f"likelihood/{name}": f"{RESULTS}/likelihood/{name}.jsonl" for name in ("language_model", "simple", "vlb")
}


def bounded_settings(wildcards):
    """The settings of a training; only that on the bound clips its gradients."""
    bound = wildcards.objective == "vlb"
    clip = {"clip": LIKELIHOOD["clip"]} if bound else {}
    training = {**LIKELIHOOD["training"], **clip}
    return spec(model=LIKELIHOOD["model"], training=training, objective=wildcards.objective)
