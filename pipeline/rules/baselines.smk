rule language_model:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("language_model"),
    params:
        spec=spec(**S["language_model"]),
        code=fingerprint("baselines.language_model"),
    priority: 10  # all baselines wait for it
    log:
        f"{RESULTS}/logs/language_model.log",
    benchmark:
        f"{RESULTS}/benchmarks/language_model.jsonl"
    resources:
        mem_mb=6000,
        runtime=1440,
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.language_model --spec {params.spec:q} "
        "--input corpus={input.corpus} vocabulary={input.vocabulary} --output model={output} 2> >(tee {log} >&2)"


rule fine_tuned:
    input:
        **START,
        corpus=lambda wildcards: corpus_of(wildcards.task),
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("fine_tuned_{task}"),
    params:
        spec=lambda wildcards: spec(**fine_tuning(wildcards.task), task=wildcards.task, most_words=most_words(wildcards.task)),
        code=fingerprint("baselines.fine_tuning.train"),
        start=named(START),
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
        "$python -m baselines.fine_tuning.train --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} {params.start} --output model={output} 2> >(tee {log} >&2)"


rule fudge_discriminator:
    input:
        corpus=lambda wildcards: corpus_of(wildcards.task),
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("fudge_{task}"),
    params:
        spec=lambda wildcards: spec(
            **S["fudge_discriminators"], task=wildcards.task, most_words=most_words(wildcards.task)
        ),
        code=fingerprint("baselines.fudge.train"),
    log:
        f"{RESULTS}/logs/fudge_{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fudge_{{task}}.jsonl"
    resources:
        mem_mb=6000,
        runtime=600,
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.fudge.train --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} --output model={output} 2> >(tee {log} >&2)"


rule pplm_attribute:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        language_model=model("language_model"),
    output:
        model("pplm_attribute"),
    params:
        spec=spec(**S["pplm_attribute"], most_words=most_words(SEMANTIC_CONTENT)),
        code=fingerprint("baselines.pplm.train"),
    log:
        f"{RESULTS}/logs/pplm_attribute.log",
    benchmark:
        f"{RESULTS}/benchmarks/pplm_attribute.jsonl"
    resources:
        mem_mb=6000,
        runtime=60,
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.pplm.train --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} language_model={input.language_model} "
        "--output model={output} 2> >(tee {log} >&2)"


# How much faster PPLM is in batches; on demand: snakemake ... results/<scale>/tables/pplm_batching.md
rule pplm_batching:
    input:
        language_model=model("language_model"),
        attribute=model("pplm_attribute"),
        targets=f"{RESULTS}/targets/semantic_content.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        csv=f"{RESULTS}/tables/pplm_batching.csv",
        markdown=f"{RESULTS}/tables/pplm_batching.md",
    params:
        spec=spec(
            name="pplm",
            method={key: value for key, value in METHODS["pplm"].items() if key != "tasks"},
            sizes=[1, 2, 4, 8, 16, 32, 64],
            texts=64,
            seed=SEEDS[0],
        ),
        code=fingerprint("baselines.pplm.batching"),
    threads: workflow.cores or 1  # nothing else may run beside a measurement
    log:
        f"{RESULTS}/logs/pplm_batching.log",
    benchmark:
        f"{RESULTS}/benchmarks/pplm_batching.jsonl"
    resources:
        mem_mb=6000,
        runtime=120,
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.pplm.batching --spec {params.spec:q} --input targets={input.targets} "
        "vocabulary={input.vocabulary} language_model={input.language_model} attribute={input.attribute} "
        "--output csv={output.csv} markdown={output.markdown} 2> >(tee {log} >&2)"
