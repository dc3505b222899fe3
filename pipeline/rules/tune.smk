# Trials of method settings on every third target with a seed of their own (pipeline/config/tuning.yaml).
rule trial:
    input:
        unpack(trial_models),
        targets=f"{RESULTS}/targets/{{task}}.jsonl",
        vocabulary=lambda wildcards: vocabulary_of(wildcards.task),
    output:
        f"{RESULTS}/tuning/samples/{{task}}/{{trial}}.jsonl",
    params:
        spec=trial_settings,
        models=lambda wildcards: named(trial_models(wildcards)),
        code=lambda wildcards: fingerprint(
            "pipeline.generate", METHODS[next(iter(trials(wildcards.task)[wildcards.trial]))]["module"]
        ),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/tuning/{{task}}_{{trial}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tuning/{{task}}_{{trial}}.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(600),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.generate --spec {params.spec:q} --input targets={input.targets} "
        "vocabulary={input.vocabulary} {params.models} --output samples={output} 2> >(log {log})"


rule trial_table:
    input:
        lambda wildcards: list(trial_files(wildcards.task).values()),
        targets=f"{RESULTS}/targets/{{task}}.jsonl",
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        teacher=model("teacher"),
        judges=lambda wildcards: list(judges_of(wildcards.task).values()),
    output:
        f"{RESULTS}/tuning/{{task}}.md",
    params:
        spec=lambda wildcards: spec(
            mbr_rule=S["mbr_rule"],
            **({"cache": READINGS} if wildcards.task in SYNTAX else {}),
            trials=trial_labels(wildcards.task),
        ),
        code=code_of("eval.trials"),
        inputs=lambda wildcards: named({**judges_of(wildcards.task), **trial_files(wildcards.task)}),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/tuning/{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tuning/{{task}}.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(240),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.trials --spec {params.spec:q} --input targets={input.targets} "
        "corpus={input.corpus} vocabulary={input.vocabulary} teacher={input.teacher} {params.inputs} "
        "--output table={output} 2> >(log {log})"


rule infilling_trial_table:
    input:
        list(trial_files(INFILLING).values()),
        targets=f"{RESULTS}/targets/infilling.jsonl",
        corpus=f"{RESULTS}/stories.jsonl",
        encoder=model("story_encoder"),
    output:
        f"{RESULTS}/tuning/infilling.md",
    params:
        spec=spec(
            mbr_rule=S["mbr_rule"],
            trials=trial_labels(INFILLING),
        ),
        code=code_of("eval.infilling_trials"),
        inputs=named(trial_files(INFILLING)),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/tuning/infilling.log",
    benchmark:
        f"{RESULTS}/benchmarks/tuning/infilling.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(120),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.infilling_trials --spec {params.spec:q} --input targets={input.targets} "
        "corpus={input.corpus} encoder={input.encoder} {params.inputs} "
        "--output table={output} 2> >(log {log})"


ruleorder: infilling_trial_table > trial_table


rule tune:
    localrule: True
    input:
        expand(f"{RESULTS}/tuning/{{task}}.md", task=TUNING["trials"]),
    log:
        f"{RESULTS}/logs/tune.log",
    benchmark:
        f"{RESULTS}/benchmarks/tune/{STARTED}.jsonl"
    conda:
        ENVIRONMENT
    shell:
        "cat {input} | tee {log}"
