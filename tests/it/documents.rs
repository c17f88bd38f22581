//! The documents as they are published: golden copies, limits, patterns, and what shellcheck says of the scripts.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and say what they leave out")]

use std::path::{Path, PathBuf};
use std::process::Command;

use proxyfleet::catalog::{Component, Platform, ProxyValues};
use proxyfleet::document::{self, Action, ApplyParameters, Document, MAX_DOCUMENT_BYTES};
use proxyfleet::policy::{DockerRestart, PolicyName, Preflight};
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn parse(document: &Document) -> Value {
    serde_json::from_str(&document.content).unwrap()
}

/// The scripts of a document that an action runs, as the agent joins their lines.
fn scripts(document: &Document, action: &str) -> Vec<String> {
    let steps = parse(document)["mainSteps"].as_array().unwrap().clone();
    let steps = steps.iter().filter(|step| step["action"] == action);
    let lines = steps.map(|step| serde_json::from_value::<Vec<String>>(step["inputs"]["runCommand"].clone()).unwrap());
    lines.map(|lines| lines.join("\n") + "\n").collect()
}

const SHELL: &str = "aws:runShellScript";
const POWERSHELL: &str = "aws:runPowerShellScript";

fn parameters() -> ApplyParameters {
    let bypass = [".internal.example.com", "10.0.0.15"];
    let values = ProxyValues::new("http://10.0.0.131:3128".to_owned(), "http://10.0.0.131:3128".to_owned(), bypass);
    ApplyParameters {
        values: Some(values),
        components: Component::ALL[..4].to_vec(),
        docker_restart: DockerRestart::Defer,
        preflight: Preflight::Require,
        policy: PolicyName::parse("ecs-production").unwrap(),
        run: String::new(),
        action: Action::Apply,
    }
}

/// `UPDATE_GOLDEN=1 cargo test documents` writes the copies anew.
#[test]
fn documents_equal_their_golden_copies() {
    for document in document::all() {
        let path = root().join("tests/golden/documents").join(format!("{}.json", document.name));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &document.content).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        let different = golden.lines().zip(document.content.lines()).position(|(left, right)| left != right);
        assert!(
            golden == document.content,
            "{} differs from line {:?}; if that is meant, run with UPDATE_GOLDEN=1 and read the diff",
            path.display(),
            different.map(|line| line + 1)
        );
    }
}

#[test]
fn a_document_is_named_by_its_content_and_fits() {
    let documents = document::all();
    let names: Vec<&str> = documents.iter().map(|document| document.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "ProxyFleet-Observe",
            "ProxyFleet-Apply-AmazonLinux1",
            "ProxyFleet-Apply-AmazonLinux2",
            "ProxyFleet-Apply-AmazonLinux2023",
            "ProxyFleet-Apply-Windows"
        ]
    );
    for document in &documents {
        assert!(document.version_name.len() == 64 && document.version_name.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(document.content.is_ascii(), "{}: every reader takes ASCII the same way", document.name);
        // The parameters count towards the same limit. 64 is more than a name and its punctuation, or a word of a choice.
        let parameters =
            parse(document)["parameters"].as_object().into_iter().flatten().fold(0, |sum, (_, parameter)| {
                sum + 64 + usize::try_from(parameter["maxChars"].as_u64().unwrap_or(0)).unwrap()
            });
        let size = document.content.len();
        assert!(size + parameters <= MAX_DOCUMENT_BYTES, "{}: {size} and {parameters}", document.name);
    }
    assert_eq!(document::all(), documents, "the same program makes the same documents");
}

#[test]
fn a_script_holds_no_braces_but_those_of_its_parameters() {
    for document in document::all() {
        let declared: Vec<String> =
            parse(&document)["parameters"].as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect();
        let text = [SHELL, POWERSHELL].map(|action| scripts(&document, action).concat()).concat();
        let used: Vec<String> =
            text.split("{{").skip(1).map(|rest| rest.split("}}").next().unwrap().trim().to_owned()).collect();
        assert_eq!(used, declared, "{}", document.name);
    }
}

#[test]
fn the_observe_document_takes_no_parameters_and_has_a_step_for_each_kind_of_system() {
    let body = parse(&document::observe());
    assert_eq!(body["parameters"], Value::Null);
    let steps: Vec<_> = body["mainSteps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["action"].as_str().unwrap(), step["precondition"]["StringEquals"].clone()))
        .collect();
    assert_eq!(
        steps,
        [
            (SHELL, serde_json::json!(["platformType", "Linux"])),
            (POWERSHELL, serde_json::json!(["platformType", "Windows"]))
        ]
    );
}

#[test]
fn parameters_match_their_declarations() {
    let absent = ApplyParameters { values: None, ..parameters() };
    for (platform, parameters) in Platform::LINUX.into_iter().flat_map(|p| [(p, parameters()), (p, absent.clone())]) {
        let body = parse(&document::apply(platform));
        let map = parameters.to_map();
        assert_eq!(map.keys().collect::<Vec<_>>(), {
            let mut names: Vec<&String> = body["parameters"].as_object().unwrap().keys().collect();
            names.sort();
            names
        });
        for (name, values) in map {
            let declared = &body["parameters"][&name];
            assert_eq!(values.len(), 1);
            assert!(pattern(declared).is_match(&values[0]), "{name}: {values:?}");
            assert!(values[0].len() as u64 <= declared["maxChars"].as_u64().unwrap_or(u64::MAX), "{name}: {values:?}");
        }
    }
}

fn pattern(parameter: &Value) -> regex::Regex {
    regex::Regex::new(parameter["allowedPattern"].as_str().unwrap()).unwrap()
}

/// Each of these would mean something to a shell, to PowerShell, to the agent's templates or to a carrier file.
const INJECTIONS: &[&str] = &[
    "'",
    "\"",
    "`",
    "``",
    "`id`",
    "$",
    "$$",
    "$(id)",
    "${IFS}",
    "$((1))",
    "%",
    "%n",
    ";",
    ";;",
    "|",
    "||",
    "&",
    "&&",
    "<",
    ">",
    ">>",
    "<(",
    "(",
    ")",
    "{",
    "}",
    "{{",
    "}}",
    "{{ ssm:/secret }}",
    "{{ssm:x:1}}",
    "{{ State }}",
    "[",
    "]",
    "!",
    "#",
    "~",
    "\\",
    "\\n",
    "\n",
    "\r",
    "\r\n",
    "\t",
    "\0",
    "\u{1}",
    "\u{7f}",
    " ",
    "  ",
    "\u{a0}",
    "\u{2028}",
    "\u{200b}",
    "\u{ff1b}",
    "é",
    "İ",
    "\u{1f600}",
    "@",
    "user:secret@",
    "=",
    "?",
    "^",
    "*",
    "+",
    "a'; rm -rf / #",
    "';id;'",
    "\nid\n",
    "a\nid",
    "id\n",
    "\nExecStart=/bin/id",
    "\u{feff}",
];

#[test]
fn no_pattern_lets_an_injection_through() {
    for platform in Platform::LINUX {
        let body = parse(&document::apply(platform));
        let good = parameters().to_map();
        for (name, declared) in body["parameters"].as_object().unwrap() {
            let text = declared["allowedPattern"].as_str().unwrap();
            let anchored = text.split_once('|').map_or(text, |(first, rest)| if first == "^$" { rest } else { text });
            assert!(anchored.starts_with('^') && anchored.ends_with('$'), "{name}: {text}");
            let pattern = pattern(declared);
            let good = good[name][0].as_str();
            for injection in INJECTIONS {
                for attempt in [
                    (*injection).to_owned(),
                    format!("{good}{injection}"),
                    format!("{injection}{good}"),
                    format!("{good}{injection}{good}"),
                    format!("{}{injection}{}", &good[..good.len() / 2], &good[good.len() / 2..]),
                ] {
                    assert!(!pattern.is_match(&attempt), "{name} accepts {attempt:?}");
                }
            }
        }
    }
}

#[test]
fn patterns_use_only_what_java_and_go_share() {
    for platform in Platform::LINUX {
        let body = parse(&document::apply(platform));
        for (name, declared) in body["parameters"].as_object().unwrap() {
            let text = declared["allowedPattern"].as_str().unwrap();
            for construct in ["(?", "\\A", "\\z", "\\Z", "\\d", "\\w", "\\s", "\\b", "[[:", "*+", "++", "?+", "&&"] {
                assert!(!text.contains(construct), "{name}: {construct} in {text}");
            }
            for count in text.split('{').skip(1).filter_map(|rest| rest.split(['}', ',']).next()) {
                assert!(count.parse::<u32>().unwrap() <= 1000, "{name}: {text}");
            }
        }
    }
}

/// Only tests, documents and packaging know these; the scripts get every path from the catalogue (decision D1).
#[test]
fn sources_name_no_path_of_the_catalogue() {
    for source in sources("sh").into_iter().chain(sources("ps1")) {
        let text = std::fs::read_to_string(&source).unwrap();
        for row in Platform::LINUX.into_iter().flat_map(|platform| platform.table().components) {
            let rivals = row.rivals.iter().map(|rival| rival.path);
            let fallback = row.fallback.iter().map(|carrier| carrier.path);
            for path in rivals.chain(fallback).chain([row.carrier.path]) {
                assert!(!text.contains(path), "{} names {path}", source.display());
            }
        }
    }
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let folder = root().join("src/document").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 7);
    paths
}

/// Runs shellcheck; `None` where it is not installed.
fn shellcheck(path: &Path, more: &[&str]) -> Option<String> {
    let output = Command::new("shellcheck").args(["--shell=sh", "--format=gcc"]).args(more).arg(path).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr))
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let folder = tempfile::tempdir().unwrap();
    // A source is a part of a script: it uses what other parts define and defines what they use.
    let mut checks: Vec<(PathBuf, &[&str])> =
        sources("sh").into_iter().map(|path| (path, ["--exclude=SC2034,SC2317,SC2154"].as_slice())).collect();
    for document in document::all() {
        for script in scripts(&document, SHELL) {
            let path = folder.path().join(&document.name);
            std::fs::write(&path, script).unwrap();
            // It does not see that functions are called through `each_component`.
            checks.push((path, &["--exclude=SC2317"]));
        }
    }
    for (path, more) in checks {
        let Some(said) = shellcheck(&path, more) else {
            println!("shellcheck is not installed: the scripts were not checked");
            return;
        };
        assert!(said.is_empty(), "{said}");
    }
}

/// `winhost check`, where it can run, finds much more (`windows_apply`).
#[test]
fn powershell_scripts_are_powershell() {
    let mut count = 0;
    for document in document::all() {
        for script in scripts(&document, POWERSHELL) {
            let errors = poshtree::v2::parse(&script).errors;
            assert!(errors.is_empty(), "{}: {errors:?}", document.name);
            // Lines lose their indentation on the way into a document, so no text may stretch over several.
            assert!(!script.contains("@'\n") && !script.contains("@\"\n"), "{} has a here-string", document.name);
            count += 1;
        }
    }
    assert_eq!(count, 2);
}
