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


rule human_texts:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        teacher=model("teacher"),
    output:
        model("human_texts"),
    params:
        spec=spec(seed=0, data_dir=S["data_dir"], released_targets=S["syntax"]["released_targets"]),
        code=fingerprint("eval.human_texts"),
    log:
        f"{RESULTS}/logs/human_texts.log",
    benchmark:
        f"{RESULTS}/benchmarks/human_texts.jsonl"
    resources:
        mem_mb=4000,
        runtime=30,
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.human_texts --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} teacher={input.teacher} --output human_texts={output} 2> >(tee {log} >&2)"


rule tagger:
    input:
        unpack(lambda wildcards: treebank_corpus(wildcards.judge, "tagger")),
    output:
        model("{judge}_tagger"),
    params:
        spec=lambda wildcards: spec(**JUDGES[wildcards.judge]["tagger"], data_dir=S["data_dir"]),
        inputs=lambda wildcards: inputs_option(treebank_corpus(wildcards.judge, "tagger")),
        code=fingerprint("eval.oracles.train_tagger"),
    priority: 20  # everything of syntax waits for it
    log:
        f"{RESULTS}/logs/{{judge}}_tagger.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{judge}}_tagger.jsonl"
    resources:
        mem_mb=6000,
        runtime=600,
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.oracles.train_tagger --spec {params.spec:q} {params.inputs} "
        "--output model={output} 2> >(tee {log} >&2)"


rule parser:
    input:
        unpack(lambda wildcards: treebank_corpus(wildcards.judge, "parser")),
    output:
        model("{judge}_parser"),
    params:
        spec=lambda wildcards: spec(**JUDGES[wildcards.judge]["parser"], data_dir=S["data_dir"]),
        inputs=lambda wildcards: inputs_option(treebank_corpus(wildcards.judge, "parser")),
        code=fingerprint("eval.oracles.train_parser"),
    priority: 20  # everything of syntax waits for it
    log:
        f"{RESULTS}/logs/{{judge}}_parser.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{judge}}_parser.jsonl"
    resources:
        mem_mb=6000,
        runtime=600,
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.oracles.train_parser --spec {params.spec:q} {params.inputs} "
        "--output model={output} 2> >(tee {log} >&2)"


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
        code=fingerprint("eval.oracles.measure"),
        judges=named(judges_of(SYNTAX[0])),
    log:
        f"{RESULTS}/logs/judges_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/judges_table.jsonl"
    resources:
        mem_mb=6000,
        runtime=120,
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.oracles.measure --spec {params.spec:q} --input {params.judges} "
        "corpus={input.corpus} --output csv={output.csv} markdown={output.markdown} 2> >(tee {log} >&2)"
