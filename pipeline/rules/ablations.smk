# Ablations, made only on demand: grids of small trainings (`snakemake ablations`, Figures 4 and 6), and what the
# run's own model does under other settings of drawing and steering (`snakemake sampling_ablations`).
from pipeline.ablations import STORIES, ablation_cells, factors, seeded, varied
from pipeline.command import exit_codes

ABLATIONS = S["ablations"]
with exit_codes():
    ABLATION_CELLS = ablation_cells(ABLATIONS)
ABLATION_CORPORA = sorted({cell["corpus"] for cell in ABLATION_CELLS.values()})
ABLATION_FIGURES = ("figure_4", "figure_6")
FIGURE_FILES = ("svg", "pdf", "png", "csv")
SAMPLING = S["sampling_ablations"]
SAMPLING_GROUPS = {name: group for name, group in SAMPLING["groups"].items() if group is not None}
SAMPLING_TASKS = sorted({group["task"] for group in SAMPLING_GROUPS.values()})
SAMPLING_JUDGES = {name: file for task in SAMPLING_TASKS for name, file in judges_of(task).items() if "judge1" in name}


wildcard_constraints:
    cell="|".join(ABLATION_CELLS),
    sampling_group="|".join(SAMPLING_GROUPS),
    ablation_figure="|".join(ABLATION_FIGURES),


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


def figure_files(name):
    """The picture and its data."""
    return expand(f"{RESULTS}/figures/{name}.{{kind}}", kind=FIGURE_FILES)


def variant_models(wildcards):
    """The trained files of the method that a group varies."""
    group = SAMPLING_GROUPS[wildcards.sampling_group]
    check_cell(group["method"], group["task"])
    return {name: model(file) for name, file in METHODS[group["method"]]["tasks"][group["task"]].items()}


def variant_settings(wildcards):
    """The method's settings under every variant of a group, and how many texts each writes."""
    group = SAMPLING_GROUPS[wildcards.sampling_group]
    method, task = METHODS[group["method"]], group["task"]
    variants = {
        label: {
            "method": for_task(varied(method, task, variant), task),
            "samples": variant.get("samples", group["samples"]),
        }
        for label, variant in group["variants"].items()
    }
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


rule ablation:
    input:
        unpack(ablation_inputs),
    output:
        model=f"{RESULTS}/ablations/{{cell}}/seed{{seed}}.safetensors",
        samples=f"{RESULTS}/ablations/{{cell}}/seed{{seed}}.jsonl",
    params:
        spec=ablation_settings,
        inputs=lambda wildcards: named(ablation_inputs(wildcards)),
        code=code_of("diffusion_lm.ablate"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/ablations/{{cell}}_seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablations/{{cell}}_seed{{seed}}.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(1440),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m diffusion_lm.ablate --spec {params.spec:q} --input {params.inputs} "
        "--output model={output.model} samples={output.samples} 2> >(log {log})"


rule ablation_table:
    input:
        list(ablation_texts().values()),
        list(ablation_judges().values()),
    output:
        csv=f"{RESULTS}/tables/ablations.csv",
        markdown=f"{RESULTS}/tables/ablations.md",
    params:
        spec=spec(seed=0, cells={name: factors(cell) for name, cell in ABLATION_CELLS.items()}),
        code=code_of("eval.ablations"),
        inputs=named({**ablation_judges(), **ablation_texts()}),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/ablation_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/ablation_table.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(120),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.ablations --spec {params.spec:q} --input {params.inputs} "
        "--output csv={output.csv} markdown={output.markdown} 2> >(log {log})"


rule ablation_figure:
    localrule: True
    input:
        f"{RESULTS}/tables/ablations.csv",
    output:
        **{kind: f"{RESULTS}/figures/{{ablation_figure}}.{kind}" for kind in FIGURE_FILES},
    params:
        spec=lambda wildcards: spec(figure=wildcards.ablation_figure),
        code=code_of("eval.ablation_figures"),
        outputs=lambda wildcards, output: named(dict(output.items())),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/{{ablation_figure}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{ablation_figure}}.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.ablation_figures --spec {params.spec:q} --input table={input} "
        "--output {params.outputs} 2> >(log {log})"


rule figure_4:
    localrule: True
    input:
        figure_files("figure_4"),


rule figure_6:
    localrule: True
    input:
        figure_files("figure_6"),


rule ablations:
    localrule: True
    input:
        f"{RESULTS}/tables/ablations.md",
        [figure_files(name) for name in ABLATION_FIGURES],


# All variants of one group are one job, so that they share what it loads.
rule sampling_variants:
    input:
        unpack(variant_models),
        targets=lambda wildcards: f"{RESULTS}/targets/{SAMPLING_GROUPS[wildcards.sampling_group]['task']}.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        samples=f"{RESULTS}/sampling_ablations/{{sampling_group}}.jsonl",
        seconds=f"{RESULTS}/sampling_ablations/{{sampling_group}}.seconds.json",
    params:
        spec=variant_settings,
        models=lambda wildcards: named(variant_models(wildcards)),
        code=lambda wildcards: fingerprint(
            "pipeline.variants", METHODS[SAMPLING_GROUPS[wildcards.sampling_group]["method"]]["module"]
        ),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/sampling_ablations/{{sampling_group}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/sampling_ablations/{{sampling_group}}.jsonl"
    resources:
        mem_mb=growing(6000),
        runtime=minutes(1440),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.variants --spec {params.spec:q} --input targets={input.targets} "
        "vocabulary={input.vocabulary} {params.models} "
        "--output samples={output.samples} seconds={output.seconds} 2> >(log {log})"


rule sampling_table:
    input:
        list(sampling_files().values()),
        list(SAMPLING_JUDGES.values()),
        vocabulary=f"{RESULTS}/vocabulary.json",
        teacher=model("teacher"),
    output:
        csv=f"{RESULTS}/tables/sampling_ablations.csv",
        markdown=f"{RESULTS}/tables/sampling_ablations.md",
    params:
        spec=spec(
            groups={name: group["task"] for name, group in SAMPLING_GROUPS.items()},
            mbr_rule=S["mbr_rule"],
            mbr_sizes=SAMPLING["mbr_sizes"],
            seed=0,
            cache=READINGS,
        ),
        code=code_of("eval.sampling_ablations"),
        inputs=named({**SAMPLING_JUDGES, **sampling_files()}),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/sampling_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/sampling_table.jsonl"
    resources:
        mem_mb=growing(6000),
        runtime=minutes(240),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.sampling_ablations --spec {params.spec:q} --input vocabulary={input.vocabulary} "
        "teacher={input.teacher} {params.inputs} --output csv={output.csv} markdown={output.markdown} "
        "2> >(log {log})"


rule sampling_figure:
    localrule: True
    input:
        f"{RESULTS}/tables/sampling_ablations.csv",
    output:
        **{kind: f"{RESULTS}/figures/sampling_ablations.{kind}" for kind in FIGURE_FILES},
    params:
        spec=spec(),
        code=code_of("eval.sampling_figure"),
        outputs=lambda wildcards, output: named(dict(output.items())),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/sampling_figure.log",
    benchmark:
        f"{RESULTS}/benchmarks/sampling_figure.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.sampling_figure --spec {params.spec:q} --input table={input} "
        "--output {params.outputs} 2> >(log {log})"


rule sampling_ablations:
    localrule: True
    input:
        f"{RESULTS}/tables/sampling_ablations.md",
        figure_files("sampling_ablations"),
