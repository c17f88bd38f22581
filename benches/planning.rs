//! How long it takes, and how much memory, to plan 100,000 observed instances under 100 policies.
//!
//! `cargo bench --no-default-features --bench planning` prints the time of each step and the peak memory of the process.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use proxyfleet::catalog::{Component, Platform, ProxyValues};
use proxyfleet::fleet::{Identity, Instance, InstanceId, Observation, Reach, Scope, parse_observe};
use proxyfleet::plan::{build, resolve};
use proxyfleet::policy::{PolicySet, SourceFile, load};

const INSTANCES: usize = 100_000;
const POLICIES: usize = 100;
/// Distinct reports a platform; real fleets have far fewer.
const REPORTS: usize = 500;

fn main() {
    let set = policies();
    let instances = instances();
    let reports = reports();
    let observations: Vec<Observation> = instances
        .iter()
        .enumerate()
        .map(|(number, instance)| match (&instance.reach, instance.platform()) {
            (Reach::Online, Some(platform)) => {
                let index = Platform::ALL.iter().position(|known| *known == platform).unwrap_or_default();
                Observation::Seen(Arc::clone(&reports[index][number * 7 % REPORTS]))
            }
            _ => Observation::NotAsked,
        })
        .collect();
    println!("inputs: {INSTANCES} instances, {POLICIES} policies, peak memory {} MB", peak_megabytes());
    let mut best = f64::MAX;
    for round in 1..=5 {
        let start = Instant::now();
        let resolution = resolve(&set, &instances).expect("the benchmark's policies do not conflict");
        let resolved = start.elapsed();
        let scope = Scope { account: "111122223333".to_owned(), region: "eu-central-1".to_owned() };
        let plan = build(&set, scope, &instances, &resolution, &observations);
        let whole = start.elapsed();
        best = best.min(whole.as_secs_f64());
        println!(
            "round {round}: {:.0} ms, of it {:.0} ms for choosing policies; {} groups, {} instances to change, {} left out",
            whole.as_secs_f64() * 1e3,
            resolved.as_secs_f64() * 1e3,
            plan.groups.len(),
            plan.changed_instances(),
            plan.left_out.len()
        );
    }
    println!("planning: {:.0} ms at best, peak memory {} MB", best * 1e3, peak_megabytes());
}

fn policies() -> PolicySet {
    let mut text = String::new();
    for number in 0..POLICIES {
        write!(
            text,
            "---\npolicy: team-{number}\ntargets:\n  tags:\n    Team: team-{number}\n    Role: \"ecs-*\"\n  exclude:\n    tags: {{ ProxyExempt: \"true\" }}\n\
             proxy:\n  http: http://10.0.{number}.131:3128\n  no_proxy: [.corp.example.com]\n\
             components: [ecs-agent, ecs-init, docker, package-manager]\npriority: {number}\n"
        )
        .expect("writing to a string cannot fail");
    }
    let loaded = load(&[SourceFile { name: "bench.yaml".to_owned(), text }]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.set
}

fn instances() -> Vec<Instance> {
    (0..INSTANCES)
        .map(|number| {
            let tags = [
                ("Name", format!("ecs-web-{number:06}")),
                ("Team", format!("team-{}", number % POLICIES)),
                ("Role", if number % 20 == 0 { "batch" } else { "ecs-web" }.to_owned()),
                ("Environment", "production".to_owned()),
                ("aws:autoscaling:groupName", format!("asg-{}", number % 300)),
            ];
            Instance {
                id: InstanceId::parse(&format!("i-{number:017x}")).expect("seventeen digits"),
                tags: tags.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
                zone: Some(format!("eu-central-1{}", ["a", "b", "c"][number % 3])),
                identity: Identity::Known(Platform::ALL[number % Platform::ALL.len()]),
                reach: if number % 50 == 0 { Reach::Offline { last_ping: Some(1_760_000_000) } } else { Reach::Online },
            }
        })
        .collect()
}

/// Reports of hosts of which some are right, some lack a setting and some have another proxy.
fn reports() -> Vec<Vec<Arc<proxyfleet::fleet::Observed>>> {
    Platform::ALL
        .iter()
        .map(|platform| {
            (0..REPORTS).map(|number| Arc::new(parse_observe(&report(*platform, number)).expect("a report"))).collect()
        })
        .collect()
}

fn report(platform: Platform, number: usize) -> String {
    let url = format!("http://10.0.{}.131:3128", number % POLICIES);
    let values = ProxyValues::new(url.clone(), url, [".corp.example.com"]);
    let mut text = format!("proxyfleet/1 observe {platform}\ns docker active\ns ecs active\n");
    let mut body = String::new();
    let mut place = 0;
    for row in platform.table().components {
        for setting in row.carrier.settings {
            place += 1;
            writeln!(text, "= {place} {}", values.value(setting.rule)).expect("string");
            let carrier = if number % 11 == place { "-".to_owned() } else { place.to_string() };
            let loaded = if row.loaded { place.to_string() } else { ".".to_owned() };
            let running = if row.component == Component::SsmAgent {
                "?".to_owned()
            } else if row.service.is_some() {
                place.to_string()
            } else {
                ".".to_owned()
            };
            writeln!(body, "k {} {} {carrier} {loaded} {running}", row.component, setting.key).expect("string");
        }
    }
    text + &body + "end\n"
}

/// The most memory this process ever had, from the kernel.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix(" kB")).and_then(|number| number.parse::<u64>().ok());
    kilobytes.unwrap_or_default() / 1024
}
