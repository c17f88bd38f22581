//! Policy files: what is accepted, which mistake is found where, and that the published schema agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use proxyfleet::catalog::{NO_PROXY_PATTERN, PROXY_URL_PATTERN, Platform, ValueRule};
use proxyfleet::policy::{
    Budgets, Code, Count, Diagnostic, Loaded, Rollout, Severity, SourceFile, Waves, duration, load, masked_text, schema,
};
use regex::Regex;

/// The policy files below a folder of the repository, in a stable order.
fn files_below(folder: &str) -> Vec<SourceFile> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be listed") {
            let path = entry.expect("the folder can be listed").path();
            if path.is_dir() { collect(&path, found) } else { found.push(path) }
        }
    }
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut paths);
    paths.sort();
    assert!(!paths.is_empty(), "no file below {folder}");
    paths
        .iter()
        .map(|path| source(&path.display().to_string(), &std::fs::read_to_string(path).expect("UTF-8")))
        .collect()
}

fn source(name: &str, text: &str) -> SourceFile {
    SourceFile { name: name.to_owned(), text: text.to_owned() }
}

fn load_one(file: &SourceFile) -> Loaded {
    load(std::slice::from_ref(file))
}

/// `PF0202 at 7:9` for each.
fn summary(diagnostics: &[Diagnostic]) -> Vec<String> {
    let place = |diagnostic: &Diagnostic| {
        diagnostic.spans.first().map_or_else(String::new, |span| format!(" at {}:{}", span.line, span.column))
    };
    diagnostics.iter().map(|diagnostic| format!("{}{}", diagnostic.code, place(diagnostic))).collect()
}

/// Message, help and labels, for reading in a snapshot.
fn described(diagnostics: &[Diagnostic]) -> String {
    let mut lines = Vec::new();
    for diagnostic in diagnostics {
        lines.push(format!("{}[{}]: {}", diagnostic.severity.name(), diagnostic.code, diagnostic.message));
        lines.extend(diagnostic.spans.iter().map(|span| format!("  {}:{} {}", span.line, span.column, span.label)));
        lines.extend(diagnostic.help.iter().map(|help| format!("  help: {help}")));
    }
    lines.join("\n")
}

/// What a file says about itself in its first lines.
fn expected(file: &SourceFile) -> Vec<&str> {
    file.text.lines().map_while(|line| line.strip_prefix("# expect: ")).collect()
}

/// Mistakes that no file of a sensible size shows.
fn generated() -> Vec<SourceFile> {
    let large = format!("# expect: PF0102 at 1:1\n# {}\n", "x".repeat(1024 * 1024));
    let documents = format!("# expect: PF0105 at 1002:1\n{}", "---\n".repeat(1001));
    // A hundred mistakes are shown; 101 lines of comment and 4 of a good policy are before them.
    let mut many: Vec<String> = (106..206).map(|line| format!("# expect: PF0202 at {line}:1")).collect();
    many.push("# expect: PF0109 at 1:1".to_owned());
    let good =
        ["policy: many", "targets: { tags: { Environment: production } }", "state: absent", "components: [docker]"];
    many.extend(good.map(str::to_owned));
    many.extend((0..150).map(|number| format!("key-{number}: value")));
    vec![source("large", &large), source("documents", &documents), source("many", &many.join("\n"))]
}

#[test]
fn valid_samples_have_no_mistakes() {
    for file in files_below("tests/policies/valid") {
        let loaded = load_one(&file);
        assert_eq!(described(&loaded.diagnostics), "", "{}", file.name);
        assert!(!loaded.set.policies.is_empty(), "{}", file.name);
    }
}

#[test]
fn the_example_policies_load_together_without_mistakes() {
    let loaded = load(&files_below("policies"));
    assert_eq!(described(&loaded.diagnostics), "");
    let names: Vec<_> = loaded.set.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["ecs-development", "ecs-production", "batch-workers"]);
}

#[test]
fn at_most_one_example_policy_matches_any_instance() {
    let set = load(&files_below("policies")).set;
    for environment in ["production", "staging", "development"] {
        for role in ["ecs-web", "ecs-worker", "ecs-ingest", "batch"] {
            let tags = BTreeMap::from([("Environment".into(), environment.into()), ("Role".into(), role.into())]);
            let matching = set.policies.iter().filter(|policy| policy.targets.matches_tags(&tags)).count();
            assert_eq!(matching, 1, "{environment} {role}");
        }
    }
}

#[test]
fn invalid_samples_have_the_mistakes_they_expect_where_they_expect_them() {
    for file in files_below("tests/policies/invalid").into_iter().chain(generated()) {
        let found = load_one(&file).diagnostics;
        let expected = expected(&file);
        assert!(!expected.is_empty(), "{} expects nothing; it has {:#?}", file.name, summary(&found));
        assert_eq!(summary(&found), expected, "{}\n{}", file.name, described(&found));
    }
}

#[test]
fn every_kind_of_mistake_has_a_sample() {
    let files = files_below("tests/policies/invalid").into_iter().chain(generated());
    let found: BTreeSet<Code> =
        files.flat_map(|file| load_one(&file).diagnostics).map(|diagnostic| diagnostic.code).collect();
    for code in Code::ALL {
        assert!(found.contains(&code), "no sample for {code}: {}", code.explanation());
    }
}

#[test]
fn messages_read_well() {
    let described = |file: SourceFile| {
        let name = Path::new(&file.name).file_name().expect("a file").to_string_lossy();
        format!("--- {name}\n{}", described(&load_one(&source(&name, &file.text)).diagnostics))
    };
    let texts: Vec<String> = files_below("tests/policies/invalid").into_iter().map(described).collect();
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn a_policy_says_what_was_written() {
    let files = files_below("tests/policies/valid");
    let file = files.iter().find(|file| file.name.ends_with("everything.yaml")).expect("it is there");
    let set = load_one(file).set;
    insta::assert_debug_snapshot!(set.get("everything").map(|policy| {
        let origin = policy.origin.line;
        (origin, &policy.state, &policy.components, &policy.targets.platforms, &policy.rollout, policy.priority)
    }));
    let tags = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let good = [("Environment", "staging-1"), ("aws:autoscaling:groupName", "ecs-a"), ("Empty", ""), ("010", "no")];
    let targets = &set.policies[0].targets;
    assert!(targets.matches_tags(&tags(&good)));
    assert!(!targets.matches_tags(&tags(&good[1..])));
    assert!(!targets.matches_tags(&tags(&[&good[..], &[("ProxyExempt", "yes")]].concat())));
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let files = files_below("tests/policies/valid");
    let file = files.iter().find(|file| file.name.ends_with("minimal.yaml")).expect("it is there");
    let set = load_one(file).set;
    let policy = set.get("minimal").expect("it loads");
    assert_eq!(policy.targets.platforms, Platform::ALL);
    assert_eq!((policy.docker_restart.name(), policy.preflight.name(), policy.priority), ("defer", "require", 100));
    let rollout = &policy.rollout;
    assert_eq!(*rollout, Rollout::default());
    let ends: Vec<String> = rollout.waves.ends().iter().map(ToString::to_string).collect();
    assert_eq!(ends, ["1", "10%", "50%", "100%"]);
    let limits = [rollout.max_concurrency, rollout.max_unavailable, rollout.docker_max_unavailable];
    assert_eq!(limits.map(|limit| limit.to_string()), ["10%", "25%", "10%"]);
    assert_eq!((rollout.spread_by.as_str(), rollout.budgets), ("Cluster", Budgets::all(Count::Absolute(0))));
    assert_eq!((duration::text(rollout.soak).as_str(), rollout.on_failure.name()), ("0s", "halt"));
    assert_eq!((&rollout.gate, &rollout.alarm), (&None, &None));
    let values = policy.state.values().expect("it is present");
    assert_eq!((values.http.as_str(), values.https.as_str()), ("http://10.0.0.131:3128", "http://10.0.0.131:3128"));
}

#[test]
fn a_budget_counts_before_max_errors_and_max_errors_before_the_default() {
    let budgets = |rollout: &str| {
        let loaded = load_one(&source("p.yaml", &with_rollout(rollout)));
        assert_eq!(described(&loaded.diagnostics), "");
        let Budgets { failed, rolled_back, unreachable, unknown } = loaded.set.policies[0].rollout.budgets;
        [failed, rolled_back, unreachable, unknown].map(|budget| budget.to_string()).join(" ")
    };
    assert_eq!(budgets("{}"), "0 0 0 0");
    assert_eq!(budgets("{ max_errors: 3 }"), "3 3 3 3");
    assert_eq!(budgets("{ budgets: { failed: 2 } }"), "2 0 0 0");
    assert_eq!(budgets("{ max_errors: 5%, budgets: { rolled_back: 1, unknown: 0 } }"), "5% 1 5% 0");
}

#[test]
fn a_gate_needs_its_command_alone() {
    let loaded = load_one(&source("p.yaml", &with_rollout("{ gate: { command: [./is-healthy] } }")));
    assert_eq!(described(&loaded.diagnostics), "");
    let gate = loaded.set.policies[0].rollout.gate.as_ref().expect("a gate");
    assert_eq!(gate.command, ["./is-healthy"]);
    assert_eq!([gate.timeout, gate.hold].map(duration::text), ["1m", "30m"]);
}

/// A policy with this rollout, written as a flow mapping.
fn with_rollout(rollout: &str) -> String {
    format!("policy: a\ntargets: {{ tags: {{ A: a }} }}\nstate: absent\ncomponents: [docker]\nrollout: {rollout}\n")
}

#[test]
fn mistakes_of_all_files_are_found_in_one_go() {
    let good = "targets: { tags: { Environment: a } }\nstate: absent\ncomponents: [docker]\n";
    let loaded = load(&[
        source("a.yaml", &format!("policy: same\n{good}")),
        source("b.yaml", "policy: [\n"),
        source("c.yaml", &format!("policy: same\n{good}colour: red\npriority: 5\n")),
    ]);
    let found: Vec<_> = loaded.diagnostics.iter().map(|found| (found.spans[0].file.as_str(), found.code)).collect();
    let expected = [("b.yaml", Code::Syntax), ("c.yaml", Code::DuplicatePolicyName), ("c.yaml", Code::UnknownKey)];
    assert_eq!(found, expected);
    let places = |diagnostic: &Diagnostic| diagnostic.spans.iter().map(|span| span.file.clone()).collect::<Vec<_>>();
    assert_eq!(places(&loaded.diagnostics[1]), ["c.yaml", "a.yaml"]);
    assert!(loaded.has_errors());
    assert_eq!(loaded.set.policies.len(), 1, "a policy with mistakes is not in the set");
}

#[test]
fn credentials_are_never_told() {
    for file in files_below("tests/policies/invalid") {
        if !file.text.contains("user:secret") {
            continue;
        }
        let loaded = load_one(&file);
        let everything = format!("{:?} {:?} {:?}", loaded, file, described(&loaded.diagnostics));
        assert!(!everything.contains("secret") && !everything.contains("more"), "{everything}");
        let shown = masked_text(&file);
        assert!(!shown.contains("secret") && !shown.contains("more@"), "{shown}");
    }
}

#[test]
fn the_schema_accepts_valid_samples_and_refuses_what_it_can_see() {
    let validator = jsonschema::validator_for(&schema()).expect("the schema is one");
    let documents = |file: &SourceFile| -> Vec<serde_json::Value> {
        let read = |document| <serde_json::Value as serde::Deserialize>::deserialize(document);
        serde_yaml::Deserializer::from_str(file.text.trim_start_matches('\u{feff}'))
            .map(read)
            .map_while(Result::ok)
            .filter(|value| !value.is_null())
            .collect()
    };
    for file in files_below("tests/policies/valid").into_iter().chain(files_below("policies")) {
        for document in documents(&file) {
            let errors: Vec<_> = validator.iter_errors(&document).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", file.name);
        }
    }
    for name in [
        "not-a-mapping",
        "unknown-key",
        "missing-key",
        "empty-value",
        "wrong-type",
        "unknown-value",
        "unknown-platform",
        "empty-list",
        "bad-count",
        "bad-policy-name",
        "no-target-tags",
        "bad-tag-key",
        "bad-tag-value",
        "unquoted",
        "proxy-not-wanted",
        "not-a-url",
        "proxy-scheme",
        "credentials",
        "missing-port",
        "bad-port",
        "url-path",
        "bad-host",
        "bad-waves",
        "bad-limit-of-a-wave",
        "bad-duration",
        "bad-gate",
        "bad-alarm-name",
        "bad-spread-by",
        "unknown-on-failure",
        "wrong-type-in-rollout",
        "unknown-key-in-rollout",
    ] {
        let path = format!("{}/tests/policies/invalid/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let file = source(name, &std::fs::read_to_string(path).expect("the sample is there"));
        let documents = documents(&file);
        assert!(!documents.is_empty(), "{name} is YAML");
        assert!(documents.iter().any(|document| !validator.is_valid(document)), "the schema accepts {name}");
    }
}

#[test]
fn the_schema_is_this() {
    insta::assert_json_snapshot!(schema());
}

/// What must hold whatever the text is.
fn check_invariants(text: &str) -> Result<(), TestCaseError> {
    static URL: LazyLock<Regex> = LazyLock::new(|| Regex::new(PROXY_URL_PATTERN).expect("it compiles"));
    static LIST: LazyLock<Regex> = LazyLock::new(|| Regex::new(NO_PROXY_PATTERN).expect("it compiles"));
    let file = source("any.yaml", text);
    let loaded = load_one(&file);
    for diagnostic in &loaded.diagnostics {
        for span in &diagnostic.spans {
            prop_assert!(file.text.get(span.range.clone()).is_some(), "{:?}", diagnostic);
        }
        prop_assert_eq!(diagnostic.severity, diagnostic.code.severity());
    }
    for values in loaded.set.policies.iter().filter_map(|policy| policy.state.values()) {
        prop_assert!(URL.is_match(&values.http) && URL.is_match(&values.https), "{values:?}");
        let bypass = values.value(ValueRule::BypassWithSocket);
        prop_assert!(LIST.is_match(&bypass) && bypass.len() <= 2000, "{bypass}");
    }
    let works = loaded.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
        || !loaded.set.policies.is_empty()
        || loaded.diagnostics.iter().any(|diagnostic| diagnostic.code == Code::EmptyFile);
    prop_assert!(works, "neither policy nor mistake");
    Ok(())
}

/// An end of a wave, often one that ends a list well.
fn wave_end() -> impl Strategy<Value = Count> {
    let share = (0u8..=100).prop_map(Count::Percent);
    prop_oneof![2 => (0u32..9).prop_map(Count::Absolute), 2 => share, 1 => Just(Waves::EVERYBODY)]
}

proptest! {
    #[test]
    fn waves_are_accepted_when_they_are_waves(ends in prop::collection::vec(wave_end(), 0..5)) {
        let words: Vec<String> = ends.iter().map(ToString::to_string).collect();
        let loaded = load_one(&source("p.yaml", &with_rollout(&format!("{{ waves: [{}] }}", words.join(", ")))));
        let found = loaded.set.policies.first().map(|policy| policy.rollout.waves.clone());
        prop_assert_eq!(found, Waves::new(ends), "{}", described(&loaded.diagnostics));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}") {
        check_invariants(&text)?;
    }

    #[test]
    fn no_yaml_like_text_makes_it_panic(text in "[a-c01&*!%@`|>?:,#\\[\\]{}'\"\\\\~<=. \r\n\t\u{85}\u{2028}\u{feff}-]{0,120}") {
        check_invariants(&text)?;
    }

    #[test]
    fn no_change_of_a_valid_policy_makes_it_panic(
        sample in any::<prop::sample::Index>(),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..12, "[&*!?:,{}\\[\\]'\" \n<~#a01-]{0,6}"), 1..6),
    ) {
        let samples = files_below("tests/policies/valid");
        let mut characters: Vec<char> = sample.get(&samples).text.chars().collect();
        for (place, length, insert) in cuts {
            let start = place.index(characters.len() + 1);
            let end = (start + length).min(characters.len());
            characters.splice(start..end, insert.chars());
        }
        check_invariants(&characters.into_iter().collect::<String>())?;
    }
}

/// Hostile files: each must be refused, and quickly. The time is that of a slow machine many times over.
#[test]
fn no_text_makes_it_hang() {
    let level = |level: usize| format!("a{level}: &a{level} [{}]", format!("*a{}, ", level - 1).repeat(9));
    let levels: Vec<String> = (1..15).map(level).collect();
    let aliases = format!("a0: &a0 [x, x, x, x, x, x, x, x, x]\n{}", levels.join("\n"));
    let lines = |lines: Vec<String>| lines.join("\n");
    let size = 1024 * 1024 - 1;
    let full_of = |piece: &str| piece.repeat(size / piece.len());
    let cases = [
        aliases,
        full_of("["),
        full_of("{"),
        full_of("{a: "),
        full_of("- "),
        full_of("? "),
        full_of("[],\n"),
        full_of("a: b\n"),
        full_of("*a "),
        full_of("&a "),
        full_of("!"),
        full_of("\""),
        full_of("'a' "),
        full_of("#\n"),
        full_of("---\n"),
        full_of("@"),
        full_of("http://u:p@"),
        full_of("\\"),
        format!("a: {}", full_of("x")),
        format!("policy: \"{}\"", full_of("@").split_at(1000).0),
        format!("[{}]", "a,".repeat(size / 2 - 2)),
        lines((0..80_000).map(|number| format!("k{number}: v")).collect()),
        lines((0..999).map(|number| format!("---\npolicy: {number}")).collect()),
    ];
    for case in cases {
        let start = std::time::Instant::now();
        let file = source("hostile.yaml", &case);
        let loaded = load_one(&file);
        let shown = masked_text(&file);
        let head: String = case.chars().take(30).collect();
        assert!(loaded.has_errors() || loaded.set.policies.is_empty(), "{head}");
        assert_eq!(shown.len(), case.len());
        let taken = start.elapsed();
        assert!(taken < std::time::Duration::from_secs(30), "{head} takes {taken:?}");
    }
}
