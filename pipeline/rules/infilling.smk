# Infilling has a corpus of its own: stories. What is trained on them, and what scores the infills.
rule stories:
    output:
        corpus=f"{RESULTS}/stories.jsonl",
        vocabulary=f"{RESULTS}/stories_vocabulary.json",
        targets=f"{RESULTS}/targets/infilling.jsonl",
    params:
        spec=spec(
            **S["stories"],
            data_dir=S["data_dir"],
            download_dir="results/downloads",
            most_words=most_words(INFILLING),
        ),
        code=code_of("pipeline.corpora.prepare_stories"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/stories.log",
    benchmark:
        f"{RESULTS}/benchmarks/stories.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(60),
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.corpora.prepare_stories --spec {params.spec:q} --output corpus={output.corpus} "
        "vocabulary={output.vocabulary} infilling={output.targets} 2> >(log {log})"


# One rule for every model that is trained on stories alone: its command and settings by name.
rule story_model:
    input:
        corpus=f"{RESULTS}/stories.jsonl",
        vocabulary=f"{RESULTS}/stories_vocabulary.json",
    output:
        model("{story_model}"),
    params:
        spec=lambda wildcards: spec(**STORY_MODELS[wildcards.story_model][1]),
        command=lambda wildcards: STORY_MODELS[wildcards.story_model][0],
        code=lambda wildcards: fingerprint(STORY_MODELS[wildcards.story_model][0]),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/{{story_model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/{{story_model}}.jsonl"
    resources:
        mem_mb=growing(16000),
        runtime=minutes(2880),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m {params.command} --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} --output model={output} 2> >(log {log})"


rule score_infilling:
    input:
        list(cells("samples", INFILLING).values()),
        list(cells("selected", INFILLING).values()),
        targets=f"{RESULTS}/targets/infilling.jsonl",
        corpus=f"{RESULTS}/stories.jsonl",
        vocabulary=f"{RESULTS}/stories_vocabulary.json",
        encoder=model("story_encoder"),
    output:
        list(cells("scores", INFILLING).values()),
    params:
        spec=spec(),
        code=code_of("eval.score_infilling"),
        inputs=named({**cells("samples", INFILLING), **cells("selected", INFILLING)}),
        outputs=named(cells("scores", INFILLING)),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/score_infilling.log",
    benchmark:
        f"{RESULTS}/benchmarks/score_infilling.jsonl"
    resources:
        mem_mb=growing(16000),
        runtime=minutes(240),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.score_infilling --spec {params.spec:q} --input targets={input.targets} "
        "corpus={input.corpus} vocabulary={input.vocabulary} encoder={input.encoder} {params.inputs} "
        "--output {params.outputs} 2> >(log {log})"


rule infilling_table:
    input:
        list(infilling_files().values()),
        refusals=REFUSALS,
    output:
        csv=f"{RESULTS}/tables/infilling.csv",
        markdown=f"{RESULTS}/tables/infilling.md",
    params:
        spec=spec(seed=0, use_stored=False),  # its seconds are those of this run's files
        code=code_of("eval.infilling_table"),
        inputs=named(infilling_files()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/infilling_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/infilling_table.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(120),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.infilling_table --spec {params.spec:q} --input refusals={input.refusals} "
        "{params.inputs} --output csv={output.csv} markdown={output.markdown} 2> >(log {log})"


rule mbr_sizes:
    input:
        list(infilling_files().values()),
    output:
        csv=f"{RESULTS}/tables/mbr_sizes.csv",
        markdown=f"{RESULTS}/tables/mbr_sizes.md",
    params:
        spec=spec(seed=0, mbr_rule=S["mbr_rule"], sizes=[1, 5, 10, 25, 50]),
        code=code_of("eval.mbr_sizes"),
        inputs=named(infilling_files()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/mbr_sizes.log",
    benchmark:
        f"{RESULTS}/benchmarks/mbr_sizes.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(600),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.mbr_sizes --spec {params.spec:q} --input {params.inputs} "
        "--output csv={output.csv} markdown={output.markdown} 2> >(log {log})"
