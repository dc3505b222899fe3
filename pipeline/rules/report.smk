rule control_table:
    input:
        list(table_files().values()),
    output:
        csv=f"{RESULTS}/tables/control.csv",
        markdown=f"{RESULTS}/tables/control.md",
        composition_csv=f"{RESULTS}/tables/composition.csv",
        composition_markdown=f"{RESULTS}/tables/composition.md",
    params:
        spec=spec(seed=0, exclude_targets=S["corpus"]["exclude_targets"]),
        code=fingerprint("eval.tables"),
        inputs=named(table_files()),
    log:
        f"{RESULTS}/logs/control_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/control_table.jsonl"
    resources:
        mem_mb=4000,
        runtime=20,
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.tables --spec {params.spec:q} --input {params.inputs} "
        "--output csv={output.csv} markdown={output.markdown} composition_csv={output.composition_csv} "
        "composition_markdown={output.composition_markdown} 2> >(tee {log} >&2)"


rule store:
    localrule: True
    params:
        scale=S["scale"],
    log:
        f"{RESULTS}/logs/store.log",
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.store --scale {params.scale} 2> >(tee {log} >&2)"
