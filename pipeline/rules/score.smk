# One job per task over all methods and seeds: judges are loaded once. Infilling is scored by rules of its own.
for task in TASKS:

    rule:
        name:
            f"select_{task}"
        input:
            list(cells("samples", task).values()),
        output:
            list(cells("selected", task).values()),
        params:
            spec=spec(mbr_rule=S["mbr_rule"]),
            code=code_of("eval.select"),
            inputs=named(cells("samples", task)),
            outputs=named(cells("selected", task)),
        threads: S["threads"]
        log:
            f"{RESULTS}/logs/select_{task}.log",
        benchmark:
            f"{RESULTS}/benchmarks/select_{task}.jsonl"
        resources:
            mem_mb=growing(8000),
            runtime=minutes(600),
        conda:
            ENVIRONMENT
        shell:
            "$python -m eval.select --spec {params.spec:q} --input {params.inputs} "
            "--output {params.outputs} 2> >(log {log})"


for task in CONTROL_TASKS:

    rule:
        name:
            f"score_{task}"
        input:
            list(cells("samples", task).values()),
            list(cells("selected", task).values()),
            targets=f"{RESULTS}/targets/{task}.jsonl",
            vocabulary=f"{RESULTS}/vocabulary.json",
            teacher=model("teacher"),
            human_texts=model("human_texts"),
            **judges_of(task),
        output:
            list(cells("scores", task).values()),
        params:
            spec=spec(**({"cache": READINGS} if task in SYNTAX else {})),
            code=code_of("eval.score"),
            inputs=named({**judges_of(task), **cells("samples", task), **cells("selected", task)}),
            outputs=named(cells("scores", task)),
        threads: S["threads"]
        log:
            f"{RESULTS}/logs/score_{task}.log",
        benchmark:
            f"{RESULTS}/benchmarks/score_{task}.jsonl"
        resources:
            mem_mb=growing(8000),
            runtime=minutes(600),
            gpu=S["gpus"],
        conda:
            ENVIRONMENT
        shell:
            "$python -m eval.score --spec {params.spec:q} --input targets={input.targets} "
            "vocabulary={input.vocabulary} teacher={input.teacher} human_texts={input.human_texts} {params.inputs} "
            "--output {params.outputs} 2> >(log {log})"
