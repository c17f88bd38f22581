//! What a plan says, case by case. Observations are made from report texts, the way they arrive.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::saved::SavedPlan;
use super::*;
use crate::catalog::ValueRule;
use crate::fleet::{Identity, Instance, Observation, Observed, Reach, parse_observe};
use crate::policy::{PolicySet, SourceFile, load};

const PROXY: &str = "http://10.0.0.131:3128";

fn values() -> ProxyValues {
    ProxyValues::new(PROXY.to_owned(), PROXY.to_owned(), [".corp.example.com"])
}

fn terms(components: &[Component], docker_restart: DockerRestart) -> Terms {
    Terms {
        name: PolicyName::parse("production").expect("name"),
        values: Some(values()),
        components: components.to_vec(),
        docker_restart,
        preflight: Preflight::Require,
        rollout: Rollout::default(),
    }
}

/// A host in which every setting of `platform` is right, with single truths replaced and lines added.
#[derive(Clone)]
struct Host {
    platform: Platform,
    truths: BTreeMap<(Component, Key, &'static str), Option<String>>,
    services: Vec<(Service, &'static str)>,
    lines: Vec<String>,
}

impl Host {
    fn right(platform: Platform) -> Self {
        let services = vec![(Service::Docker, "active"), (Service::Ecs, "active")];
        Self { platform, truths: BTreeMap::new(), services, lines: Vec::new() }
    }

    fn with(mut self, component: Component, key: Key, truth: &'static str, value: Option<&str>) -> Self {
        self.truths.insert((component, key, truth), value.map(str::to_owned));
        self
    }

    fn service(mut self, service: Service, state: &'static str) -> Self {
        self.services.retain(|(known, _)| *known != service);
        self.services.push((service, state));
        self
    }

    fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    fn observed(&self) -> Observed {
        let mut table: Vec<String> = Vec::new();
        let mut word = |value: Option<String>| match value {
            None => "-".to_owned(),
            Some(value) if [".", "?", "+"].contains(&value.as_str()) => value,
            Some(value) => {
                let place = table.iter().position(|known| *known == value).unwrap_or_else(|| {
                    table.push(value);
                    table.len() - 1
                });
                (place + 1).to_string()
            }
        };
        let mut body = String::new();
        for row in self.platform.table().components {
            for setting in row.carrier.settings {
                let right = values().value(setting.rule);
                let mut truth = |name: &'static str, applies: bool| {
                    let given = self.truths.get(&(row.component, setting.key, name)).cloned();
                    let usual = if applies { Some(right.clone()) } else { Some(".".to_owned()) };
                    word(given.unwrap_or(usual))
                };
                let runs = row.service.is_some_and(|service| self.services.contains(&(service, "active")));
                let (carrier, loaded, running) =
                    (truth("carrier", true), truth("loaded", row.loaded), truth("running", runs));
                writeln!(body, "k {} {} {carrier} {loaded} {running}", row.component, setting.key).expect("string");
            }
        }
        let mut text = format!("proxyfleet/1 observe {}\n", self.platform);
        for (service, state) in &self.services {
            writeln!(text, "s {service} {state}").expect("string");
        }
        for (index, value) in table.iter().enumerate() {
            writeln!(text, "= {} {value}", index + 1).expect("string");
        }
        text += &body;
        for line in &self.lines {
            let line = line.replace("$other", &(table.len() + 1).to_string());
            writeln!(text, "{line}").expect("string");
        }
        writeln!(text, "= {} http://other.example.net:8080\nend", table.len() + 1).expect("string");
        parse_observe(&text).expect("the helper writes reports")
    }

    fn assess(&self, terms: &Terms) -> Assessment {
        assess(terms, &self.observed())
    }
}

fn al2() -> Host {
    Host::right(Platform::AmazonLinux2)
}

fn all() -> Terms {
    terms(&Component::ALL, DockerRestart::Allow)
}

/// `component KEY drift` for each change.
fn changes(assessment: &Assessment) -> Vec<String> {
    let line = |change: &Change| format!("{} {} {}", change.component, change.key, change.drift.name());
    assessment.work.changes.iter().map(line).collect()
}

fn windows() -> Host {
    Host::right(Platform::Windows)
}

#[test]
fn what_windows_cannot_prove_is_proven_by_a_start_of_the_agent_alone() {
    let host = windows().with(Component::EcsAgent, Key::HttpProxy, "running", Some("+"));
    let assessment = host.assess(&all());
    assert_eq!(changes(&assessment), ["ecs-agent HTTP_PROXY stale"]);
    assert_eq!(assessment.work.restarts, [Service::Ecs]);
}

#[test]
fn an_agent_that_should_run_is_started_when_there_is_work_on_it_or_on_docker() {
    let due = || windows().service(Service::Ecs, "due");
    let down = Finding::Down { service: Service::Ecs, failed: false };
    let idle = due().assess(&all());
    assert!(idle.in_sync() && idle.findings == [down.clone()], "nothing to do, nothing started: {idle:?}");
    let other = "http://other.example.net:8080";
    for (component, restarts) in [
        (Component::EcsAgent, &[Service::Ecs][..]),
        (Component::Docker, &[Service::Docker, Service::Ecs][..]),
        (Component::MachineEnvironment, &[][..]),
    ] {
        let host = due().with(component, Key::HttpProxy, "carrier", Some(other));
        let host = if component == Component::Docker {
            host.with(component, Key::HttpProxy, "running", Some(other))
        } else {
            host
        };
        let assessment = host.assess(&all());
        assert_eq!(assessment.work.restarts, restarts, "{component}");
        assert_eq!(assessment.findings.contains(&down), restarts.is_empty(), "{component}");
    }
    // Whoever set it to be started by hand wants it down.
    let stopped =
        windows().service(Service::Ecs, "inactive").with(Component::EcsAgent, Key::HttpProxy, "carrier", Some(other));
    let assessment = stopped.assess(&all());
    assert!(assessment.work.restarts.is_empty() && assessment.findings == [down], "{assessment:?}");
    // A start of the agent would start a stopped Docker as well.
    let host =
        due().service(Service::Docker, "inactive").with(Component::EcsAgent, Key::HttpProxy, "carrier", Some(other));
    assert!(host.assess(&all()).work.restarts.is_empty());
}

#[test]
fn the_ssm_agent_is_looked_at_and_never_worked_on() {
    let host = windows().with(Component::SsmAgent, Key::HttpProxy, "carrier", Some("http://other.example.net:8080"));
    assert_eq!(host.assess(&all()), Assessment::default());
    assert!(!Component::IN_POLICIES.contains(&Component::SsmAgent));
}

#[test]
fn a_machine_that_would_cut_its_ssm_agent_off_is_told_of() {
    let machine = Platform::Windows.component(Component::MachineEnvironment).expect("a row").carrier.path;
    let bare = windows().with(Component::SsmAgent, Key::HttpProxy, "carrier", None).with(
        Component::SsmAgent,
        Key::HttpsProxy,
        "carrier",
        None,
    );
    let guide = bare.line(&format!("f ssm-agent HTTP_PROXY inert $other {machine}"));
    let at_risk = Finding::SsmAgentAtRisk { path: machine.to_owned() };
    let named = |components: &[Component]| terms(components, DockerRestart::Allow);
    assert_eq!(guide.assess(&named(&[Component::Docker])).findings, std::slice::from_ref(&at_risk));
    // All three are about to be set, or the other one is there as well.
    assert!(!guide.assess(&all()).findings.contains(&at_risk));
    let both = guide.line(&format!("f ssm-agent HTTPS_PROXY inert $other {machine}"));
    assert_eq!(both.assess(&named(&[Component::Docker])).findings, []);
    let own = windows()
        .with(Component::SsmAgent, Key::HttpProxy, "carrier", Some("http://other.example.net:8080"))
        .with(Component::SsmAgent, Key::HttpsProxy, "carrier", None);
    assert!(matches!(own.assess(&named(&[Component::Docker])).findings[..], [Finding::SsmAgentAtRisk { .. }]));
}

#[test]
fn variables_of_the_machine_are_told_of_and_what_their_readers_do_not_honour() {
    let host = windows().with(Component::MachineEnvironment, Key::HttpProxy, "carrier", None);
    let assessment = host.assess(&all());
    assert_eq!((assessment.findings, assessment.work.restarts), (vec![Finding::MachineWide], vec![]));
    let mut terms = all();
    terms.values.as_mut().expect("present").bypass.push_str(",fd00:ec2::254");
    let lost: Vec<Finding> = windows()
        .assess(&terms)
        .findings
        .into_iter()
        .filter(|finding| matches!(finding, Finding::Lost { .. }))
        .collect();
    let entries = "fd00:ec2::254".to_owned();
    assert_eq!(lost, [Finding::Lost { component: Component::MachineEnvironment, dialect: Dialect::DotNet, entries }]);
}

#[test]
fn a_host_that_is_right_needs_nothing_on_any_platform() {
    for platform in Platform::ALL {
        let assessment = Host::right(platform).assess(&all());
        assert_eq!(assessment, Assessment::default(), "{platform}");
        assert!(assessment.in_sync());
    }
}

#[test]
fn each_kind_of_difference_has_its_name_and_its_least_restart() {
    use {Component::*, Key::*};
    let case = |host: Host, expected: &str, restarts: &[Service]| {
        let assessment = host.assess(&all());
        assert_eq!(changes(&assessment), [expected], "{expected}");
        assert_eq!(assessment.work.restarts, restarts, "{expected}");
    };
    let both = [Service::Docker, Service::Ecs];
    let old = Some("http://old:1");
    let docker = |truth, value| al2().with(Docker, HttpsProxy, truth, value);
    case(docker("carrier", None).with(Docker, HttpsProxy, "running", None), "docker HTTPS_PROXY missing", &both);
    case(docker("carrier", old).with(Docker, HttpsProxy, "running", old), "docker HTTPS_PROXY different", &both);
    case(docker("running", old), "docker HTTPS_PROXY stale", &both);
    case(docker("running", None).with(Docker, HttpsProxy, "loaded", None), "docker HTTPS_PROXY stale", &both);
    case(al2().with(EcsAgent, NoProxy, "running", None), "ecs-agent NO_PROXY stale", &[Service::Ecs]);
    case(al2().with(PackageManager, Proxy, "carrier", None), "package-manager proxy missing", &[]);
    // Somebody edited a file and nothing was restarted: the process is right, so it is left alone.
    case(docker("carrier", old), "docker HTTPS_PROXY different", &[]);
    case(docker("loaded", old), "docker HTTPS_PROXY stale", &[]);
    // A stopped service reads its file when it starts; it is not started for it.
    case(docker("carrier", None).service(Service::Docker, "inactive"), "docker HTTPS_PROXY missing", &[]);
}

#[test]
fn lists_are_compared_as_sets() {
    let reordered = ".CORP.example.com, 169.254.170.2,169.254.169.254,169.254.169.254";
    let host = al2().with(Component::Docker, Key::NoProxy, "carrier", Some(reordered));
    assert!(host.assess(&all()).in_sync());
    let shorter = al2().with(Component::Docker, Key::NoProxy, "carrier", Some("169.254.169.254"));
    assert_eq!(changes(&shorter.assess(&all())), ["docker NO_PROXY different"]);
}

#[test]
fn a_deferred_restart_is_reported_and_never_planned() {
    let defer = terms(&Component::ALL, DockerRestart::Defer);
    let stale = al2().with(Component::Docker, Key::HttpProxy, "running", None);
    let assessment = stale.assess(&defer);
    assert_eq!((changes(&assessment), assessment.pending.clone()), (vec![], vec![Service::Docker]));
    assert!(!assessment.in_sync(), "what runs is not what the policy wants");
    let missing = stale.with(Component::Docker, Key::HttpProxy, "carrier", None);
    let work = missing.assess(&defer).work;
    assert_eq!((work.restarts, work.deferred), (vec![], vec![Service::Docker]));
    // A definition that is not loaded would be missed by whoever restarts Docker later, so it is loaded now.
    let unloaded = al2().with(Component::Docker, Key::HttpProxy, "running", None).with(
        Component::Docker,
        Key::HttpProxy,
        "loaded",
        None,
    );
    assert_eq!(changes(&unloaded.assess(&defer)), ["docker HTTP_PROXY stale"]);
}

#[test]
fn a_foreign_source_that_wins_leaves_its_component_alone_and_the_others_not() {
    let host = al2()
        .with(Component::Docker, Key::HttpProxy, "running", Some("http://other.example.net:8080"))
        .with(Component::EcsAgent, Key::HttpProxy, "carrier", None)
        .line("f docker HTTP_PROXY overrides $other /etc/systemd/system/docker.service.d/zz.conf");
    let assessment = host.assess(&all());
    let path = "/etc/systemd/system/docker.service.d/zz.conf".to_owned();
    let obstacle = Obstacle::Overridden { key: Key::HttpProxy, path };
    assert_eq!(assessment.obstacles, [Reason::Component { component: Component::Docker, obstacle }]);
    assert_eq!(changes(&assessment), ["ecs-agent HTTP_PROXY missing"]);
    assert!(!assessment.work.restarts.contains(&Service::Docker));
}

#[test]
fn a_foreign_source_does_no_harm_where_it_agrees_is_governed_or_is_inert() {
    let agrees = al2().line("f docker HTTP_PROXY overrides 1 /etc/sysconfig/docker");
    assert!(agrees.assess(&all()).in_sync());
    let governed = al2().line("f ecs-init HTTP_PROXY overrides $other /etc/ecs/ecs.config");
    assert!(governed.assess(&all()).in_sync(), "the same policy writes that file");
    let ungoverned = governed.assess(&terms(&[Component::EcsInit], DockerRestart::Allow));
    assert_eq!(ungoverned.obstacles.len(), 1, "nobody writes that file, so it wins");
    let inert = al2().line("f docker HTTP_PROXY inert $other /etc/sysconfig/docker").assess(&all());
    assert!(inert.in_sync() && inert.findings.len() == 1);
}

#[test]
fn what_cannot_be_known_or_edited_is_left_alone_with_its_reason() {
    let only = |host: Host, expected: Obstacle| {
        let assessment = host.assess(&all());
        let reason = Reason::Component { component: Component::Docker, obstacle: expected };
        assert_eq!(assessment.obstacles, [reason]);
        assert_eq!(changes(&assessment), Vec::<String>::new());
    };
    only(
        al2().with(Component::Docker, Key::HttpProxy, "running", Some("?")),
        Obstacle::Unreadable { key: Key::HttpProxy, truth: "running" },
    );
    only(
        al2().line("b docker not-text /x"),
        Obstacle::Blocked { reason: "not-text".to_owned(), path: "/x".to_owned() },
    );
    only(al2().service(Service::Docker, "absent"), Obstacle::NotInstalled(Service::Docker));
}

#[test]
fn services_that_are_down_and_orphans_are_told_and_left_alone() {
    let host = al2().service(Service::Ecs, "failed").line("m package-manager proxy intact -");
    let assessment = host.assess(&terms(&[Component::EcsAgent], DockerRestart::Allow));
    assert_eq!(
        assessment.findings,
        [
            Finding::Orphan { component: Component::PackageManager },
            Finding::Down { service: Service::Ecs, failed: true },
        ]
    );
    assert!(assessment.work.restarts.is_empty() && assessment.work.changes.is_empty());
}

#[test]
fn absent_takes_away_what_is_ours_and_only_that() {
    let mut absent = all();
    absent.values = None;
    let host = al2()
        .line("m ecs-agent HTTP_PROXY intact -")
        .line("m ecs-agent NO_PROXY intact $other")
        .line("m docker HTTP_PROXY changed -");
    let assessment = host.assess(&absent);
    assert_eq!(changes(&assessment), ["ecs-agent HTTP_PROXY unwanted", "ecs-agent NO_PROXY unwanted"]);
    assert_eq!(assessment.work.changes[0].to, Target::Removed);
    assert!(matches!(assessment.work.changes[1].to, Target::Restored(Truth::Is(_))));
    assert_eq!(assessment.work.restarts, [Service::Ecs]);
    let not_ours = |component, key| Finding::NotOurs { component, key };
    assert!(assessment.findings.contains(&not_ours(Component::Docker, Key::HttpProxy)), "edited since by somebody");
    assert!(assessment.findings.contains(&not_ours(Component::PackageManager, Key::Proxy)), "never ours");
}

#[test]
fn a_carrier_that_cannot_be_edited_is_no_success_under_absent_either() {
    let mut absent = all();
    absent.values = None;
    let blocked = al2().line("b package-manager dangling-link /etc/yum.conf");
    let ours = blocked.clone().line("m package-manager proxy changed -").assess(&absent);
    assert_eq!((ours.obstacles.len(), ours.in_sync()), (1, false), "what is ours cannot be taken away");
    let not_ours = blocked.assess(&absent);
    assert_eq!(not_ours.obstacles, [], "nothing of ours is in it");
}

#[test]
fn a_file_that_the_policy_governs_but_cannot_edit_still_overrides() {
    let host = al2()
        .line("f ecs-init HTTP_PROXY overrides $other /etc/ecs/ecs.config")
        .line("b ecs-agent continued-line /etc/ecs/ecs.config");
    let left_out: Vec<Component> = host
        .assess(&all())
        .obstacles
        .iter()
        .map(|reason| match reason {
            Reason::Component { component, .. } => *component,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(left_out, [Component::EcsAgent, Component::EcsInit]);
}

fn policy(name: &str, priority: i64, tags: &str) -> String {
    format!(
        "policy: {name}\npriority: {priority}\ntargets:\n  tags: {tags}\nproxy:\n  http: {PROXY}\n  \
         no_proxy: [.corp.example.com]\ncomponents: [ecs-agent, ecs-init, docker, package-manager]\ndocker_restart: allow\n"
    )
}

fn set(documents: &[String]) -> PolicySet {
    let loaded = load(&[SourceFile { name: "p.yaml".to_owned(), text: documents.join("---\n") }]);
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.set
}

fn instance(number: usize, identity: Identity, reach: Reach, tags: &[(&str, &str)]) -> Instance {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Instance { id: InstanceId::parse(&format!("i-{number:017}")).expect("id"), tags, zone: None, identity, reach }
}

const AL2: Identity = Identity::Known(Platform::AmazonLinux2);

#[test]
fn the_highest_priority_wins_whole_and_a_tie_is_a_conflict() {
    let low = policy("low", 1, "{ Role: \"ecs-*\" }");
    let high = policy("high", 2, "{ Role: [ecs-web, ecs-worker] }");
    let web = instance(1, AL2, Reach::Online, &[("Role", "ecs-web")]);
    let ingest = instance(2, AL2, Reach::Online, &[("Role", "ecs-ingest")]);
    let other = instance(3, AL2, Reach::Online, &[("Role", "batch")]);
    let instances = [web.clone(), ingest, other];
    let resolution = resolve(&set(&[low.clone(), high.clone()]), &instances).expect("no tie");
    assert_eq!(resolution.policy, [Some(1), Some(0), None]);
    let tie = set(&[low, high.replace("priority: 2", "priority: 1"), policy("top", 9, "{ Role: ecs-worker }")]);
    let conflicts = resolve(&tie, &instances).expect_err("a tie");
    assert_eq!(conflicts, [Conflict { first: 0, second: 1, instances: vec![web.id] }]);
    let worker = instance(4, AL2, Reach::Online, &[("Role", "ecs-worker")]);
    assert_eq!(resolve(&tie, &[worker]).expect("a higher one wins over the tie").policy, [Some(2)]);
}

#[test]
fn everybody_is_in_exactly_one_place_and_equal_work_is_one_group() {
    let set = set(&[policy("production", 1, "{ Role: web }")]);
    let web = [("Role", "web"), ("Name", "w")];
    let offline = Reach::Offline { last_ping: Some(0) };
    let unsupported = Identity::Unsupported { name: "Ubuntu".into(), version: "22.04".into() };
    let instances = [
        instance(1, AL2, Reach::Online, &web),
        instance(2, AL2, Reach::Online, &web),
        instance(3, AL2, Reach::Online, &web),
        instance(4, AL2, offline, &web),
        instance(5, unsupported, Reach::Online, &web),
        instance(6, Identity::Unknown, Reach::Unregistered, &web),
        instance(7, AL2, Reach::Online, &web),
        instance(8, AL2, Reach::Online, &[]),
        instance(9, AL2, Reach::Online, &web),
    ];
    let missing = al2().with(Component::PackageManager, Key::Proxy, "carrier", None);
    let missing_too = missing.clone().line("f docker HTTP_PROXY inert $other /etc/sysconfig/docker");
    let seen = |host: &Host| Observation::Seen(Arc::new(host.observed()));
    let observations = [
        seen(&missing),
        seen(&missing_too),
        seen(&al2()),
        Observation::NotAsked,
        Observation::NotAsked,
        Observation::NotAsked,
        Observation::Unanswered("no report".into()),
        Observation::NotAsked,
        seen(&Host::right(Platform::AmazonLinux2023)),
    ];
    let scope = Scope { account: "111122223333".into(), region: "eu-central-1".into() };
    let resolution = resolve(&set, &instances).expect("no conflict");
    let plan = build(&set, scope, &instances, &resolution, &observations);
    assert_eq!(plan.groups.len(), 1);
    assert_eq!(plan.groups[0].instances.len(), 2, "reports differ, work does not");
    assert_eq!((plan.in_sync.clone(), plan.untargeted), (vec![1], 1));
    let reasons: Vec<(&str, &Reason)> = plan.left_out.iter().map(|one| (one.id.as_str(), &one.reason)).collect();
    assert_eq!(reasons.len(), 5);
    assert!(reasons.iter().any(|(id, reason)| id.ends_with('9')
        && matches!(reason, Reason::NotObserved { why } if why.contains("amazon-linux-2023"))));

    let text = serde_json::to_string(&SavedPlan::of(&plan)).expect("json");
    let again = SavedPlan::parse(&text).expect("a saved plan is read again");
    assert_eq!(serde_json::to_string(&SavedPlan::of(&again)).expect("json"), text);
    assert_eq!(format!("{again:?}"), format!("{plan:?}"));
}

#[test]
fn a_saved_plan_that_was_tampered_with_is_refused() {
    let set = set(&[policy("production", 1, "{ Role: web }")]);
    let instances = [instance(1, AL2, Reach::Online, &[("Role", "web")])];
    let observed = al2().with(Component::PackageManager, Key::Proxy, "carrier", None).observed();
    let scope = Scope { account: "1".into(), region: "r".into() };
    let resolution = resolve(&set, &instances).expect("no conflict");
    let plan = build(&set, scope, &instances, &resolution, &[Observation::Seen(Arc::new(observed))]);
    let text = serde_json::to_string(&SavedPlan::of(&plan)).expect("json");
    for (from, to) in [
        ("proxyfleet-plan/2", "proxyfleet-plan/1"),
        ("http://10.0.0.131:3128\",\"https", "http://$(reboot):1\",\"https"),
        ("\"i-00000000000000001\"", "\"i-1\""),
        ("amazon-linux-2", "plan9"),
        ("\"allow\"", "\"always\""),
        ("\"waves\":[\"1\",", "\"waves\":[\"0\","),
        ("\"gate\":null", "\"gate\":{\"command\":[],\"timeout\":\"1m\",\"hold\":\"30m\"}"),
        ("\"untargeted\":0", "\"untargeted\":0,\"more\":1"),
        ("169.254.169.254,", "169.254.169.254;reboot,"),
    ] {
        let tampered = text.replacen(from, to, 1);
        assert_ne!(tampered, text, "{from} is in the plan");
        assert!(SavedPlan::parse(&tampered).is_err(), "{to} must be refused");
    }
}

#[test]
fn every_setting_of_the_catalogue_gets_its_value_from_the_policy() {
    let values = values();
    for row in Platform::ALL.iter().flat_map(|platform| platform.table().components) {
        for setting in row.carrier.settings {
            let value = values.value(setting.rule);
            let bypasses_link_local = ["169.254.169.254", "169.254.170.2"].iter().all(|one| value.contains(one));
            match setting.rule {
                ValueRule::HttpProxy | ValueRule::HttpsProxy => assert_eq!(value, PROXY),
                ValueRule::Bypass
                | ValueRule::BypassWithSocket
                | ValueRule::BypassWithPipe
                | ValueRule::BypassForAll => assert!(bypasses_link_local, "{}", row.component),
            }
        }
    }
}

#[test]
fn a_part_of_a_plan_begins_with_one_of_each_platform() {
    let member = |number: usize, wave| Member {
        id: InstanceId::parse(&format!("i-{number:017}")).expect("id"),
        name: None,
        fingerprint: String::new(),
        wave,
    };
    let group = |platform, instances| Group { policy: 0, platform, work: Arc::new(Work::default()), instances };
    let mut plan = Plan {
        scope: Scope { account: String::new(), region: String::new() },
        policies: vec![terms(&[Component::Docker], DockerRestart::Defer)],
        groups: vec![
            group(Platform::AmazonLinux2, (1..=4).map(|number| member(number, number - 1)).collect()),
            group(Platform::Windows, (5..=7).map(|number| member(number, number - 5)).collect()),
        ],
        in_sync: vec![0],
        pending: Vec::new(),
        left_out: Vec::new(),
        notes: Vec::new(),
        untargeted: 0,
    };
    let waves = |plan: &Plan| -> Vec<usize> {
        plan.groups.iter().flat_map(|group| &group.instances).map(|member| member.wave).collect()
    };
    plan.keep(|_| true);
    assert_eq!(waves(&plan), [0, 1, 2, 3, 0, 1, 2], "the whole plan stays as it was shown");
    plan.keep(|member| member.wave > 0);
    assert_eq!(waves(&plan), [0, 3, 4, 0, 3]);
    plan.keep(|member| member.id == InstanceId::parse("i-00000000000000004").expect("id"));
    assert_eq!(waves(&plan), [0]);
    assert_eq!(plan.groups.len(), 1);
}
