rule language_model:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("language_model"),
    params:
        spec=spec(**S["language_model"]),
        code=code_of("baselines.language_model"),
    priority: 10  # all baselines wait for it
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/language_model.log",
    benchmark:
        f"{RESULTS}/benchmarks/language_model.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(600),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.language_model --spec {params.spec:q} "
        "--input corpus={input.corpus} vocabulary={input.vocabulary} --output model={output} 2> >(log {log})"


rule fine_tuned:
    input:
        **START,
        corpus=lambda wildcards: corpus_of(wildcards.task),
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        model("fine_tuned_{task}"),
    params:
        spec=lambda wildcards: spec(**fine_tuning(wildcards.task), task=wildcards.task, most_words=most_words(wildcards.task)),
        code=code_of("baselines.fine_tuning.train"),
        start=named(START),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/fine_tuned_{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fine_tuned_{{task}}.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(1440),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.fine_tuning.train --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} {params.start} --output model={output} 2> >(log {log})"


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
        code=code_of("baselines.fudge.train"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/fudge_{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/fudge_{{task}}.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(600),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.fudge.train --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} --output model={output} 2> >(log {log})"


rule pplm_attribute:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        language_model=model("language_model"),
    output:
        model("pplm_attribute"),
    params:
        spec=spec(**S["pplm_attribute"], most_words=most_words(SEMANTIC_CONTENT)),
        code=code_of("baselines.pplm.train"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/pplm_attribute.log",
    benchmark:
        f"{RESULTS}/benchmarks/pplm_attribute.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(120),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.pplm.train --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} language_model={input.language_model} "
        "--output model={output} 2> >(log {log})"


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
        spec=lambda wildcards: spec(  # where PPLM is configured
            name="pplm",
            method={key: value for key, value in METHODS["pplm"].items() if key != "tasks"},
            sizes=[1, 2, 4, 8, 16, 32, 64],
            texts=64,
            seed=SEEDS[0],
        ),
        code=code_of("baselines.pplm.batching"),
    threads: workflow.resource_settings.cores or 1  # nothing else may run beside a measurement
    log:
        f"{RESULTS}/logs/pplm_batching.log",
    benchmark:
        f"{RESULTS}/benchmarks/pplm_batching.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(240),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m baselines.pplm.batching --spec {params.spec:q} --input targets={input.targets} "
        "vocabulary={input.vocabulary} language_model={input.language_model} attribute={input.attribute} "
        "--output csv={output.csv} markdown={output.markdown} 2> >(log {log})"
