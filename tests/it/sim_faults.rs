//! What goes wrong in the embedded fleet on request, seen by its clients.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proxyfleet::catalog::Service;
use proxyfleet::fleet::InstanceId;
use proxyfleet::sim::host::Host;
use proxyfleet::sim::windows::{ModelHost, Surroundings, WindowsState};
use proxyfleet::sim::{Sim, SimOptions};
use serde_json::{Value, json};

use crate::fleet::{Fleet, Ran, binary};
use crate::wire_client::{eventually, finished, instances, ok, publish, send_command, ssm, try_ssm};

fn options(instances: usize, faults: &str) -> SimOptions {
    let faults = faults.parse().expect("known faults");
    SimOptions { instances, seed: 7, faults, ..SimOptions::default() }
}

fn fleet(instances: usize, faults: &str) -> Sim {
    Sim::start(options(instances, faults)).expect("a loopback port is free")
}

/// The Linux hosts of a fleet.
fn hosts(sim: &Sim) -> Vec<(InstanceId, Arc<Host>)> {
    sim.instance_ids().into_iter().filter_map(|id| sim.host(&id).map(|host| (id, host))).collect()
}

/// Sends `document` to one instance and waits until it is over; returns the command and its invocation.
fn run(sim: &Sim, document: &str, id: &InstanceId) -> (Value, Value) {
    let request = json!({"DocumentName": document, "InstanceIds": [id.as_str()], "TimeoutSeconds": 30});
    let command = send_command(sim, &request);
    let ended = finished(sim, &command);
    let mut invocation = Value::Null;
    eventually("the invocation shows", || {
        let request = json!({"CommandId": command, "Details": true});
        invocation = ok(sim, "ListCommandInvocations", &request)["CommandInvocations"][0].clone();
        !invocation.is_null()
    });
    (ended, invocation)
}

/// What the agent of an invocation answered.
fn output(invocation: &Value) -> &str {
    invocation["CommandPlugins"][0]["Output"].as_str().unwrap_or_default()
}

#[test]
fn requests_are_throttled_in_bursts() {
    let sim = fleet(1, "throttle=40%");
    let mut seen = Vec::new();
    for _ in 0..60 {
        let answer = ssm(&sim, "ListCommands", &json!({}));
        let throttled = answer.status == 400 && answer.json()["__type"] == "ThrottlingException";
        assert!(throttled || answer.status == 200, "{}", answer.body);
        seen.push(throttled);
    }
    let count = seen.iter().filter(|throttled| **throttled).count();
    assert!((10..=40).contains(&count), "{seen:?}");
    assert_eq!(sim.fault_counts().throttled, count as u64);
    let bursts: Vec<usize> = seen.split(|throttled| !throttled).map(<[bool]>::len).filter(|run| *run > 0).collect();
    assert!(bursts.iter().any(|run| *run >= 3), "{bursts:?}");
    let codes: BTreeSet<String> = (0..30).flat_map(|_| instances(&sim, "").elements("Code")).collect();
    assert_eq!(codes, BTreeSet::from(["RequestLimitExceeded".to_owned()]), "EC2 has its own word");
}

/// Puts 60 parameters, of which some calls fail as `failed` says; returns how many, and how many of these had an effect.
fn failures(sim: &Sim, failed: impl Fn(&Sim, &Value) -> bool) -> (u64, u64) {
    let (mut count, mut with_effect) = (0, 0);
    for number in 0..60 {
        let name = format!("/test/{number}");
        if failed(sim, &json!({"Name": name, "Type": "String", "Value": "x"})) {
            count += 1;
            let mut there = false;
            eventually("the parameter is read", || {
                let answer = try_ssm(sim, "GetParameter", &json!({"Name": name})).filter(|answer| answer.status < 500);
                there = answer.as_ref().is_some_and(|answer| answer.status == 200);
                answer.is_some()
            });
            with_effect += u64::from(there);
        }
    }
    (count, with_effect)
}

#[test]
fn some_errors_come_after_the_effect() {
    let sim = fleet(1, "errors=40%");
    let (count, with_effect) = failures(&sim, |sim, request| {
        let answer = ssm(sim, "PutParameter", request);
        assert!(answer.status == 200 || answer.json()["__type"] == "InternalServerError", "{}", answer.body);
        answer.status == 500
    });
    assert!((10..=40).contains(&count) && (1..count).contains(&with_effect), "{with_effect} of {count}");
    let counts = sim.fault_counts();
    assert!(counts.errors_after >= with_effect && counts.errors_before >= count - with_effect, "{counts:?}");
}

#[test]
fn some_connections_close_after_the_effect() {
    let sim = fleet(1, "drops=40%");
    let (count, with_effect) = failures(&sim, |sim, request| try_ssm(sim, "PutParameter", request).is_none());
    assert!((10..=40).contains(&count) && (1..count).contains(&with_effect), "{with_effect} of {count}");
    let counts = sim.fault_counts();
    assert!(counts.drops_after >= with_effect && counts.drops_before >= count - with_effect, "{counts:?}");
}

#[test]
fn a_lost_reply_is_a_command_that_was_carried_out_and_timed_out() {
    let sim = fleet(1, "lost-replies=100%,clock=1000");
    publish(&sim, "Sample", &["echo done >\"$PROXYFLEET_ROOT/etc/trace\"", "sleep 0.3", "echo said"]);
    let (id, host) = hosts(&sim).remove(0);
    let start = Instant::now();
    let (command, invocation) = run(&sim, "Sample", &id);
    assert_eq!((&command["Status"], &command["StatusDetails"]), (&json!("TimedOut"), &json!("DeliveryTimedOut")));
    assert_eq!(command["DeliveryTimedOutCount"], 1);
    assert_eq!((&invocation["StatusDetails"], output(&invocation)), (&json!("DeliveryTimedOut"), ""));
    assert_eq!(host.read("/etc/trace").expect("the script ran"), b"done\n");
    assert_eq!(sim.fault_counts().lost_replies, 1);
    assert!(start.elapsed() < Duration::from_secs(20), "nobody waits for minutes");
    let lifetime =
        command["ExpiresAfter"].as_f64().expect("a time") - command["RequestedDateTime"].as_f64().expect("a time");
    assert!(lifetime > 30.0, "times are told as the service tells them: {lifetime}");
}

#[test]
fn a_slow_invocation_takes_its_time() {
    let sim = fleet(1, "slow=100%,clock=10");
    publish(&sim, "Sample", &["echo said"]);
    let (id, _) = hosts(&sim).remove(0);
    let start = Instant::now();
    let (_, invocation) = run(&sim, "Sample", &id);
    assert!(start.elapsed() > Duration::from_millis(500), "at least five seconds at this clock");
    assert_eq!((&invocation["Status"], output(&invocation)), (&json!("Success"), "said\n"));
    assert_eq!(sim.fault_counts().slow, 1);
}

#[test]
fn an_instance_goes_silent_at_its_first_change_and_stays_so() {
    let sim = fleet(2, "offline=50%,clock=1000");
    assert_eq!(sim.struck().offline.len(), 1);
    let id = sim.struck().offline.first().expect("one").clone();
    publish(&sim, "ProxyFleet-Observe", &["echo looked"]);
    publish(&sim, "Change", &["echo changed >\"$PROXYFLEET_ROOT/etc/trace\""]);
    let (_, looked) = run(&sim, "ProxyFleet-Observe", &id);
    assert_eq!(output(&looked), "looked\n");
    for document in ["Change", "ProxyFleet-Observe"] {
        let (command, invocation) = run(&sim, document, &id);
        assert_eq!(command["Status"], "TimedOut");
        assert_eq!((&invocation["StatusDetails"], output(&invocation)), (&json!("DeliveryTimedOut"), ""));
    }
    assert!(sim.host(&id).expect("a Linux host").read("/etc/trace").is_err(), "nothing ran");
    let filters = json!([{"Key": "InstanceIds", "Values": [id.as_str()]}]);
    let known = ok(&sim, "DescribeInstanceInformation", &json!({"Filters": filters}));
    assert_eq!(known["InstanceInformationList"][0]["PingStatus"], "ConnectionLost");
    assert_eq!(sim.fault_counts().went_offline, 1);
    let (other, _) = hosts(&sim).into_iter().find(|(other, _)| *other != id).expect("the other one");
    assert_eq!(run(&sim, "Change", &other).1["Status"], "Success");
}

#[test]
fn a_reboot_kills_the_script_and_starts_the_services_anew() {
    let sim = fleet(3, "reboots=100%,clock=1000");
    publish(&sim, "ProxyFleet-Observe", &["echo looked"]);
    let trace = [
        "mkdir \"$PROXYFLEET_ROOT/run/ours\"",
        "echo begun >\"$PROXYFLEET_ROOT/etc/trace\"",
        "while :; do timeout 9 docker --version; done",
    ];
    publish(&sim, "Change", &trace);
    publish(&sim, "Restart", &["docker --version", "echo up"]);
    for (id, host) in hosts(&sim) {
        assert_eq!(output(&run(&sim, "ProxyFleet-Observe", &id).1), "looked\n", "who looks is spared");
        let ecs_config = b"ECS_CLUSTER=web\nHTTP_PROXY=http://10.0.0.131:3128\n";
        host.write("/etc/ecs/ecs.config", ecs_config).expect("writable");
        let boot_id = host.read("/proc/sys/kernel/random/boot_id").expect("there");
        let (command, invocation) = run(&sim, "Change", &id);
        assert_eq!(command["StatusDetails"], "DeliveryTimedOut");
        assert_eq!(output(&invocation), "");
        assert_eq!(host.read("/etc/trace").expect("the script began"), b"begun\n");
        assert!(!host.at("/run/ours").exists(), "a boot clears /run");
        assert_ne!(host.read("/proc/sys/kernel/random/boot_id").expect("there"), boot_id);
        for service in [Service::Docker, Service::Ecs] {
            assert!(host.is_active(service), "{id} {service}");
            assert_eq!((host.starts(service), host.boot_starts(service)), (1, 1), "{id} {service}");
            assert_eq!(sim.command_starts(&id, service), Some(0));
        }
        assert_eq!(host.daemon_reloads(), 0);
        assert_eq!(host.agent_variable("HTTP_PROXY").as_deref(), Some("http://10.0.0.131:3128"));
        let (_, again) = run(&sim, "Restart", &id);
        assert!(output(&again).ends_with("up\n"), "once only: {again:#}");
    }
    assert_eq!(sim.fault_counts().reboots, 3);
}

/// A policy for every instance of the fleet.
const EVERYBODY: &str = "policy: everybody\ntargets:\n  tags: { Role: \"*\" }\nproxy:\n  http: http://10.0.0.132:3128\n\
     components: [ecs-agent, ecs-init, docker, package-manager]\ndocker_restart: allow\n\
     rollout: { max_concurrency: 100%, max_errors: 100% }\n";

/// A fleet and what an apply of [`EVERYBODY`] came to.
fn applied(instances: usize, faults: &str) -> (Fleet, Ran) {
    let fleet = Fleet::with(options(instances, faults));
    let ran = apply(&fleet);
    (fleet, ran)
}

fn apply(fleet: &Fleet) -> Ran {
    let policy = fleet.policy("p.yaml", EVERYBODY);
    fleet.run(&["apply", &policy, "--yes", "--format", "json"])
}

/// The ids of those with this outcome, of which what is said begins with `beginning`.
fn told(ran: &Ran, outcome: &str, beginning: &str) -> BTreeSet<String> {
    let list = ran.json()["instances"].as_array().expect("a list").clone();
    let begins = |why: &Value| why.as_str().unwrap_or_default().starts_with(beginning);
    let those = list.iter().filter(|one| one["outcome"] == outcome && begins(&one["why"]));
    those.map(|one| one["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn an_apply_that_met_a_reboot_everywhere_is_completed_by_the_next() {
    let (fleet, first) = applied(10, "reboots=100%,clock=1000");
    let struck = fleet.sim.struck().reboots.len() as u64;
    assert!(fleet.sim.fault_counts().reboots > struck / 2, "{:?}\n{}", fleet.sim.fault_counts(), first.stderr);
    apply(&fleet).expect(0);
    let policy = fleet.policy("p.yaml", EVERYBODY);
    fleet.run(&["plan", &policy]).expect(0);
    for id in fleet.sim.instance_ids() {
        for service in [Service::Docker, Service::Ecs] {
            let starts = fleet.sim.command_starts(&id, service).unwrap_or_default();
            assert!(starts <= 2, "{id}: {service} was started {starts} times");
        }
    }
}

#[test]
fn a_full_disk_changes_nothing() {
    let (fleet, ran) = applied(4, "disk-full=50%");
    let struck: BTreeSet<String> = fleet.sim.struck().disk_full.iter().map(ToString::to_string).collect();
    assert_eq!(struck.len(), 2);
    let ran = ran.expect(3);
    let refused = told(&ran, "refused", "");
    assert_eq!(refused, struck, "{}", ran.stdout);
    for (id, host) in hosts(&fleet.sim).iter().filter(|(id, _)| struck.contains(id.as_str())) {
        let text = host.read("/etc/ecs/ecs.config").unwrap_or_default();
        assert!(!String::from_utf8_lossy(&text).contains("10.0.0.132"), "{id}");
        let tree = host.snapshot().expect("a snapshot");
        let left = tree.keys().find(|path| path.contains(".proxyfleet."));
        assert_eq!(left, None, "{id}");
    }
}

#[test]
fn a_broken_docker_gets_its_settings_back() {
    let (fleet, ran) = applied(3, "broken-docker=100%");
    let ran = ran.expect(3);
    let back = told(&ran, "rolled-back", "docker did not start with the new setting");
    assert_eq!(back, fleet.sim.struck().broken_docker.iter().map(ToString::to_string).collect(), "{}", ran.stdout);
    for (id, host) in hosts(&fleet.sim) {
        assert!(host.is_active(Service::Docker), "{id}");
        let proxy = host.process_variable(Service::Docker, "HTTP_PROXY").unwrap_or_default();
        assert!(!proxy.contains("10.0.0.132"), "{id} {proxy}");
    }
}

#[test]
fn a_broken_docker_on_windows_starts_with_what_it_had() {
    let host = ModelHost::new(&WindowsState::plain(), Surroundings::open("eu-central-1"));
    host.break_docker();
    let settings = br#"{"proxies": {"http-proxy": "http://10.0.0.131:3128"}}"#;
    host.change(|machine| machine.settings.daemon_json = Some(settings.to_vec()));
    assert!(!host.change(|machine| machine.restart(Service::Docker)));
    host.change(|machine| machine.settings.daemon_json = None);
    assert!(host.change(|machine| machine.restart(Service::Docker)));
    host.reboot();
    assert_eq!(host.starts(Service::Docker), (2, 1));
}

#[test]
fn only_the_first_instance_reaches_the_proxy() {
    let (fleet, ran) = applied(10, "proxy-reach=1");
    let ran = ran.expect(3);
    let cut_off = fleet.sim.struck().no_proxy.clone();
    let refused = told(&ran, "refused", "the proxy cannot be reached");
    assert_eq!(refused, cut_off.iter().map(ToString::to_string).collect(), "{}", ran.stdout);
    let converged = told(&ran, "converged", "");
    assert_eq!(converged.len(), 1, "{}", ran.stdout);
    assert!(converged.first().map(String::as_str) < cut_off.first().map(InstanceId::as_str), "{}", ran.stdout);
}

#[test]
fn the_client_gets_through_a_bad_network() {
    let fleet = Fleet::with(options(4, "throttle=10%,errors=5%,drops=5%,slow=20%,clock=100"));
    apply(&fleet).expect(0);
    let policy = fleet.policy("p.yaml", EVERYBODY);
    fleet.run(&["plan", &policy]).expect(0);
}

#[test]
fn the_command_line_says_which_faults_there_are() {
    let wrong = Ran::of(&binary(&["sim", "--faults", "thottle=1%"]).output().expect("the binary runs")).expect(1);
    assert!(wrong.stderr.contains("`thottle` is no fault that is known"), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("throttle=P%"), "{}", wrong.stderr);
    let alone = Ran::of(&binary(&["plan", "--faults", "slow=1%"]).output().expect("the binary runs")).expect(1);
    assert!(alone.stderr.contains("--sim"), "{}", alone.stderr);
    let plan = ["plan", "--sim=3", "--seed", "7", "--faults", "drops=10%,slow=100%,clock=1000"];
    Ran::of(&binary(&plan).output().expect("the binary runs")).expect(2);
}
