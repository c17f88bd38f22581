//! What people read, whole: each screen is a file under `snapshots`, as it looks at 80 columns without colour.

use crate::fleet::{Fleet, binary};

/// Holds a text to its snapshot, with what differs from run to run replaced.
fn screen(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "<a time>");
    settings.add_filter(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<command>");
    settings.add_filter(r"/\S*/([a-z]+\.yaml)", "<folder>/$1");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// Fails unless every line fits, except for what cannot be broken.
fn fits(text: &str) {
    for line in text.lines() {
        let unbreakable = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or_default();
        assert!(line.chars().count() <= 80 || unbreakable > 60, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn plan_apply_and_explain() {
    let fleet = Fleet::start(24, 7);
    let plan = fleet.run(&["plan", "policies/"]).expect(2);
    fits(&plan.stdout);
    screen("plan", &plan.stdout);
    let applied = fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    fits(&applied.stdout);
    let summary = applied.stdout.split_once("\n\nPlan: ").expect("the plan comes first").1;
    screen("apply", &format!("Plan: {summary}"));
    let again = fleet.run(&["plan", "policies/"]).expect(0);
    screen("plan-again", &again.stdout);
    let explained = fleet.run(&["explain", "ecs-web-0019", "policies/"]).expect(0);
    fits(&explained.stdout);
    screen("explain", &explained.stdout);
}

#[test]
fn help() {
    for command in [
        &[][..],
        &["validate"],
        &["schema"],
        &["render"],
        &["render", "user-data"],
        &["render", "files"],
        &["render", "document"],
        &["plan"],
        &["apply"],
        &["explain"],
        &["halt"],
        &["resume"],
        &["history"],
        &["sim"],
        &["demo"],
    ] {
        let mut arguments = command.to_vec();
        arguments.push("--help");
        let output = binary(&arguments).env("COLUMNS", "80").output().expect("the binary runs");
        assert!(output.status.success());
        let name = ["help"].iter().chain(command).copied().collect::<Vec<_>>().join("-");
        screen(&name, &String::from_utf8(output.stdout).expect("help is text"));
    }
}

#[test]
fn a_wrong_call_is_an_error_with_code_one() {
    let output = binary(&["plan", "--no-such-option"]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1), "2 would mean that there are changes");
}

#[test]
fn mistakes_in_policies() {
    let fleet = Fleet::start(1, 1);
    let text = "policy: web\ntargets:\n  tags: { Role: web }\nproxy:\n  http: http://user:secret@proxy.example.com:3128\n\
                components: [docker, ecs_agent]\ndocker_restart: sometimes\nwaves: [1, 10%]\n";
    let path = fleet.policy("web.yaml", text);
    let output = binary(&["validate", &path]).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(!shown.contains("secret"), "a credential is shown:\n{shown}");
    screen("mistakes", &shown);
    let output = binary(&["validate", &path, "--format", "json"]).output().expect("the binary runs");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["diagnostics"].as_array().map(Vec::len), Some(4), "{json:#}");
    assert!(!json.to_string().contains("secret"));
}

#[test]
fn the_demo_tells_its_story() {
    let output = binary(&["demo"]).output().expect("the binary runs");
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.contains("Plan: change 1 instance;"), "the outside edit is found:\n{shown}");
    assert!(shown.trim_end().lines().last().is_some_and(|line| line.starts_with("Plan: nothing to change")), "{shown}");
}
