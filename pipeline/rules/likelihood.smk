# Table 7: -log p of held-out texts, exact under the language model, a bound for two Diffusion-LMs.
wildcard_constraints:
    objective="simple|vlb",


rule bounded_model:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
    output:
        f"{RESULTS}/likelihood/{{objective}}.safetensors",
    params:
        spec=bounded_settings,
        code=code_of("diffusion_lm.train"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/likelihood/train_{{objective}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/likelihood/train_{{objective}}.jsonl"
    resources:
        mem_mb=growing(12000),
        runtime=minutes(1440),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m diffusion_lm.train --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} --output model={output} 2> >(log {log})"


rule bound:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        model=f"{RESULTS}/likelihood/{{objective}}.safetensors",
    output:
        f"{RESULTS}/likelihood/{{objective}}.jsonl",
    params:
        spec=spec(**HELD_OUT, steps=LIKELIHOOD["steps"], seed=LIKELIHOOD["seed"]),
        code=code_of("diffusion_lm.likelihood"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/likelihood/{{objective}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/likelihood/{{objective}}.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(1440),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m diffusion_lm.likelihood --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} model={input.model} --output likelihood={output} 2> >(log {log})"


rule exact_likelihood:
    input:
        corpus=f"{RESULTS}/corpus.jsonl",
        vocabulary=f"{RESULTS}/vocabulary.json",
        model=model("language_model"),
    output:
        f"{RESULTS}/likelihood/language_model.jsonl",
    params:
        spec=spec(**HELD_OUT),
        code=code_of("pipeline.likelihood"),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/likelihood/language_model.log",
    benchmark:
        f"{RESULTS}/benchmarks/likelihood/language_model.jsonl"
    resources:
        mem_mb=growing(8000),
        runtime=minutes(120),
        gpu=S["gpus"],
    conda:
        ENVIRONMENT
    shell:
        "$python -m pipeline.likelihood --spec {params.spec:q} --input corpus={input.corpus} "
        "vocabulary={input.vocabulary} model={input.model} --output likelihood={output} 2> >(log {log})"


rule table_7:
    localrule: True
    input:
        list(LIKELIHOODS.values()),
    output:
        csv=f"{RESULTS}/tables/likelihood.csv",
        markdown=f"{RESULTS}/tables/likelihood.md",
    params:
        spec=spec(published="nll_E2E" if S["corpus"]["name"] == "e2e" else "", seed=0),
        code=code_of("eval.likelihood_table"),
        inputs=named(LIKELIHOODS),
    threads: S["threads"]
    log:
        f"{RESULTS}/logs/likelihood_table.log",
    benchmark:
        f"{RESULTS}/benchmarks/likelihood_table.jsonl"
    resources:
        mem_mb=growing(2000),
        runtime=minutes(30),
    conda:
        ENVIRONMENT
    shell:
        "$python -m eval.likelihood_table --spec {params.spec:q} --input {params.inputs} "
        "--output csv={output.csv} markdown={output.markdown} 2> >(log {log})"
