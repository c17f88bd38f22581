//! The stop switch: the library and the binary against the embedded fleet.

use proxyfleet::aws::{AwsError, Class, HaltScope, Session, SessionOptions};
use proxyfleet::policy::PolicyName;
use serde_json::json;

use crate::fault_proxy::{self, Fault};
use crate::fleet::{Fleet, Ran};
use crate::wire_client::ok;

fn policy(name: &str) -> PolicyName {
    PolicyName::parse(name).expect("a good name")
}

async fn open(url: String) -> Session {
    let options = SessionOptions { endpoint_url: Some(url), ..SessionOptions::default() };
    Session::open(&options).await.expect("the embedded fleet takes everybody")
}

/// What halts, as one JSON list tells it.
fn halted(ran: &Ran) -> Vec<String> {
    let json = ran.json();
    let list = json["halts"].as_array().expect("a list").clone();
    list.iter()
        .map(|one| one["policy"].as_str().or_else(|| one["halts"].as_str()).expect("a word").to_owned())
        .collect()
}

/// Everything that differs from run to run, replaced.
fn screen(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "<a time>");
    settings.add_filter(r"http://127\.0\.0\.1:\d+", "<url>");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn halt_and_resume_say_what_is_stopped_and_how_it_goes_on() {
    let fleet = Fleet::start(1, 7);
    let mut told = String::new();
    for arguments in [
        &["halt", "--list"][..],
        &["halt", "--policy", "web", "--reason", "the new proxy answers 502"],
        &["halt", "--reason", "stop everything while we look at the proxies"],
        &["halt", "--reason", "me too"],
        &["halt", "--list"],
        &["resume", "--policy", "web"],
        &["resume", "--policy", "web"],
        &["resume"],
        &["resume"],
    ] {
        let ran = fleet.run(arguments).expect(0);
        assert_eq!(ran.stderr, "");
        assert!(ran.stdout.lines().all(|line| line.len() <= 80 || line.contains("--endpoint-url")), "{}", ran.stdout);
        told.extend(["$ proxyfleet ", &arguments.join(" "), "\n", &ran.stdout, "\n"]);
    }
    screen("halt-and-resume", &told);
}

#[test]
fn a_halt_is_one_parameter_that_says_who_and_why() {
    let fleet = Fleet::start(1, 7);
    let ran =
        fleet.run(&["halt", "--policy", "web", "--reason", "ticket {{4711}}", "--format", "json"]).expect(0).json();
    assert_eq!((&ran["format"], &ran["did"]), (&json!("proxyfleet-halt/1"), &json!("halted")));
    let halt = &ran["halt"];
    assert_eq!((&halt["policy"], &halt["reason"]), (&json!("web"), &json!("ticket {{4711}}")));

    let stored = ok(&fleet.sim, "GetParameter", &json!({"Name": "/proxyfleet/halt/policy/web"}))["Parameter"].clone();
    assert_eq!(stored["Type"], "String");
    let value: serde_json::Value = serde_json::from_str(stored["Value"].as_str().expect("text")).expect("JSON");
    assert_eq!(value["reason"], "ticket {{4711}}");
    assert_eq!((&value["by"], &value["since"]), (&halt["by"], &halt["since"]));
    assert!(halt["by"].as_str().is_some_and(|by| by.starts_with("arn:aws:")), "{ran:#}");
}

#[test]
fn the_first_halt_stays_unless_it_is_replaced() {
    let fleet = Fleet::start(1, 7);
    fleet.run(&["halt", "--reason", "first"]).expect(0);
    let second = fleet.run(&["halt", "--reason", "second", "--format", "json"]).expect(0).json();
    assert_eq!((&second["did"], &second["halt"]["reason"]), (&json!("already-halted"), &json!("first")));
    let third = fleet.run(&["halt", "--reason", "third", "--replace", "--format", "json"]).expect(0).json();
    assert_eq!((&third["did"], &third["halt"]["reason"]), (&json!("halted"), &json!("third")));
    let list = fleet.run(&["halt", "--list", "--format", "json"]).expect(0).json();
    assert_eq!(list["halts"][0]["reason"], "third");
}

#[test]
fn resume_clears_its_own_halt_and_no_other() {
    let fleet = Fleet::start(1, 7);
    for policy in ["web", "batch"] {
        fleet.run(&["halt", "--policy", policy, "--reason", "r"]).expect(0);
    }
    fleet.run(&["halt", "--reason", "r"]).expect(0);
    let list = || halted(&fleet.run(&["halt", "--list", "--format", "json"]).expect(0));
    assert_eq!(list(), ["all", "batch", "web"]);
    let resumed = fleet.run(&["resume", "--policy", "web", "--format", "json"]).expect(0);
    assert_eq!(
        (&resumed.json()["did"], halted(&resumed)),
        (&json!("resumed"), vec!["all".to_owned(), "batch".to_owned()])
    );
    fleet.run(&["resume"]).expect(0);
    assert_eq!(list(), ["batch"]);
    let nothing = fleet.run(&["resume", "--format", "json"]).expect(0);
    assert_eq!((&nothing.json()["did"], &nothing.json()["cleared"]), (&json!("not-halted"), &json!(null)));
    assert_eq!(list(), ["batch"], "who resumes everything does not resume what was halted by name");
}

#[test]
fn more_halts_than_a_page_are_listed() {
    let fleet = Fleet::start(1, 7);
    for number in 10..35 {
        let name = format!("/proxyfleet/halt/policy/p{number}");
        ok(&fleet.sim, "PutParameter", &json!({"Name": name, "Value": "by hand", "Type": "String"}));
    }
    ok(&fleet.sim, "PutParameter", &json!({"Name": "/proxyfleet/halt/policy/Web", "Value": "x", "Type": "String"}));
    let ran = fleet.run(&["halt", "--list", "--format", "json"]).expect(0);
    assert_eq!(halted(&ran), (10..35).map(|number| format!("p{number}")).collect::<Vec<_>>());
    assert_eq!(ran.json()["without_effect"], json!(["/proxyfleet/halt/policy/Web"]));
    let text = fleet.run(&["halt", "--list"]).expect(0).stdout;
    assert!(text.contains("/proxyfleet/halt/policy/Web: no run looks at this parameter"), "{text}");
}

#[test]
fn a_wrong_call_halts_nothing_and_says_what_would_be_right() {
    let fleet = Fleet::start(1, 7);
    for (arguments, part) in [
        (&["halt"][..], "--reason"),
        (&["halt", "--reason", " "], "say in one line why"),
        (&["halt", "--reason", "two\nlines"], "say in one line why"),
        (&["halt", "--reason", &"x".repeat(501)], "at most 500 characters"),
        (&["halt", "--policy", "Web", "--reason", "r"], "lower-case letters"),
        (&["halt", "--list", "--reason", "r"], "cannot be used with"),
        (&["halt", "--reason", "r", "--expect-account", "999999999999"], "account 111122223333, not for 999999999999"),
    ] {
        let ran = fleet.run(arguments).expect(1);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
    }
    assert_eq!(halted(&fleet.run(&["halt", "--list", "--format", "json"]).expect(0)), Vec::<String>::new());
}

#[tokio::test]
async fn a_run_asks_once_about_everything_and_its_own_policy() {
    let fleet = Fleet::start(1, 7);
    let session = open(fleet.sim.endpoint_url()).await;
    assert_eq!(session.halts(&policy("web")).await.expect("it can be read"), []);
    fleet.run(&["halt", "--policy", "web", "--reason", "one"]).expect(0);
    fleet.run(&["halt", "--policy", "batch", "--reason", "two"]).expect(0);
    ok(&fleet.sim, "PutParameter", &json!({"Name": "/proxyfleet/halt/all", "Value": "[1", "Type": "String"}));
    let before = fleet.sim.calls()["GetParameters"];
    let halts = session.halts(&policy("web")).await.expect("it can be read");
    assert_eq!(fleet.sim.calls()["GetParameters"], before + 1);
    let scopes: Vec<&HaltScope> = halts.iter().map(|halt| &halt.scope).collect();
    assert_eq!(scopes, [&HaltScope::All, &HaltScope::Policy(policy("web"))]);
    assert_eq!(halts[0].reason, "a marker that this version cannot read");
    assert!(halts[0].since.is_some(), "the service knows when it was set");
    assert_eq!(halts[1].reason, "one");
}

#[tokio::test]
async fn whoever_may_not_read_the_switch_is_told_the_permission() {
    let fleet = Fleet::start(1, 7);
    let body =
        r#"{"__type":"AccessDeniedException","Message":"User u is not authorized to perform: ssm:GetParameters"}"#;
    let url = fault_proxy::start(fleet.sim.address(), move |call| match call.operation {
        "GetParameters" => Fault::Answer(400, body.to_owned()),
        _ => Fault::Pass,
    });
    let error = open(url).await.halts(&policy("web")).await.expect_err("it may not");
    assert_eq!(error.class(), Some(Class::Denied));
    assert!(error.to_string().contains("/proxyfleet/halt/all and /proxyfleet/halt/policy/web"), "{error}");
    for part in ["Allow ssm:GetParameters on parameter/proxyfleet/halt*", "Nothing is sent"] {
        assert!(error.remedy().contains(part), "{}", error.remedy());
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_is_not_a_no() {
    let fleet = Fleet::start(1, 7);
    let url = fault_proxy::start(fleet.sim.address(), |call| match call.operation {
        "GetParameters" => {
            Fault::Answer(200, r#"{"Parameters":[],"InvalidParameters":["/proxyfleet/halt/all"]}"#.to_owned())
        }
        _ => Fault::Pass,
    });
    let answer = open(url).await.halts(&policy("web")).await;
    assert!(matches!(answer, Err(AwsError::Incomplete { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_lost_answer_does_not_make_a_halt_look_like_somebody_else_s() {
    let fleet = Fleet::start(1, 7);
    let url = fault_proxy::start(fleet.sim.address(), |call| match (call.operation, call.number) {
        ("PutParameter" | "DeleteParameter", 1) => Fault::LoseAnswer,
        _ => Fault::Pass,
    });
    let run = |arguments: &[&str]| {
        let mut command = crate::fleet::binary(arguments);
        let output = command.args(["--endpoint-url", &url]).output().expect("the binary runs");
        Ran::of(&output).expect(0).json()["did"].clone()
    };
    assert_eq!(run(&["halt", "--reason", "r", "--format", "json"]), "halted");
    assert_eq!(run(&["resume", "--format", "json"]), "resumed");
    assert_eq!(fleet.sim.calls()["PutParameter"], 2, "the loss happened");
}
