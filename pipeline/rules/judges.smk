rule teacher:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("teacher"),
    params:
        spec=spec(**S["teacher"]),
        code=fingerprint("pipeline.teacher"),
    log:
        f"{RESULTS}/logs/teacher.log",
    benchmark:
        f"{RESULTS}/benchmarks/teacher.jsonl"
    resources:
        mem_mb=6000,
        runtime=600,
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.teacher --spec {params.spec:q} "
        "--input corpus={input.corpus} vocabulary={input.vocabulary} --output model={output} 2> >(tee {log} >&2)"
