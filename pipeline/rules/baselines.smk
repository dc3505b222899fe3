rule fine_tuned:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("fine_tuned_{task}"),
    params:
        spec=lambda wildcards: spec(
            **S["fine_tuning"], task=wildcards.task, most_words=S["diffusion"]["model"]["positions"] - 2
        ),
        code=fingerprint("baselines.fine_tuning"),
    log:
        f"{RESULTS}/logs/fine_tuned_{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fine_tuned_{{task}}.jsonl"
    resources:
        mem_mb=6000,
        runtime=1440,
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.fine_tuning --spec {params.spec:q} "
        "--input corpus={input.corpus} vocabulary={input.vocabulary} --output model={output} 2> >(tee {log} >&2)"
