//! The invariants of `ARCHITECTURE.md` that the compiler cannot hold.

use std::fs;
use std::path::{Path, PathBuf};

use proxyfleet::catalog::Platform;

/// A source file: its path below the repository, and its text without comments.
struct Source {
    path: String,
    code: String,
    lines: usize,
}

fn sources(folder: &str, extension: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path: PathBuf = entry.expect("readable").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).expect("source files are text");
                let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
                let name = path.strip_prefix(root).expect("below the root").display().to_string();
                found.push(Source {
                    path: name,
                    code: code.collect::<Vec<_>>().join("\n"),
                    lines: text.lines().count(),
                });
            }
        }
    }
    assert!(!found.is_empty(), "no {extension} files in {folder}");
    found.sort_by(|left, right| left.path.cmp(&right.path));
    found
}

fn rust() -> Vec<Source> {
    sources("src", "rs")
}

/// Fails with every file of `sources` whose code holds one of `words`.
fn none_may_hold(sources: &[Source], words: &[&str], rule: &str) {
    let broken: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            let held = words.iter().filter(|word| source.code.contains(**word));
            held.map(|word| format!("{} holds `{word}`", source.path)).collect::<Vec<_>>()
        })
        .collect();
    assert!(broken.is_empty(), "{rule}:\n{}", broken.join("\n"));
}

fn outside(folders: &[&str]) -> Vec<Source> {
    rust().into_iter().filter(|source| !folders.iter().any(|folder| source.path.starts_with(folder))).collect()
}

fn inside(folders: &[&str]) -> Vec<Source> {
    let found: Vec<Source> =
        rust().into_iter().filter(|source| folders.iter().any(|folder| source.path.starts_with(folder))).collect();
    assert!(!found.is_empty(), "{folders:?} holds no source");
    found
}

#[test]
fn pure_modules_are_pure() {
    let pure = inside(&[
        "src/catalog/",
        "src/policy/",
        "src/fleet/",
        "src/plan/",
        "src/document/",
        "src/rollout/budget.rs",
        "src/rollout/machine.rs",
        "src/rollout/outcome.rs",
        "src/rollout/event.rs",
    ]);
    let words = [
        "tokio",
        "aws_",
        "axum",
        "std::fs",
        "std::env::",
        "TcpStream",
        "TcpListener",
        "UdpSocket",
        "ToSocketAddrs",
        "std::io",
        "std::process",
        "std::time::Instant",
        "std::thread",
        "SystemTime",
        "Instant::now",
        "Timestamp::now",
        "async fn",
        "rand::",
    ];
    none_may_hold(&pure, &words, "pure modules know no I/O, no clock, no randomness, no async, no AWS type");
}

#[test]
fn the_sdk_is_named_in_one_module() {
    none_may_hold(
        &outside(&["src/aws/"]),
        &["aws_sdk_", "aws_config", "aws_smithy"],
        "the SDK is named in src/aws only",
    );
}

#[test]
fn the_catalogue_alone_names_carrier_paths() {
    let paths: Vec<&str> = Platform::ALL
        .iter()
        .flat_map(|platform| platform.table().components)
        .flat_map(|row| std::iter::once(row.carrier.path).chain(row.rivals.iter().map(|rival| rival.path)))
        .collect();
    // The embedded hosts have these files as content, as a real host has; a unit test may name what it looks for.
    let product = outside(&["src/catalog/", "src/sim/"]);
    let product: Vec<Source> = product
        .into_iter()
        .map(|mut source| {
            source.code = source.code.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
            source
        })
        .filter(|source| !source.path.ends_with("tests.rs"))
        .collect();
    none_may_hold(&product, &paths, "paths on instances are named in src/catalog only");
    none_may_hold(&sources("src/document", "sh"), &paths, "the scripts get their paths from the catalogue");
}

#[test]
fn only_report_prints() {
    let others = outside(&["src/report/"]);
    none_may_hold(&others, &["println!", "eprintln!", "print!(", "anstream::"], "only src/report prints");
}

#[test]
fn modules_depend_downwards() {
    // Each module and those it may not use.
    let forbidden: [(&str, &[&str]); 9] = [
        ("src/catalog/", &["policy", "fleet", "plan", "document", "rollout", "aws", "report", "cli", "sim"]),
        ("src/policy/", &["fleet", "plan", "document", "rollout", "aws", "report", "cli", "sim"]),
        ("src/fleet/", &["policy", "plan", "document", "rollout", "aws", "report", "cli", "sim"]),
        ("src/plan/", &["document", "rollout", "aws", "report", "cli", "sim"]),
        ("src/document/", &["fleet", "rollout", "aws", "report", "cli", "sim"]),
        ("src/aws/", &["plan", "rollout", "report", "cli", "sim"]),
        ("src/rollout/", &["report", "cli", "sim"]),
        ("src/journal/", &["aws", "report", "cli", "sim"]),
        ("src/report/", &["cli", "sim"]),
    ];
    for (folder, modules) in forbidden {
        let uses: Vec<String> = modules.iter().map(|module| format!("crate::{module}::")).collect();
        let uses: Vec<&str> = uses.iter().map(String::as_str).collect();
        none_may_hold(&inside(&[folder]), &uses, &format!("{folder} uses only what stands above it"));
    }
    let sim_uses =
        ["crate::policy::", "crate::plan::", "crate::rollout::", "crate::aws::", "crate::report::", "crate::cli::"];
    none_may_hold(&inside(&["src/sim/"]), &sim_uses, "the embedded fleet and the engine meet over HTTP only");
}

#[test]
fn files_are_short() {
    let mut all = rust();
    all.extend(sources("src", "sh"));
    all.extend(sources("tests", "rs"));
    let long: Vec<String> = all
        .iter()
        .filter(|source| source.lines > 800)
        .map(|source| format!("{}: {}", source.path, source.lines))
        .collect();
    assert!(long.is_empty(), "longer than 800 lines: {long:?}");
}
