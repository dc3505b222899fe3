# Figures, examples and the report.
rule word_vectors:
    localrule: True
    input:
        diffusion=model("diffusion_lm"),
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        f"{FIGURES}/word_vectors.csv",
    params:
        spec=spec(),
        code=code_of("diffusion_lm.word_vectors"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/word_vectors.log",
    benchmark:
        f"{RESULTS}/benchmarks/word_vectors.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m diffusion_lm.word_vectors --spec {params.spec:q} --input diffusion={input.diffusion} "
        "vocabulary={input.vocabulary} --output table={output} 2> >(log {log})"


rule figure_3:
    localrule: True
    input:
        vectors=f"{FIGURES}/word_vectors.csv",
        corpus=f"{RESULTS}/annotated.jsonl",
    output:
        **pictures("figure_3"),
        points=f"{FIGURES}/figure_3.csv",
        numbers=f"{FIGURES}/figure_3_numbers.csv",
    params:
        spec=spec(seed=0),
        code=code_of("eval.figure_3"),
        pictures=named(pictures("figure_3")),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/figure_3.log",
    benchmark:
        f"{RESULTS}/benchmarks/figure_3.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(20),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.figure_3 --spec {params.spec:q} --input vectors={input.vectors} corpus={input.corpus} "
        "--output {params.pictures} points={output.points} numbers={output.numbers} 2> >(log {log})"


rule noise_levels:
    localrule: True
    output:
        f"{FIGURES}/figure_5.csv",
    params:
        spec=spec(schedules=["linear", "cosine", "sqrt"], steps=2000),  # as the paper draws it, at every scale
        code=code_of("diffusion_lm.noise_levels"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/noise_levels.log",
    benchmark:
        f"{RESULTS}/benchmarks/noise_levels.jsonl"
    resources:
        mem_mb=growing(1000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m diffusion_lm.noise_levels --spec {params.spec:q} --output table={output} 2> >(log {log})"


rule figure_5:
    localrule: True
    input:
        levels=f"{FIGURES}/figure_5.csv",
    output:
        **pictures("figure_5"),
    params:
        spec=spec(),
        code=code_of("eval.figure_5"),
        pictures=named(pictures("figure_5")),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/figure_5.log",
    benchmark:
        f"{RESULTS}/benchmarks/figure_5.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.figure_5 --spec {params.spec:q} --input levels={input.levels} "
        "--output {params.pictures} 2> >(log {log})"


# Not among the tables, which are stored for everybody: sentences of stories may not be republished.
rule examples:
    localrule: True
    input:
        list(example_files().values()),
    output:
        csv=f"{RESULTS}/examples.csv",
        markdown=f"{RESULTS}/examples.md",
    params:
        spec=lambda wildcards: spec(decoding=decoding(), cache=READINGS),
        code=code_of("eval.examples"),
        inputs=named(example_files()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/examples.log",
    benchmark:
        f"{RESULTS}/benchmarks/examples.jsonl"
    resources:
        mem_mb=growing(4000),
        runtime=minutes(20),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.examples --spec {params.spec:q} --input {params.inputs} "
        "--output csv={output.csv} markdown={output.markdown} 2> >(log {log})"


rule report:
    localrule: True
    input:
        list(report_files().values()),
    output:
        html=f"{RESULTS}/report.html",
        markdown=f"{RESULTS}/report.md",
    params:
        spec=spec(scale=S["scale"], different=unlike_paper(S)),
        code=code_of("eval.report"),
        inputs=named(report_files() | made_on_demand()),
        more=hashes(made_on_demand()),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/report.log",
    benchmark:
        f"{RESULTS}/benchmarks/report.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(10),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.report --spec {params.spec:q} --input {params.inputs} "
        "--output html={output.html} markdown={output.markdown} 2> >(log {log})"
