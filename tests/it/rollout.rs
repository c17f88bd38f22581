//! Rollouts end to end: waves, budgets, the stop switch from another process, killed controllers, and what a run leaves behind.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::time::Duration;

use proxyfleet::catalog::Service;
use proxyfleet::fleet::InstanceId;
use proxyfleet::sim::SimOptions;
use serde_json::Value;

use crate::end_to_end::{hosts, settings};
use crate::fleet::{Fleet, Ran};

const GOOD: &str = "http://10.0.0.131:3128";
const UNREACHABLE: &str = "http://10.9.9.9:3128";

/// A policy for every container instance.
fn everybody(proxy: &str, rollout: &str) -> String {
    format!(
        "policy: everybody\ntargets:\n  tags: {{ Role: \"*\" }}\nproxy:\n  http: {proxy}\n\
         components: [ecs-agent, docker, package-manager]\ndocker_restart: allow\nrollout: {{ {rollout} }}\n"
    )
}

/// Slow enough to be caught in the middle.
const SLOW: &str = "max_concurrency: 2, max_unavailable: 2, max_errors: 100%";

/// The instances of a result with one of these outcomes.
fn with_outcome<'a>(ran: &'a Value, outcomes: &[&str]) -> BTreeSet<&'a str> {
    let all = ran["instances"].as_array().expect("a list").iter();
    all.filter(|one| outcomes.iter().any(|outcome| one["outcome"] == *outcome))
        .map(|one| one["id"].as_str().expect("an id"))
        .collect()
}

/// How many commands that change instances the service has taken.
fn applies(fleet: &Fleet) -> usize {
    let sent = fleet.sim.calls().get("SendCommand").copied().unwrap_or_default();
    usize::try_from(sent).expect("few")
}

fn start(fleet: &Fleet, arguments: &[&str]) -> Child {
    let mut command = fleet.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs")
}

/// Waits until so many commands were sent since `before`.
fn wait_for_commands(fleet: &Fleet, before: usize, more: usize) {
    for _ in 0..3_000 {
        if applies(fleet) >= before + more {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{} commands were sent, {} expected", applies(fleet) - before, more);
}

#[test]
fn waves_are_shown_before_anything_moves_and_kept() {
    let fleet = Fleet::start(40, 7);
    let plan = fleet.run(&["plan", "policies/", "--format", "json"]).expect(2).json();
    let applied = fleet.run(&["apply", "policies/", "--yes", "--format", "json"]).expect(0).json();
    let mut planned: Vec<(String, u64)> = Vec::new();
    for group in plan["groups"].as_array().expect("a list") {
        for one in group["instances"].as_array().expect("a list") {
            planned.push((one["id"].as_str().expect("an id").to_owned(), one["wave"].as_u64().expect("a wave") + 1));
        }
    }
    planned.sort();
    let mut ran: Vec<(String, u64)> = applied["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (one["id"].as_str().expect("an id").to_owned(), one["wave"].as_u64().expect("a wave")))
        .collect();
    ran.sort();
    assert_eq!(ran, planned, "who was in which wave is what the plan said");
    assert!(ran.iter().any(|(_, wave)| *wave > 1), "there are several waves");
}

#[test]
fn a_bad_proxy_stops_after_the_first_wave_and_names_the_budget() {
    let fleet = Fleet::start(60, 7);
    let policy = fleet.policy("p.yaml", &everybody(UNREACHABLE, "max_errors: 0"));
    let ran = fleet.run(&["apply", &policy, "--yes", "--format", "json"]).expect(3).json();
    let touched: BTreeSet<u64> = ran["instances"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|one| one["outcome"] != "not-started")
        .map(|one| one["wave"].as_u64().expect("a wave"))
        .collect();
    assert_eq!(touched, BTreeSet::from([1]), "{ran:#}");
    let reason = ran["halted"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("the budget `failed` of the policy is 0"), "{reason}");
}

#[test]
fn halt_from_a_second_process_stops_a_run_and_resume_lets_the_next_one_go_on() {
    let fleet = Fleet::start(60, 7);
    let policy = fleet.policy("p.yaml", &everybody(GOOD, SLOW));
    let child = start(&fleet, &["apply", &policy, "--yes", "--format", "json"]);
    wait_for_commands(&fleet, 0, 4);
    fleet.run(&["halt", "--policy", "everybody", "--reason", "proxy down"]).expect(0);
    let at_halt = applies(&fleet);
    let ran = Ran::of(&child.wait_with_output().expect("it ends")).expect(3).json();
    // One may have passed the switch just before it was set; the others are observations of what was in flight.
    let observations = 4;
    assert!(applies(&fleet) <= at_halt + 1 + observations, "no further command is sent");
    let reason = ran["halted"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("policy everybody halted") && reason.contains("proxy down"), "{reason}");
    assert!(!with_outcome(&ran, &["not-started"]).is_empty());

    let before = applies(&fleet);
    let blocked = fleet.run(&["apply", &policy, "--yes", "--format", "json"]).expect(3).json();
    assert!(with_outcome(&blocked, &["converged"]).is_empty(), "a run that starts later sends nothing either");
    let observed = applies(&fleet) - before;
    assert!(observed <= 2, "{observed} commands, but those that only look");

    fleet.run(&["resume", "--policy", "everybody"]).expect(0);
    fleet.run(&["apply", &policy, "--yes"]).expect(0);
}

#[test]
fn a_controller_that_is_killed_at_any_moment_loses_nothing() {
    let fleet = Fleet::start(60, 7);
    let policy = fleet.policy("p.yaml", &everybody(GOOD, SLOW));
    for more in [1, 3, 4, 6, 2] {
        let before = applies(&fleet);
        let mut child = start(&fleet, &["apply", &policy, "--yes"]);
        wait_for_commands(&fleet, before, more);
        child.kill().expect("it runs");
        child.wait().expect("it was killed");
    }
    let ran = fleet.run(&["apply", &policy, "--yes"]).expect(0);
    assert!(ran.stdout.contains("converged"), "{}", ran.stdout);
    fleet.run(&["plan", &policy]).expect(0);
    let history = fleet.history(&["--format", "json"]).expect(0).json();
    let states: Vec<&str> =
        history["runs"].as_array().expect("a list").iter().map(|run| run["state"].as_str().expect("a state")).collect();
    assert_eq!(states.last(), Some(&"ended"));
    assert!(states[..states.len() - 1].iter().all(|state| *state == "broke-off"), "{states:?}");
}

#[test]
fn a_run_takes_over_commands_of_one_that_was_killed() {
    let fleet = Fleet::start(60, 7);
    let policy =
        fleet.policy("p.yaml", &everybody(GOOD, "max_unavailable: 100%, docker_max_unavailable: 100%, waves: [100%]"));
    let mut child = start(&fleet, &["apply", &policy, "--yes"]);
    // The first two look; the third changes something.
    wait_for_commands(&fleet, 0, 3);
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    let ran = fleet.run(&["apply", &policy, "--yes"]).expect(0);
    assert!(ran.stderr.contains("waiting for commands of an earlier run"), "{}", ran.stderr);
    let told = fleet.history(&["last"]).expect(0).stdout;
    assert!(told.contains("waiting for commands of an earlier run"), "{told}");
    fleet.run(&["plan", &policy]).expect(0);
}

#[test]
fn a_journal_tells_the_run_again_and_whom_to_retry() {
    let fleet = Fleet::start(24, 7);
    let bad = fleet.policy("p.yaml", &everybody(UNREACHABLE, "max_errors: 0"));
    fleet.run(&["apply", &bad, "--yes"]).expect(3);
    let told = fleet.history(&["last"]).expect(0).stdout;
    for part in ["wave 1 of", "refused", "halted", "everybody", "command "] {
        assert!(told.contains(part), "{part} is told:\n{told}");
    }
    let json = fleet.history(&["last", "--format", "json"]).expect(0).json();
    let kinds: BTreeSet<&str> =
        json["journal"].as_array().expect("lines").iter().map(|line| line["kind"].as_str().expect("a kind")).collect();
    for kind in ["run", "plan", "policy-started", "command-sent", "note", "ended"] {
        assert!(kinds.contains(kind), "{kind} is in {kinds:?}");
    }

    // The same policy with a proxy that works, for those alone whom the bad one did not reach.
    let good = fleet.policy("p.yaml", &everybody(GOOD, ""));
    let retried = fleet.run(&["apply", &good, "--yes", "--retry-failed", "last", "--format", "json"]).expect(0).json();
    let everybody = fleet.run(&["plan", &good, "--format", "json"]).expect(0).json();
    assert_eq!(everybody["instances_to_change"], 0);
    assert!(!with_outcome(&retried, &["converged"]).is_empty());
    let nobody = fleet.run(&["apply", &good, "--yes", "--retry-failed", "last"]).expect(1);
    assert!(nobody.stderr.contains("nobody is left to be tried again"), "{}", nobody.stderr);
}

#[test]
fn a_gate_decides_whether_the_next_wave_begins() {
    let fleet = Fleet::start(24, 7);
    let script = |name: &str, text: &str| {
        let path = fleet.policy(name, text);
        format!("waves: [1, 100%], gate: {{ command: [sh, \"{path}\"], timeout: 10s, hold: 0s }}")
    };
    let fails = script("fails.sh", "echo error rate is up in wave $PROXYFLEET_WAVE of $PROXYFLEET_POLICY; exit 1\n");
    let policy = fleet.policy("p.yaml", &everybody(GOOD, &fails));
    let plan = fleet.run(&["plan", &policy]).expect(2);
    assert!(plan.stdout.contains("fails.sh"), "the plan shows what will be run:\n{}", plan.stdout);
    let ran = fleet.run(&["apply", &policy, "--yes", "--format", "json"]).expect(3).json();
    assert_eq!(ran["halted"][0]["reason"], "the gate failed: error rate is up in wave 1 of everybody");
    assert!(!with_outcome(&ran, &["converged"]).is_empty() && !with_outcome(&ran, &["not-started"]).is_empty());

    let holds = script("holds.sh", "exit 2\n");
    let policy = fleet.policy("p.yaml", &everybody(GOOD, &holds));
    let ran = fleet.run(&["apply", &policy, "--yes", "--format", "json"]).expect(3).json();
    let reason = ran["halted"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("the gate did not let it go on in time"), "{reason}");

    let passes = script("passes.sh", "exit 0\n");
    let policy = fleet.policy("p.yaml", &everybody(GOOD, &passes));
    fleet.run(&["apply", &policy, "--yes"]).expect(0);
}

#[test]
fn a_soak_looks_again() {
    let fleet = Fleet::start(24, 7);
    let policy = fleet.policy("p.yaml", &everybody(GOOD, "waves: [1, 100%], soak: 1s"));
    let ran = fleet.run(&["apply", &policy, "--yes"]).expect(0);
    assert!(ran.stderr.contains("in sync; looked at again in 1 s"), "{}", ran.stderr);
}

#[test]
fn an_alarm_stops_what_is_sent_with_it() {
    let fleet = Fleet::start(24, 7);
    fleet.sim.raise_alarm("web-5xx");
    let policy = fleet.policy("p.yaml", &everybody(GOOD, "alarm: web-5xx"));
    let plan = fleet.run(&["plan", &policy]).expect(2);
    assert!(plan.stdout.contains("alarm web-5xx"), "{}", plan.stdout);
    let ran = fleet.run(&["apply", &policy, "--yes", "--format", "json"]).expect(3).json();
    assert!(with_outcome(&ran, &["converged"]).is_empty(), "{ran:#}");
    fleet.run(&["plan", &policy]).expect(2);
}

/// What a fleet with bad days must not lead to: that anybody is restarted more often than the plan says.
#[test]
fn lost_replies_throttling_and_reboots_do_not_keep_a_fleet_from_converging() {
    let faults = "throttle=10%,lost-replies=2%,reboots=1%,clock=100".parse().expect("faults");
    let fleet = Fleet::with(SimOptions { instances: 60, seed: 7, faults, ..SimOptions::default() });
    let policy = fleet.policy("p.yaml", &everybody(GOOD, "max_unavailable: 50%, docker_max_unavailable: 50%"));
    let plan = fleet.run(&["plan", &policy, "--format", "json"]).expect(2).json();
    fleet.run(&["apply", &policy, "--yes"]).expect(0);
    fleet.run(&["plan", &policy]).expect(0);
    let counts = fleet.sim.fault_counts();
    assert!(counts.throttled > 0 && counts.reboots > 0, "{counts:?}");
    for group in plan["groups"].as_array().expect("a list") {
        let restarts: Vec<&str> =
            group["restarts"].as_array().expect("a list").iter().map(|one| one.as_str().expect("a word")).collect();
        for one in group["instances"].as_array().expect("a list") {
            let id = InstanceId::parse(one["id"].as_str().expect("an id")).expect("an id");
            for service in Service::ALL {
                let allowed = u32::from(restarts.contains(&service.name()));
                // A restart of docker takes ecs along.
                let along = u32::from(service == Service::Ecs && restarts.contains(&Service::Docker.name()));
                let starts = fleet.sim.command_starts(&id, service).unwrap_or_default();
                assert!(
                    starts <= allowed.max(along),
                    "{service} on {id}: {starts} starts, the plan shows {restarts:?}"
                );
            }
        }
    }
}

#[test]
fn a_rollout_that_fails_puts_back_what_it_changed() {
    let fleet = Fleet::start(24, 7);
    let before: Vec<_> = hosts(&fleet).iter().map(|(_, host)| settings(host)).collect();
    let gate = fleet.policy("fails.sh", "exit 1\n");
    let limits = "max_unavailable: 100%, docker_max_unavailable: 100%, max_concurrency: 100%";
    let rollout = format!("waves: [50%, 100%], on_failure: rollback, {limits}, gate: {{ command: [sh, \"{gate}\"] }}");
    let policy = fleet.policy("p.yaml", &everybody(GOOD, &rollout));
    let ran = fleet.run(&["apply", &policy, "--yes", "--format", "json"]).expect(3).json();
    let put_back = with_outcome(&ran, &["put-back"]);
    assert!(!put_back.is_empty(), "{ran:#}");
    assert_eq!(
        put_back.len() + with_outcome(&ran, &["not-started"]).len(),
        ran["instances"].as_array().expect("a list").len()
    );
    for ((id, host), before) in hosts(&fleet).iter().zip(&before) {
        assert!(*before == settings(host), "{id} is not what it was");
    }
    let told = fleet.history(&["last"]).expect(0).stdout;
    assert!(told.contains("putting back") && told.contains("put back because the rollout failed"), "{told}");
}
