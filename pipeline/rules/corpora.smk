rule corpus:
    output:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        targets=expand(f"{RESULTS}/targets/{{task}}.jsonl", task=TASKS),
    params:
        spec=spec(
            **S["corpus"],
            data_dir=S["data_dir"],
            download_dir="results/downloads/e2e",
            lengths=S["lengths"],
            tasks=TASKS,
        ),
        code=fingerprint("pipeline.corpora.prepare"),
        targets=named({task: f"{RESULTS}/targets/{task}.jsonl" for task in TASKS}),
    log:
        f"{RESULTS}/logs/corpus.log",
    benchmark:
        f"{RESULTS}/benchmarks/corpus.jsonl"
    resources:
        mem_mb=2000,
        runtime=20,
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.corpora.prepare --spec {params.spec:q} "
        "--output corpus={output.corpus} vocabulary={output.vocabulary} {params.targets} 2> >(tee {log} >&2)"


rule human:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        targets=f"{RESULTS}/targets/{{task}}.jsonl",
    output:
        f"{RESULTS}/samples/{{task}}/human/seed{{seed}}.jsonl",
    params:
        spec=lambda wildcards: spec(seed=int(wildcards.seed)),
        code=fingerprint("pipeline.human"),
    log:
        f"{RESULTS}/logs/human/{{task}}_seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/human/{{task}}_seed{{seed}}.jsonl"
    resources:
        mem_mb=2000,
        runtime=10,
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.human --spec {params.spec:q} "
        "--input corpus={input.corpus} targets={input.targets} --output samples={output} 2> >(tee {log} >&2)"
