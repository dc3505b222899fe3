rule teacher:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("teacher"),
    params:
        spec=spec(**S["teacher"]),
        code=code_of("pipeline.teacher"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/teacher.log",
    benchmark:
        f"{RESULTS}/benchmarks/teacher.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(600),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.teacher --spec {params.spec:q} "
        "--input corpus={input.corpus} vocabulary={input.vocabulary} --output model={output} 2> >(log {log})"


rule human_texts:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        teacher=model("teacher"),
    output:
        model("human_texts"),
    params:
        spec=spec(seed=0, data_dir=S["data_dir"], released_targets=S["syntax"]["released_targets"]),
        code=code_of("eval.human_texts"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/human_texts.log",
    benchmark:
        f"{RESULTS}/benchmarks/human_texts.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(60),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.human_texts --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} teacher={input.teacher} --output human_texts={output} 2> >(log {log})"


rule tagger:
    input:
        unpack(lambda wildcards: treebank_corpus(wildcards.judge, "tagger")),
    output:
        model("{judge}_tagger"),
    params:
        spec=lambda wildcards: spec(**JUDGES[wildcards.judge]["tagger"], data_dir=S["data_dir"]),
        inputs=lambda wildcards: inputs_option(treebank_corpus(wildcards.judge, "tagger")),
        code=code_of("eval.oracles.train_tagger"),
    priority: 20  # everything of syntax waits for it
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/{{judge}}_tagger.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{judge}}_tagger.jsonl"
    resources:
        mem_mb=growing(6000),
        runtime=minutes(600),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.oracles.train_tagger --spec {params.spec:q} {params.inputs} "
        "--output model={output} 2> >(log {log})"


rule parser:
    input:
        unpack(lambda wildcards: treebank_corpus(wildcards.judge, "parser")),
    output:
        model("{judge}_parser"),
    params:
        spec=lambda wildcards: spec(**JUDGES[wildcards.judge]["parser"], data_dir=S["data_dir"]),
        inputs=lambda wildcards: inputs_option(treebank_corpus(wildcards.judge, "parser")),
        code=code_of("eval.oracles.train_parser"),
    priority: 20  # everything of syntax waits for it
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/{{judge}}_parser.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{judge}}_parser.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(600),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.oracles.train_parser --spec {params.spec:q} {params.inputs} "
        "--output model={output} 2> >(log {log})"


rule judges_table:
    input:
        **judges_of(SYNTAX[0]),
        corpus=f"{RESULTS}/corpus.jsonl",
    output:
        csv=f"{RESULTS}/tables/judges.csv",
        markdown=f"{RESULTS}/tables/judges.md",
    params:
        spec=spec(
            data_dir=S["data_dir"],
            embedded=S["corpus"]["name"] == "embedded",
            released_targets=S["syntax"]["released_targets"],
            cache=READINGS,
        ),
        code=code_of("eval.oracles.measure"),
        judges=named(judges_of(SYNTAX[0])),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/judges_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/judges_table.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(240),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.oracles.measure --spec {params.spec:q} --input {params.judges} "
        "corpus={input.corpus} --output csv={output.csv} markdown={output.markdown} 2> >(log {log})"
