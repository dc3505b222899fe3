PLAIN_TASKS = [task for task in CONTROL_TASKS if task not in SYNTAX]
SYNTAX_TASKS = [task for task in TASKS if task in SYNTAX]


rule corpus:
    output:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        targets=expand(f"{RESULTS}/targets/{{task}}.jsonl", task=PLAIN_TASKS),
    params:
        spec=spec(
            **S["corpus"],
            data_dir=S["data_dir"],
            download_dir="results/downloads/e2e",
            lengths=S["lengths"],
            tasks=PLAIN_TASKS,
        ),
        code=code_of("pipeline.corpora.prepare"),
        targets=named({task: f"{RESULTS}/targets/{task}.jsonl" for task in PLAIN_TASKS}),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/corpus.log",
    benchmark:
        f"{RESULTS}/benchmarks/corpus.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(30),
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.corpora.prepare --spec {params.spec:q} "
        "--output corpus={output.corpus} vocabulary={output.vocabulary} {params.targets} 2> >(log {log})"


rule annotated_corpus:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        tagger=model("judge1_tagger"),
        parser=model("judge1_parser"),
    output:
        f"{RESULTS}/annotated.jsonl",
    params:
        spec=spec(
            data_dir=S["data_dir"], released_targets=S["syntax"]["released_targets"], cache=READINGS
        ),
        code=code_of("eval.oracles.annotate"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/annotated_corpus.log",
    benchmark:
        f"{RESULTS}/benchmarks/annotated_corpus.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(600),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.oracles.annotate --spec {params.spec:q} --input corpus={input.corpus} "
        "tagger={input.tagger} parser={input.parser} --output annotated={output} 2> >(log {log})"


rule syntax_targets:
    input:
        annotated=f"{RESULTS}/annotated.jsonl",
    output:
        expand(f"{RESULTS}/targets/{{task}}.jsonl", task=SYNTAX_TASKS),
    params:
        spec=spec(
            **S["syntax"],
            data_dir=S["data_dir"],
            tasks=SYNTAX_TASKS,
            most_words=most_words(SYNTAX[0]),
        ),
        code=code_of("pipeline.corpora.syntax_targets"),
        targets=named({task: f"{RESULTS}/targets/{task}.jsonl" for task in SYNTAX_TASKS}),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/syntax_targets.log",
    benchmark:
        f"{RESULTS}/benchmarks/syntax_targets.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(30),
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.corpora.syntax_targets --spec {params.spec:q} "
        "--input annotated={input.annotated} --output {params.targets} 2> >(log {log})"


rule human:
    localrule: True
    input:
        corpus=lambda wildcards: corpus_of(wildcards.task),
        targets=f"{RESULTS}/targets/{{task}}.jsonl",
    output:
        f"{RESULTS}/samples/{{task}}/human/seed{{seed}}.jsonl",
    params:
        spec=lambda wildcards: spec(seed=int(wildcards.seed)),
        code=code_of("pipeline.human"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/human/{{task}}_seed{{seed}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/human/{{task}}_seed{{seed}}.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.human --spec {params.spec:q} "
        "--input corpus={input.corpus} targets={input.targets} --output samples={output} 2> >(log {log})"
