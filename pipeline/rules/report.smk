rule refusals:
    localrule: True
    output:
        REFUSALS,
    params:
        spec=spec(methods={name: {"module": method["module"]} for name, method in METHODS.items()}),
        code=code_of("pipeline.refusals", *{method["module"] for method in METHODS.values()}),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/refusals.log",
    benchmark:
        f"{RESULTS}/benchmarks/refusals.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.refusals --spec {params.spec:q} --output refusals={output} 2> >(log {log})"


rule control_table:
    input:
        list(table_files().values()),
        refusals=REFUSALS,
    output:
        csv=f"{RESULTS}/tables/control.csv",
        markdown=f"{RESULTS}/tables/control.md",
        composition_csv=f"{RESULTS}/tables/composition.csv",
        composition_markdown=f"{RESULTS}/tables/composition.md",
    params:
        spec=spec(seed=0, exclude_targets=S["corpus"]["exclude_targets"]),
        code=code_of("eval.tables"),
        inputs=named(table_files()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/control_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/control_table.jsonl"
    resources:
        mem_mb=growing(16000),
        runtime=minutes(120),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.tables --spec {params.spec:q} --input refusals={input.refusals} {params.inputs} "
        "--output csv={output.csv} markdown={output.markdown} composition_csv={output.composition_csv} "
        "composition_markdown={output.composition_markdown} 2> >(log {log})"


rule cost_table:
    localrule: True
    input:
        list(cost_files().values()),
    output:
        csv=f"{RESULTS}/tables/cost.csv",
        training_csv=f"{RESULTS}/tables/training.csv",
        markdown=f"{RESULTS}/tables/cost.md",
    params:
        spec=spec(trials=trial_counts(), use_stored=False),  # times are those of this run's files
        code=code_of("eval.cost"),
        inputs=named(cost_files()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/cost_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/cost_table.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(30),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.cost --spec {params.spec:q} --input {params.inputs} --output csv={output.csv} "
        "training_csv={output.training_csv} markdown={output.markdown} 2> >(log {log})"


rule signatures:
    localrule: True
    input:
        list(signature_files().values()),
    output:
        f"{RESULTS}/tables/signatures.json",
    params:
        spec=spec(mbr_rule=S["mbr_rule"]),
        code=code_of("eval.signatures"),
        inputs=named(signature_files()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/signatures.log",
    benchmark:
        f"{RESULTS}/benchmarks/signatures.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(30),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.signatures --spec {params.spec:q} --input {params.inputs} "
        "--output signatures={output} 2> >(log {log})"


rule store:
    localrule: True
    params:
        scale=S["scale"],
    log:
        f"{RESULTS}/logs/store.log",
    benchmark:
        f"{RESULTS}/benchmarks/store/{STARTED}.jsonl"
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.store --scale {params.scale} 2> >(log {log})"
