# Ablations, made only on demand: grids of small trainings (`snakemake ablations`, Figures 4 and 6), and what the
# run's own model does under other settings of drawing and steering (`snakemake sampling_ablations`).
wildcard_constraints:
    cell="|".join(ABLATION_CELLS),
    sampling_group="|".join(SAMPLING_GROUPS),
    ablation_figure="|".join(ABLATION_FIGURES),


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
        **with_data("{ablation_figure}"),
    params:
        spec=lambda wildcards: spec(figure=wildcards.ablation_figure, recipe=S["recipe"]),
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
        list(with_data("figure_4").values()),


rule figure_6:
    localrule: True
    input:
        list(with_data("figure_6").values()),


rule ablations:
    localrule: True
    input:
        f"{RESULTS}/tables/ablations.md",
        [list(with_data(name).values()) for name in ABLATION_FIGURES],


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
        **with_data("sampling_ablations"),
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
        list(with_data("sampling_ablations").values()),
