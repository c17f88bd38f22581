//! The main job through the binary, the real SDK, HTTP and the published documents on the embedded fleet's hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::fleet::{Fleet, Ran, binary};
use proxyfleet::catalog::{Component, Service};
use proxyfleet::fleet::InstanceId;
use proxyfleet::sim::host::Host;

/// A policy for every instance of the fleet.
fn everybody(proxy: &str, more: &str) -> String {
    format!(
        "policy: everybody\ntargets:\n  tags: {{ Role: \"*\" }}\nproxy:\n  http: {proxy}\n  no_proxy: [.corp.example.com]\n\
         components: [ecs-agent, ecs-init, docker, package-manager]\n{more}"
    )
}

const GOOD: &str = "http://10.0.0.131:3128";
const UNREACHABLE: &str = "http://10.9.9.9:3128";

/// The ids in one list of a JSON result.
fn ids(value: &serde_json::Value) -> BTreeSet<String> {
    let list = value.as_array().expect("a list");
    list.iter().map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

/// The ids of everybody whom a JSON plan would change.
fn planned(plan: &serde_json::Value) -> BTreeSet<String> {
    plan["groups"].as_array().expect("groups").iter().flat_map(|group| ids(&group["instances"])).collect()
}

/// Every host that can run a script, with its id.
pub(crate) fn hosts(fleet: &Fleet) -> Vec<(InstanceId, Arc<Host>)> {
    fleet.sim.instance_ids().into_iter().filter_map(|id| fleet.sim.host(&id).map(|host| (id, host))).collect()
}

/// How often services were started on all hosts.
fn starts(fleet: &Fleet) -> u32 {
    let hosts = hosts(fleet);
    hosts
        .iter()
        .map(|(_, host)| [Service::Docker, Service::Ecs].iter().map(|service| host.starts(*service)).sum::<u32>())
        .sum()
}

#[test]
fn plan_apply_plan_ends_with_nothing_to_do() {
    let fleet = Fleet::start(40, 7);
    let plan = fleet.run(&["plan", "policies/"]).expect(2);
    assert!(plan.stderr.contains("Account 111122223333, region eu-central-1"), "{}", plan.stderr);
    let json = fleet.run(&["plan", "policies/", "--format", "json"]).expect(2).json();
    let to_change = planned(&json);
    assert!(!to_change.is_empty());
    assert_eq!(json["instances_to_change"], to_change.len());

    let applied = fleet.run(&["apply", "policies/", "--yes", "--format", "json"]).expect(0).json();
    assert_eq!(ids(&applied["instances"]), to_change, "everybody of the plan and nobody else was attempted");
    assert_eq!(applied["not_converged"], 0);
    let after_apply = starts(&fleet);

    let again = fleet.run(&["plan", "policies/", "--format", "json"]).expect(0).json();
    assert_eq!(planned(&again), BTreeSet::new());
    assert_eq!(ids(&again["left_out"]), ids(&json["left_out"]), "who was left out still is, with the reason");
    let idle = fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    assert!(idle.stdout.contains("nothing to change"), "{}", idle.stdout);
    assert_eq!(starts(&fleet), after_apply, "a second apply restarts nothing");
}

#[test]
fn somebody_who_is_left_out_counts_only_on_request() {
    let fleet = Fleet::start(24, 7);
    let plan = fleet.run(&["plan", "policies/"]).expect(2);
    for reason in ["offline", "not registered with SSM", "unsupported system"] {
        assert!(plan.stdout.contains(reason), "{reason} is named:\n{}", plan.stdout);
    }
    fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    fleet.run(&["apply", "policies/", "--yes", "--require-all"]).expect(3);
}

#[test]
fn a_proxy_that_cannot_be_reached_changes_nothing_anywhere() {
    let fleet = Fleet::start(24, 3);
    let policy =
        fleet.policy("p.yaml", &everybody(UNREACHABLE, "docker_restart: allow\nrollout: { max_errors: 100% }\n"));
    let before = starts(&fleet);
    let settings_before: Vec<_> = hosts(&fleet).iter().map(|(_, host)| settings(host)).collect();
    let ran = fleet.run(&["apply", &policy, "--yes"]).expect(3);
    assert!(ran.stdout.contains("refused: nothing was touched: the proxy cannot be"), "{}", ran.stdout);
    assert_eq!(starts(&fleet), before);
    for ((id, host), before) in hosts(&fleet).iter().zip(settings_before) {
        assert!(before == settings(host), "{id} was changed");
    }
}

/// What an operator keeps in `/etc` of a host.
pub(crate) fn settings(host: &Host) -> BTreeMap<String, (Vec<u8>, u32)> {
    let tree = host.snapshot().expect("a snapshot");
    let etc = tree.into_iter().filter(|(path, _)| path.starts_with("/etc/"));
    etc.filter(|(_, entry)| entry.mode & 0o170_000 != 0o040_000)
        .map(|(path, entry)| (path, (entry.bytes, entry.mode)))
        .collect()
}

#[test]
fn errors_beyond_the_budget_stop_the_rollout() {
    let fleet = Fleet::start(40, 3);
    let policy = fleet.policy("p.yaml", &everybody(UNREACHABLE, "rollout: { max_concurrency: 1, max_errors: 0 }\n"));
    let ran = fleet.run(&["apply", &policy, "--yes", "--format", "json"]).expect(3).json();
    assert_eq!(ran["converged"], 0);
    assert!(ran["not_started"].as_u64() > Some(0), "{ran:#}");
    assert!(ran["not_converged"].as_u64() <= Some(6), "a few commands, one failure each at most: {ran:#}");
}

#[test]
fn a_saved_plan_refuses_whoever_is_no_longer_what_it_saw() {
    let fleet = Fleet::start(24, 7);
    let file = fleet.path("plan.json");
    let file = file.to_str().expect("text");
    fleet.run(&["plan", "policies/", "--out", file]).expect(2);
    let saved: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(file).expect("saved")).expect("a plan is JSON");
    let planned = planned(&saved);
    let edited = planned.first().expect("somebody").clone();
    let host = fleet.sim.host(&InstanceId::parse(&edited).expect("id")).expect("a Linux host");
    host.outside_edit("/etc/ecs/ecs.config", |text| {
        text.extend_from_slice(b"\nHTTP_PROXY=http://changed.example.net:1\n");
    })
    .expect("the file is there");
    let ran = fleet.run(&["apply", "--plan", file, "--yes", "--format", "json"]).expect(3).json();
    let refused: Vec<_> = ran["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["outcome"] == "not-started")
        .map(|one| one["id"].as_str().expect("id"))
        .collect();
    assert_eq!(refused, [edited.as_str()]);
    assert_eq!(ran["converged"], planned.len() - 1);
    let text = host.read("/etc/ecs/ecs.config").expect("readable");
    assert!(String::from_utf8_lossy(&text).contains("changed.example.net"), "the refused host was not touched");
}

#[test]
fn drift_is_found_and_repaired_without_touching_anything_else() {
    let fleet = Fleet::start(24, 7);
    fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    let plan = fleet.run(&["plan", "policies/", "--format", "json"]).expect(0).json();
    assert_eq!(planned(&plan), BTreeSet::new());
    let (id, host) = managed_host(&fleet);
    let before = starts(&fleet);
    host.outside_edit("/etc/ecs/ecs.config", |text| {
        *text = String::from_utf8_lossy(text).replace("HTTPS_PROXY=", "# gone: ").into_bytes();
    })
    .expect("the file is there");
    let drift = fleet.run(&["plan", "policies/", "--format", "json"]).expect(2).json();
    assert_eq!(planned(&drift), BTreeSet::from([id.to_string()]));
    let changes = drift["groups"][0]["changes"].as_array().expect("changes").clone();
    assert_eq!(changes.len(), 1);
    assert_eq!(
        (&changes[0]["component"], &changes[0]["drift"]),
        (&Component::EcsAgent.name().into(), &"missing".into())
    );
    assert_eq!(drift["groups"][0]["restarts"], serde_json::json!([]), "the process still has the value");
    fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    assert_eq!(starts(&fleet), before, "nothing was restarted");
    fleet.run(&["plan", "policies/"]).expect(0);
}

/// A host that the example policies have set up.
fn managed_host(fleet: &Fleet) -> (InstanceId, Arc<Host>) {
    let managed = |host: &Host| {
        host.read("/etc/ecs/ecs.config")
            .is_ok_and(|text| String::from_utf8_lossy(&text).contains("\nHTTPS_PROXY=http://10.0.0.131"))
            && host.starts(Service::Ecs) > 0
    };
    hosts(fleet).into_iter().find(|(_, host)| managed(host)).expect("some host is managed")
}

#[test]
fn explain_tells_the_policy_and_every_setting() {
    let fleet = Fleet::start(24, 7);
    fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    let (id, _) = managed_host(&fleet);
    let ran = fleet.run(&["explain", id.as_str(), "policies/"]).expect(0);
    for part in [
        "ecs-production",
        "policies/ecs-production.yaml",
        "/etc/ecs/ecs.config",
        "in sync http://10.0.0.131:3128",
        "is running",
        "In sync.",
    ] {
        assert!(ran.stdout.contains(part), "{part} is told:\n{}", ran.stdout);
    }
    let json = fleet.run(&["explain", id.as_str(), "policies/", "--format", "json"]).expect(0).json();
    assert_eq!(json["in_sync"], true);
    let unknown = fleet.run(&["explain", "nobody", "policies/"]).expect(1);
    assert!(unknown.stderr.contains("no instance `nobody`"), "{}", unknown.stderr);
}

#[test]
fn nothing_happens_without_a_yes_or_in_the_wrong_account() {
    let fleet = Fleet::start(24, 7);
    let before = starts(&fleet);
    let ran = fleet.run(&["apply", "policies/"]).expect(1);
    assert!(ran.stderr.contains("--yes"), "{}", ran.stderr);
    let ran = fleet.run(&["apply", "policies/", "--yes", "--expect-account", "999999999999"]).expect(1);
    assert!(ran.stderr.contains("account 111122223333, not for 999999999999"), "{}", ran.stderr);
    assert_eq!(starts(&fleet), before);
}

#[test]
fn a_malformed_endpoint_variable_is_an_error_and_not_the_real_service() {
    for (variable, value) in [
        ("AWS_ENDPOINT_URL", "127.0.0.1:4570"),
        ("AWS_ENDPOINT_URL_SSM", "http://["),
        ("AWS_ENDPOINT_URL_EC2", "https://ec2.example.com"),
    ] {
        let output = binary(&["plan", "policies/"]).env(variable, value).output().expect("the binary runs");
        let ran = Ran::of(&output).expect(1);
        assert!(ran.stderr.contains(variable), "{variable} is named:\n{}", ran.stderr);
    }
}

#[test]
fn policies_of_equal_priority_for_one_instance_are_an_error_that_names_both_places() {
    let fleet = Fleet::start(24, 7);
    let first = fleet.policy("first.yaml", &everybody(GOOD, ""));
    let second =
        fleet.policy("second.yaml", &everybody(GOOD, "").replace("everybody", "web").replace("\"*\"", "ecs-web"));
    let ran = fleet.run(&["plan", &first, &second]).expect(1);
    for part in ["first.yaml:1", "second.yaml:1", "`everybody`", "`web`", "priority"] {
        assert!(ran.stderr.contains(part), "{part} is named:\n{}", ran.stderr);
    }
}

#[test]
fn ctrl_c_stops_sending_and_the_summary_says_who_is_in_which_state() {
    let fleet = Fleet::start(60, 7);
    let policy = fleet.policy(
        "p.yaml",
        &everybody(GOOD, "docker_restart: allow\nrollout: { max_concurrency: 1, max_errors: 100% }\n"),
    );
    let mut command = fleet.command(&["apply", &policy, "--yes", "--format", "json"]);
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("runs");
    let pid = child.id().to_string();
    while fleet.sim.calls().get("SendCommand").copied().unwrap_or_default() < 3 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let status = std::process::Command::new("sh").args(["-c", &format!("kill -INT {pid}")]).status().expect("sh runs");
    assert!(status.success());
    let ran = Ran::of(&child.wait_with_output().expect("it ends")).expect(3);
    assert!(ran.stderr.contains("nothing more is sent"), "{}", ran.stderr);
    let json = ran.json();
    assert!(json["not_started"].as_u64() > Some(0), "{json:#}");
    let halted = json["halted"].as_array().expect("a list");
    assert!(halted.iter().any(|one| one["reason"] == "stopped by the operator"), "{json:#}");
}

#[test]
fn absent_puts_every_file_back_to_what_it_was() {
    let fleet = Fleet::start(24, 11);
    let before: Vec<_> = hosts(&fleet).iter().map(|(_, host)| settings(host)).collect();
    let present = fleet.policy("present.yaml", &everybody(GOOD, "docker_restart: allow\n"));
    fleet.run(&["apply", &present, "--yes"]).expect(0);
    let text = "policy: everybody\ntargets:\n  tags: { Role: \"*\" }\nstate: absent\n\
                components: [ecs-agent, ecs-init, docker, package-manager]\ndocker_restart: allow\n";
    let absent = fleet.policy("absent.yaml", text);
    fleet.run(&["apply", &absent, "--yes"]).expect(0);
    for ((id, host), before) in hosts(&fleet).iter().zip(&before) {
        assert_eq!(readable(before), readable(&settings(host)), "{id}");
    }
}

/// For messages that a person can read.
fn readable(tree: &BTreeMap<String, (Vec<u8>, u32)>) -> BTreeMap<&str, (String, u32)> {
    tree.iter()
        .map(|(path, (bytes, mode))| (path.as_str(), (String::from_utf8_lossy(bytes).into_owned(), *mode)))
        .collect()
}
