"""The restaurant grammar itself: the values of the eight fields, the rules, and the tag table.

A rule's alternatives are bracketed trees in the style of the Penn Treebank. ``{SYMBOL}`` stands for one
alternative of the rule of that name, ``{field}`` for one value of that field; all are equally likely.
Words are written in lower case, the article always as ``a``: :mod:`pipeline.corpora.grammar` spells them.

Two properties have to survive every edit (tests check them). A value's words appear in a text only when
the field has that value, so no value is part of another value or of any wording below. A value in lower
case never opens a sentence, since its capital would hide it.
"""

VALUES: dict[str, dict[str, str]] = {
    "name": {
        "Copper Kettle": "NNP NNP",
        "Velvet Fig": "NNP NNP",
        "Old Lantern": "NNP NNP",
        "Saltmarsh": "NNP",
        "Juniper": "NNP",
        "Marlow House": "NNP NNP",
        "Quince Garden": "NNP NNP",
        "Tin Whistle": "NNP NNP",
        "Little Red Barn": "NNP NNP NNP",
        "The Fox and Thistle": "DT NNP CC NNP",
    },
    "Type": {"pub": "NN", "bistro": "NN", "diner": "NN", "tea room": "NN NN"},
    "price": {"cheap": "JJ", "upmarket": "JJ", "mid range": "JJ NN", "high end": "JJ NN"},
    "customer rating": {
        "two stars": "CD NNS",
        "three stars": "CD NNS",
        "four stars": "CD NNS",
        "five stars": "CD NNS",
    },
    "near": {
        "Kingsway": "NNP",
        "Tanner Bridge": "NNP NNP",
        "Alder Square": "NNP NNP",
        "Weaver Museum": "NNP NNP",
        "Saint Agnes Church": "NNP NNP NNP",
        "Rowan Street Station": "NNP NNP NNP",
    },
    "food": {"Thai": "JJ", "Greek": "JJ", "Korean": "JJ", "Mexican": "JJ", "Lebanese": "JJ", "Polish": "JJ"},
    "area": {"old town": "JJ NN", "student quarter": "NN NN", "harbour district": "NN NN"},
    "family friendly": {"child friendly": "NN JJ", "adults only": "NNS RB"},
}

# From Penn Treebank tags to universal tags; only tags that the rules use.
UNIVERSAL: dict[str, str] = {
    ",": "PUNCT",
    ".": "PUNCT",
    ":": "PUNCT",
    "CC": "CCONJ",
    "CD": "NUM",
    "DT": "DET",
    "EX": "PRON",
    "IN": "ADP",
    "JJ": "ADJ",
    "MD": "AUX",
    "NN": "NOUN",
    "NNP": "PROPN",
    "NNS": "NOUN",
    "PRP": "PRON",
    "PRP$": "PRON",
    "RB": "ADV",
    "VB": "VERB",
    "VBG": "VERB",
    "VBN": "VERB",
    "VBP": "VERB",
    "VBZ": "VERB",
    "WDT": "PRON",
    "WRB": "ADV",
}

# Words whose universal tag their Penn Treebank tag does not settle.
EXCEPTIONS: dict[str, str] = {"is": "AUX", "are": "AUX", "do": "AUX", "if": "SCONJ"}

RULES: dict[str, tuple[str, ...]] = {
    "TEXT": (
        "(TOP {STATEMENT})",
        "(TOP {STATEMENT})",
        "(TOP {STATEMENT} {DETAIL})",
        "(TOP {QUESTION} {ANSWER})",
    ),
    "STATEMENT": (
        "{SUBJECT_FIRST}",
        "{SUBJECT_FIRST}",
        "{FRONTED}",
        "{FRONTED}",
        "{PARTICIPIAL}",
        "{EXISTENTIAL}",
        "{IMPERATIVE}",
        "{OTHER_SUBJECT}",
        "{HEADLINE}",
    ),
    "SUBJECT_FIRST": (
        "(S {NAMED} {VP} (. .))",
        "(S {NAMED} {VP} (. .))",
        "(S {NAMED} (VP {VP} (CC and) {DOES}) (. .))",
        "(S (NP {NAMED} (, ,) {A_VENUE} (, ,)) {DOES} (. .))",
        "(S {A_VENUE} {DOES} (. .))",
        "(S {A_VENUE} {DOES} (. .))",
    ),
    "FRONTED": (
        "(S {PLACE} (, ,) {NAMED} {VP} (. .))",
        "(S {PLACE} (, ,) {A_VENUE} {DOES} (. .))",
        "(SINV {PLACE} (VP (VBZ {STANDS})) {A_CALLED} (. .))",
        "(S {WITH} (, ,) {NAMED} {VP} (. .))",
        "(S (PP (IN for) {DISHES}) (, ,) {RECOMMENDED} (. .))",
    ),
    "PARTICIPIAL": (
        "(S (S (VP (VBN located) {PLACE})) (, ,) {NAMED} {VP} (. .))",
        "(S (S (VP (VBN rated) (NP {customer rating}))) (, ,) {NAMED} {VP} (. .))",
        "(S (S (VP (VBG serving) {DISHES})) (, ,) {NAMED} {VP} (. .))",
    ),
    "EXISTENTIAL": (
        "(S {PLACE} (NP (EX there)) (VP (VBZ is) {A_CALLED}) (. .))",
        "(S (NP (EX there)) (VP (VBZ is) (NP {A_CALLED} {PLACE})) (. .))",
        "(S (NP (EX there)) (VP (VBZ is) (NP {A_VENUE} {RELATIVE})) (. .))",
    ),
    "IMPERATIVE": (
        "(S (VP (VB {TRY}) {NAMED} (PP (IN for) {DISHES})) (. .))",
        "(S (VP (VB {TRY}) (NP (NP (DT the) {KIND}) {PLACE}) (PP (IN for) {DISHES})) (. .))",
        "(S (SBAR (IN if) (S (NP (PRP you)) (VP (VBP {WANT}) {WISH}))) (, ,) (VP (VB {TRY}) {NAMED}) (. .))",
    ),
    "OTHER_SUBJECT": (
        "(S (NP {food} (NNS {MEALS})) (VP (VBP are) (VP (VBN served) (PP (IN at) {NAMED}))) (. .))",
        "(S (NP (NNS customers)) (VP (VBP give) {NAMED} (NP {customer rating})) (. .))",
        "(S (NP (NP (NNS prices)) (PP (IN at) {NAMED})) (VP (VBP are) (ADJP {price})) (. .))",
        "(S (NP (NP (DT the) (NN {COOK})) (PP (IN at) {NAMED})) {MAKES} (. .))",
        "(S (NP (PRP you)) (VP (MD can) (VP (VB {ENJOY}) {DISHES} (PP (IN at) {NAMED}))) (. .))",
        "(S (NP (PRP you)) (VP (MD will) (VP (VB find) {NAMED} {PLACE})) (. .))",
    ),
    "HEADLINE": (
        "(FRAG {NAMED} (: :) (NP {DISHES} (CC and) (NP {customer rating})) (. .))",
        "(FRAG {NAMED} (: :) (NP (NP {price} (NNS prices)) (, ,) {DISHES} (CC and) {FEATURE}) (. .))",
        "(FRAG (ADJP (JJ new) {PLACE}) (: :) {A_CALLED} (. .))",
    ),
    "QUESTION": (
        "(SQ (VBP are) (NP (PRP you)) (VP (VBG looking) (PP (IN for) {WISH})) (. ?))",
        "(SQ (VBP do) (NP (PRP you)) (VP (VB {WANT}) {WISH}) (. ?))",
        "(SBARQ (WHADVP (WRB where)) (SQ (MD can) (NP (PRP you)) (VP (VB {ENJOY}) {DISHES} {PLACE})) (. ?))",
    ),
    "ANSWER": (
        "(S (VP (VB {TRY}) {NAMED} {PLACE}) (. .))",
        "(S (VP (VB {TRY}) {NAMED}) (. .))",
        "(S {RECOMMENDED} (. .))",
        "(S (NP (DT the) (NN answer)) (VP (VBZ is) {NAMED}) (. .))",
    ),
    "DETAIL": (
        "(S (NP (PRP it)) {VP} (. .))",
        "(S (NP (DT this) (NN {VENUE})) {DOES} (. .))",
        "(S (NP (NNS customers)) (VP (VBP rate) (NP (PRP it)) (NP {customer rating})) (. .))",
        "(S (NP (NNS prices)) (VP (VBP are) (ADJP {price})) (. .))",
        "(S (NP (DT the) (NN {WAITER})) (VP (VBZ is) (ADJP (RB {DEGREE}) (JJ {PLEASANT}))) (. .))",
        "(S (VP (VB expect) (NP {price} (NNS prices)) (CC and) {FEATURE}) (. .))",
        "(S (NP (PRP$ its) (NN {COOK})) {MAKES} (. .))",
        "(S (VP (VB book) (NP (DT a) (NN table)) (ADVP (RB early))) (. .))",
    ),
    "RECOMMENDED": ("(S (NP (PRP we)) (VP (VBP {SUGGEST}) {NAMED}))",),
    # Noun phrases for venues.
    "NAMED": ("(NP {name})",),
    "A_VENUE": ("(NP (DT a) {KIND})", "(NP (NP (DT a) {KIND}) {PLACE})", "(NP (NP (DT a) {KIND}) {WITH})"),
    "A_CALLED": ("(NP (NP (DT a) {KIND}) (VP (VBN called) {NAMED}))", "(NP (DT a) {KIND})"),
    "KIND": ("{price} {NOUN}", "{family friendly} {NOUN}", "{food} {NOUN}", "(JJ {LOVELY}) {Type}"),
    "NOUN": ("{Type}", "(NN {VENUE})"),
    "RELATIVE": (
        "(SBAR (WHNP (WDT that)) (S {DOES}))",
        "(SBAR (WHADVP (WRB where)) (S (NP (PRP you)) (VP (MD can) (VP (VB {ENJOY}) {DISHES}))))",
    ),
    "WISH": ("{DISHES}", "(NP (DT a) {KIND})", "(NP (NP (DT a) {KIND}) {PLACE})"),
    # Verb phrases whose subject is a venue; DOES also fits a subject that says what kind of venue it is.
    "VP": ("{DOES}", "{DOES}", "(VP (VBZ is) {A_VENUE})"),
    "DOES": ("{MAKES}", "{LIES}", "{RATED}", "{RATED}", "{COSTS}", "{WELCOMES}", "{OFFERS}"),
    "MAKES": ("(VP (VBZ {SERVES}) {DISHES})",),
    "LIES": ("(VP (VBZ {STANDS}) {PLACE})",),
    "RATED": (
        "(VP (VBZ has) (NP (NP (DT a) (NN rating)) (PP (IN of) (NP {customer rating}))))",
        "(VP (VBZ is) (VP (VBN rated) (NP {customer rating})))",
        "(VP (VBZ gets) (NP {customer rating}) (PP (IN from) (NP (NNS {PEOPLE}))))",
    ),
    "COSTS": (
        "(VP (VBZ has) (NP {price} (NNS prices)))",
        "(VP (VBZ keeps) (S (NP (PRP$ its) (NNS prices)) (ADJP {price})))",
    ),
    "WELCOMES": ("(VP (VBZ is) (ADJP {family friendly}))",),
    "OFFERS": ("(VP (VBZ offers) {FEATURE})", "(VP (VBZ opens) (ADVP (RB {EARLY})))"),
    # Smaller phrases.
    "DISHES": (
        "(NP {food} (NN {FOOD}))",
        "(NP {food} (NNS {MEALS}))",
        "(NP (JJ {TASTY}) {food} (NN {FOOD}))",
    ),
    "PLACE": (
        "(PP (IN {NEAR}) (NP {near}))",
        "(PP (IN {NEAR}) (NP {near}))",
        "(ADVP (RB not) (RB far) (PP (IN from) (NP {near})))",
        "(PP (IN in) (NP (DT the) {area}))",
        "(PP (IN in) (NP (NP (DT the) (NN heart)) (PP (IN of) (NP (DT the) {area}))))",
    ),
    "WITH": (
        "(PP (IN with) {FEATURE})",
        "(PP (IN with) (NP {price} (NNS prices)))",
        "(PP (IN with) (NP {customer rating}))",
    ),
    "FEATURE": ("(NP (DT a) (JJ {LOVELY}) (NN {GARDEN}))", "(NP (JJ {PLEASANT}) (NN {STAFF}))"),
    # Words.
    "COOK": ("kitchen", "chef"),
    "DEGREE": ("very", "always"),
    "EARLY": ("early", "daily"),
    "ENJOY": ("enjoy", "eat", "find"),
    "FOOD": ("food", "cooking", "cuisine"),
    "GARDEN": ("terrace", "view", "bar", "fireplace"),
    "LOVELY": ("lovely", "quiet", "charming", "elegant", "modern"),
    "MEALS": ("dishes", "meals", "lunches"),
    "NEAR": ("near", "beside"),
    "PEOPLE": ("visitors", "guests", "locals"),
    "PLEASANT": ("kind", "quick", "helpful", "polite"),
    "SERVES": ("serves", "prepares", "cooks"),
    "STAFF": ("staff", "service"),
    "STANDS": ("stands", "sits", "lies"),
    "SUGGEST": ("suggest", "recommend"),
    "TASTY": ("tasty", "fresh", "simple", "spicy"),
    "TRY": ("try", "visit", "choose"),
    "VENUE": ("place", "spot", "venue"),
    "WAITER": ("waiter", "owner"),
    "WANT": ("want", "like", "need"),
}
