//! Windows instances of a served fleet, modelled and real, with the binary as client.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proxyfleet::sim::SimOptions;
use proxyfleet::sim::windows::WindowsHost;

use crate::fleet::{Fleet, binary};
use crate::winhost::windows_hosts;

/// The carrier of the ECS agent.
const ENVIRONMENT: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\AmazonECS\Environment";

#[test]
fn every_sort_of_windows_instance_converges() {
    let fleet = Fleet::start(150, 3);
    let policy = fleet.policy(
        "all.yaml",
        "policy: all\ntargets:\n  tags: { Role: '*' }\n  platforms: [windows]\nproxy:\n  http: http://10.0.0.131:3128\n\
         components: [ecs-agent, docker, machine-environment]\ndocker_restart: allow\n",
    );
    let windows =
        || fleet.sim.instance_ids().into_iter().filter_map(|id| fleet.sim.windows_host(&id).map(|host| (id, host)));
    // More than there are scenarios, one of which is a broken daemon.json.
    assert!(windows().count() > 12);
    fleet.run(&["apply", &policy, "--yes"]).expect(0);
    let plan = fleet.run(&["plan", &policy]).expect(0);
    assert!(plan.stdout.contains("daemon.json"), "{}", plan.stdout);
    let starts: Vec<_> = windows().map(|(_, host)| host.look().unwrap().services).collect();
    fleet.run(&["apply", &policy, "--yes"]).expect(0);
    assert_eq!(windows().map(|(_, host)| host.look().unwrap().services).collect::<Vec<_>>(), starts, "nothing starts");
}

#[test]
fn real_windows_hosts_are_planned_applied_and_repaired() {
    if windows_hosts().is_none() {
        return;
    }
    let fleet = Fleet::with(SimOptions { instances: 20, seed: 7, winhost: 2, ..SimOptions::default() });
    let real = fleet.sim.real_windows_hosts();
    assert_eq!(real.len(), 2);
    let plan = fleet.run(&["plan", "policies/"]).expect(2);
    assert!(plan.stdout.contains("windows"), "{}", plan.stdout);
    fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    fleet.run(&["plan", "policies/"]).expect(0);

    let id = &real[0].0;
    let host = fleet.sim.windows_host(id).unwrap();
    let WindowsHost::Real(body) = &*host else { panic!("{id} is a model") };
    let before = host.look().unwrap();
    let (key, value) = ENVIRONMENT.rsplit_once('\\').unwrap();
    let edit =
        ["reg", "add", key, "/v", value, "/t", "REG_MULTI_SZ", "/d", r"HTTP_PROXY=http://10.0.0.9:1\0ECS_A=b", "/f"];
    assert_eq!(body.host().exec(&edit).unwrap().exit, Some(0));
    let plan = fleet.run(&["plan", "policies/"]).expect(2);
    assert!(plan.stdout.contains(id.as_str()) && plan.stdout.contains("http://10.0.0.9:1"), "{}", plan.stdout);
    fleet.run(&["apply", "policies/", "--yes"]).expect(0);
    fleet.run(&["plan", "policies/"]).expect(0);
    let after = host.look().unwrap();
    let strings = format!("{:?}", after.registry[ENVIRONMENT]);
    assert!(strings.contains("ECS_A=b") && !strings.contains("10.0.0.9"), "{strings}");
    assert_eq!(after.docker, before.docker);
}

#[test]
fn without_the_tool_there_are_no_real_hosts() {
    let run = |tool: &str, arguments: &[&str]| binary(arguments).env("PROXYFLEET_WINHOST", tool).output().unwrap();
    let output = run("/nowhere", &["sim", "--winhost", "1", "--listen", "127.0.0.1:0"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    let output = binary(&["sim", "--instances", "2", "--winhost", "5", "--listen", "127.0.0.1:0"]).output().unwrap();
    let crowded = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{crowded}");
    assert!(windows_hosts().is_none() || crowded.contains("a fleet of 2 instances has no"), "{crowded}");
    for part in ["there are no real Windows hosts here", "/nowhere", "PROXYFLEET_WINHOST", "wine"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
