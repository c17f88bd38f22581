//! `render`: what a person sees of a policy before there is an instance. It needs no AWS, and no feature.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use proxyfleet::catalog::Platform;
use proxyfleet::document::{self, MAX_USER_DATA_BYTES};
use tempfile::TempDir;

struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn render(arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxyfleet"));
    command.arg("render").args(arguments).stdin(Stdio::null()).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    let output = command.output().expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("output is text");
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// Standard output of a call that succeeds without a word on the other stream.
#[track_caller]
fn shown(arguments: &[&str]) -> String {
    let ran = render(arguments);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{}", ran.stdout);
    ran.stdout
}

/// Standard error of a call that fails.
#[track_caller]
fn refused(arguments: &[&str]) -> String {
    let ran = render(arguments);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{}", ran.stderr);
    ran.stderr
}

fn screen(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

const POLICY: [&str; 2] = ["--policy", "ecs-production"];

/// A call about the policy of the repository.
fn on<'a>(what: &'a str, platform: &'a str) -> Vec<&'a str> {
    [what].into_iter().chain(POLICY).chain(["--platform", platform]).collect()
}

#[test]
fn files_of_every_platform() {
    let all: Vec<String> = Platform::ALL.iter().map(|platform| shown(&on("files", platform.name()))).collect();
    screen("render-files", &all.join("\n----\n\n"));
    let mut json = on("files", "amazon-linux-2");
    json.extend(["--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&shown(&json)).expect("JSON");
    assert_eq!(json["format"], "proxyfleet-files/1");
    assert_eq!(json["files"][0]["path"], "/etc/ecs/ecs.config");
    assert!(json["files"][0]["content"].as_str().expect("text").starts_with("HTTP_PROXY=http://10.0.0.131:3128\n"));
}

#[test]
fn user_data_of_every_platform() {
    for platform in Platform::LINUX {
        let whole = shown(&on("user-data", platform.name()));
        assert!(whole.starts_with("#cloud-boothook\n#!/bin/sh\n") && whole.len() < MAX_USER_DATA_BYTES, "{platform}");
        assert!(whole.contains("\nCLUSTER=''\n"), "{whole}");
        let mut call = on("user-data", platform.name());
        call.extend(["--cluster", "web", "policies"]);
        assert!(shown(&call).contains("\nCLUSTER='web'\n"));
        call.extend(["--as", "mime-part"]);
        let part = shown(&call);
        assert!(part.starts_with("Content-Type: text/cloud-boothook;"), "{part}");
        call.extend(["--format", "json"]);
        let json: serde_json::Value = serde_json::from_str(&shown(&call)).expect("JSON");
        assert_eq!((&json["format"], &json["user_data"]), (&"proxyfleet-user-data/1".into(), &part.into()));
    }
    let windows = [&on("user-data", "windows")[..], &["--cluster", "web"]].concat();
    let whole = shown(&windows);
    assert!(whole.starts_with("<powershell>\n") && whole.len() < MAX_USER_DATA_BYTES, "{whole}");
    assert!(whole.contains("\n$Cluster = 'web'\n") && whole.ends_with("<persist>true</persist>\n"), "{whole}");
    let script = shown(&[&windows[..], &["--as", "script"]].concat());
    assert!(!script.contains("<powershell>") && script.contains("Initialize-ECSAgent -Cluster $Cluster"), "{script}");
    let script = shown(&[&on("user-data", "amazon-linux-2")[..], &["--as", "script"]].concat());
    assert!(script.starts_with("#!/bin/sh\n") && script.contains("each_component"), "{script}");
}

#[test]
fn documents_as_they_are_published() {
    assert_eq!(shown(&["document", "--observe"]), document::observe().content);
    for document in document::all() {
        if let Some(platform) = document.platform {
            assert_eq!(shown(&["document", "--platform", platform.name()]), document.content);
        }
    }
}

#[test]
fn what_cannot_be_rendered_is_said_in_plain_words() {
    let folder = TempDir::new().expect("a folder");
    let text = "policy: one\ntargets:\n  tags: { Role: web }\n  platforms: [amazon-linux-2, amazon-linux-2023]\n\
                proxy:\n  http: http://10.0.0.131:3128\ncomponents: [docker]\n---\n\
                policy: gone\nstate: absent\ntargets:\n  tags: { Role: batch }\ncomponents: [docker]\n---\n\
                policy: packages\ntargets:\n  tags: { Role: build }\nproxy:\n  http: http://10.0.0.131:3128\n\
                components: [package-manager]\n";
    let path = folder.path().join("policies.yaml");
    std::fs::write(&path, text).expect("writable");
    let path = path.to_str().expect("a path");
    let user_data = |policy, platform| vec!["user-data", path, "--policy", policy, "--platform", platform];
    let mut calls = vec![
        ("an unknown policy", user_data("two", "amazon-linux-2")),
        ("another platform", user_data("one", "amazon-linux-1")),
        ("absent", user_data("gone", "amazon-linux-2")),
        ("nothing there", user_data("packages", "windows")),
        ("absent files", vec!["files", path, "--policy", "gone", "--platform", "amazon-linux-2"]),
        ("an unknown platform", user_data("one", "amazon-linux-3")),
        (
            "a part of a message",
            vec!["user-data", "--policy", "ecs-production", "--platform", "windows", "--as", "mime-part"],
        ),
        ("no policy named", vec!["files", path, "--platform", "amazon-linux-2"]),
        ("no document named", vec!["document"]),
        ("two documents named", vec!["document", "--observe", "--platform", "amazon-linux-2"]),
    ];
    for cluster in ["a b", "it's", "$(id)", ""] {
        let mut call = user_data("one", "amazon-linux-2");
        call.extend(["--cluster", cluster]);
        calls.push(("a cluster", call));
    }
    let mut said = String::new();
    for (case, call) in calls {
        let _ = writeln!(said, "# {case}\n{}", refused(&call));
    }
    screen("render-errors", &said);
}

#[test]
fn mistakes_in_policies_end_it() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("web.yaml");
    std::fs::write(&path, "policy: web\nproxy:\n  http: http://user:secret@proxy.example.com:3128\n")
        .expect("writable");
    let said = refused(&["files", path.to_str().expect("a path"), "--policy", "web", "--platform", "amazon-linux-2"]);
    assert!(said.contains("error") && !said.contains("secret"), "{said}");
}
