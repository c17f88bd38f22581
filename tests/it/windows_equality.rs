//! Modelled Windows hosts and real ones: the same state looks the same, and the same things lead to the same state.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::time::Duration;

use proxyfleet::catalog::{Component, ProxyValues, Service};
use proxyfleet::document::{self, Action, ApplyParameters};
use proxyfleet::policy::{DockerRestart, PolicyName, Preflight};
use proxyfleet::sim::host::{Finished, ProxyAnswer};
use proxyfleet::sim::windows::{
    DAEMON_JSON, HOME, Look, ModelHost, Proxies, RealHost, RegValue, ServerVersion, Settings, StartType, Surroundings,
    WindowsState,
};

use crate::winhost::{FreshHost, apply_script, fresh_host, script};

/// One host of each body.
struct Pair {
    model: ModelHost,
    fresh: FreshHost,
    proxies: Proxies,
}

impl Pair {
    fn new() -> Option<Self> {
        let surroundings = Surroundings {
            region: "eu-central-1".to_owned(),
            proxies: [(PROXIES[0].to_owned(), ProxyAnswer::Status(200))].into(),
            other_proxies: ProxyAnswer::Unreachable,
        };
        let proxies = Proxies::start(&[PROXIES[0].to_owned()]).unwrap();
        let fresh = fresh_host(ServerVersion::Server2022)?;
        let pair = Self { model: ModelHost::new(&WindowsState::plain(), surroundings), fresh, proxies };
        // A fresh host has started its services, which a state does not count.
        pair.put(&WindowsState::plain());
        Some(pair)
    }

    fn real(&self) -> &RealHost {
        &self.fresh.host
    }

    fn put(&self, state: &WindowsState) {
        self.real().put(state).unwrap();
        self.model.put(state);
    }

    /// What is seen on both.
    #[track_caller]
    fn look(&self, case: &str) -> Look {
        let (real, model) = (self.real().look().unwrap(), self.model.look());
        assert_same(&model.to_string(), &real.to_string(), case);
        assert_eq!(model, real, "{case}");
        real
    }
}

/// Two texts with the same lines; a failure shows only those that differ.
#[track_caller]
fn assert_same(model: &str, real: &str, case: &str) {
    let only = |left: &str, right: &str| -> String {
        let lines: Vec<&str> = left.lines().filter(|line| !right.lines().any(|other| other == *line)).collect();
        lines.join("\n")
    };
    assert!(model == real, "{case}\nmodel:\n{}\nreal:\n{}", only(model, real), only(real, model));
}

fn values(proxy: &str) -> ProxyValues {
    ProxyValues::new(format!("http://{proxy}"), format!("http://{proxy}"), [".internal.example.com", "10.0.0.15"])
}

fn odd_settings() -> Settings {
    let mut settings = Settings::none();
    settings.environments.insert(
        Service::Ecs,
        RegValue::multi([
            "ECS_CLUSTER=web",
            "http_proxy=http://10.0.0.99:8080",
            "Http_Proxy=http://10.0.0.98:1",
            "=x=y",
        ]),
    );
    settings.environments.insert(Service::SsmAgent, RegValue::Sz("HTTP_PROXY=http://10.0.0.99:8080".to_owned()));
    settings.machine.insert("Https_Proxy".to_owned(), RegValue::ExpandSz("http://10.0.0.97:1".to_owned()));
    settings.local_system.insert("no_proxy".to_owned(), RegValue::Sz("a,b".to_owned()));
    settings.daemon_json =
        Some(br#"{"proxies":{"http-proxy":"http://u:p@10.0.0.96:1","no-proxy":""},"debug":true}"#.to_vec());
    settings
}

#[test]
fn a_state_looks_the_same_on_both_bodies() {
    let Some(pair) = Pair::new() else { return };
    let fallback = Settings::configured(&values("10.0.0.131:3128"), true);
    for (case, state) in [
        ("plain", WindowsState::plain()),
        ("configured", WindowsState::plain().with(Settings::configured(&values("10.0.0.131:3128"), false))),
        ("stale", WindowsState::plain().with(fallback.clone()).started_with(odd_settings())),
        ("odd", WindowsState::plain().with(odd_settings()).stopped(Service::Ecs, StartType::Manual)),
        ("docker stopped", WindowsState::plain().with(fallback).stopped(Service::Docker, StartType::Automatic)),
    ] {
        pair.put(&state);
        pair.look(case);
        pair.real().shell("Restart-Service docker -Force").unwrap();
        pair.model.change(|machine| machine.restart(Service::Docker));
        pair.look(&format!("{case}, docker restarted"));
    }
    let mut without = WindowsState::plain();
    without.services.remove(&Service::Ecs);
    without.build = Some("9600".to_owned());
    pair.put(&without);
    pair.look("no agent");
    // Services inherit LocalSystem's variables (proxy-by-os 8.1), but not under wine.
    let odd = Settings { local_system: BTreeMap::new(), ..odd_settings() };
    pair.put(&WindowsState::plain().with(odd));
    pair.real().reboot().unwrap();
    pair.model.reboot();
    pair.look("rebooted");
    pair.put(&WindowsState::plain());
    pair.look("plain again");
}

/// The proxies that a policy asks for here; only the first answers.
const PROXIES: [&str; 3] = ["10.0.0.131:3128", "10.0.0.99:8080", "proxy.example.com:3128"];

fn present(proxy: &str, components: &[Component]) -> ApplyParameters {
    ApplyParameters {
        values: Some(values(proxy)),
        components: components.to_vec(),
        docker_restart: DockerRestart::Allow,
        preflight: Preflight::Skip,
        policy: PolicyName::parse("ecs-production").unwrap(),
        run: String::new(),
        action: Action::Apply,
    }
}

fn absent(components: &[Component]) -> ApplyParameters {
    ApplyParameters { values: None, ..present(PROXIES[0], components) }
}

impl Pair {
    /// Runs a script on both and asserts that it says and does the same; returns what it printed.
    #[track_caller]
    #[expect(clippy::print_stderr, reason = "a second start must not be silent")]
    fn run(&self, script: &str, case: &str) -> String {
        let route = self.proxies.route();
        let environment =
            [("AWS_SSM_REGION_NAME", "eu-central-1"), ("PROXYFLEET_ROUTE", route.as_str()), ("PROXYFLEET_WAIT", "2")];
        let once = || self.real().run(script.as_bytes(), &environment, &[], Duration::from_mins(3)).unwrap();
        let mut real = once();
        // A script of ours always says something. A process under wine that ends without a word has not begun with it; had it
        // done anything, the second report or the state afterwards would differ from the model's.
        if real.exit == Some(1) && real.stdout.is_empty() && real.stderr.is_empty() {
            eprintln!("PowerShell under wine ended without a word, and is started once more: {case}");
            real = once();
        }
        let model = self.model.run(script);
        let text = |finished: &Finished| {
            let error = String::from_utf8_lossy(&finished.stderr).into_owned();
            format!("{}exit {:?}\n{error}", String::from_utf8_lossy(&finished.stdout), finished.exit)
        };
        assert_same(
            &text(&model),
            &text(&real),
            &format!("{case}\n--- real:\n{}--- model:\n{}", text(&real), text(&model)),
        );
        text(&real)
    }

    #[track_caller]
    fn observe(&self, case: &str) -> String {
        self.run(&script(&document::observe()), &format!("{case}, observe"))
    }

    #[track_caller]
    fn apply(&self, parameters: &ApplyParameters, case: &str) -> String {
        let text = self.run(&apply_script(parameters), &format!("{case}, {parameters:?}"));
        self.look(&format!("{case}, {parameters:?}\n{text}"));
        text
    }
}

const BOTH: [Component; 2] = [Component::EcsAgent, Component::Docker];

#[test]
fn an_apply_and_its_way_back_are_the_same_on_both_bodies() {
    let Some(pair) = Pair::new() else { return };
    let before = pair.look("plain");
    pair.observe("plain");
    let all = [Component::EcsAgent, Component::Docker, Component::MachineEnvironment];
    for (parameters, result) in [
        (present(PROXIES[0], &all), "changed"),
        (present(PROXIES[0], &all), "unchanged"),
        (present(PROXIES[1], &BOTH), "changed"),
        (absent(&all), "changed"),
        (absent(&all), "unchanged"),
    ] {
        let text = pair.apply(&parameters, "plain");
        assert!(text.starts_with(&format!("proxyfleet/1 apply windows {result}\n")), "{text}");
        pair.observe("plain, then");
    }
    let mut after = pair.look("plain again");
    // With what the agent started last is still known.
    after.files.remove(&format!(r"{HOME}\started"));
    assert_eq!((after.registry, after.files), (before.registry, before.files));
}

/// Named states, each with what an apply says of them.
fn named_states() -> Vec<(&'static str, WindowsState, &'static str)> {
    let plain = WindowsState::plain;
    let configured = |proxy| Settings::configured(&values(proxy), false);
    let json = |text: &str| Settings { daemon_json: Some(text.as_bytes().to_vec()), ..Settings::none() };
    let old = |state: WindowsState| WindowsState { docker_version: "20.10.9".to_owned(), ..state };
    let with_options = |options: &str| WindowsState { docker_options: options.to_owned(), ..plain() };
    let mut no_agent = plain();
    no_agent.services.remove(&Service::Ecs);
    let restarting = [(format!(r"{HOME}\restarting"), b"docker\necs\n".to_vec())];
    let wrong_kind = Settings {
        environments: [(Service::Ecs, RegValue::Sz("HTTP_PROXY=http://10.0.0.99:8080".to_owned()))].into(),
        ..Settings::none()
    };
    vec![
        ("configured", plain().with(configured(PROXIES[0])), "changed"),
        ("former", plain().with(configured(PROXIES[1])), "changed"),
        ("stale", plain().with(configured(PROXIES[0])).started_with(configured(PROXIES[1])), "changed"),
        ("odd", plain().with(odd_settings()), "changed"),
        ("agent due", plain().stopped(Service::Ecs, StartType::Automatic), "changed"),
        ("agent stopped on purpose", plain().stopped(Service::Ecs, StartType::Manual), "changed"),
        ("docker stopped", plain().stopped(Service::Docker, StartType::Automatic), "changed"),
        ("old docker", old(plain()), "changed"),
        ("old docker, configured", old(plain().with(Settings::configured(&values(PROXIES[0]), true))), "changed"),
        ("no agent", no_agent, "refused component-absent"),
        ("unknown version", WindowsState { build: Some("9600".to_owned()), ..plain() }, "refused wrong-platform"),
        ("broken file", plain().with(json("{\"debug\": true,}")).started_with(Settings::none()), "refused unsupported"),
        (
            "old docker that does not start again",
            old(plain().with(json("{\"debug\": true,}")).started_with(Settings::none())),
            "failed rollback-docker",
        ),
        (
            "other members",
            plain().with(json("{\r\n\t\"debug\": true,\r\n\t\"proxies\": {\"ftp-proxy\": \"x\"}\r\n}")),
            "changed",
        ),
        ("flag", with_options("--run-service --http-proxy http://10.0.0.99:8080"), "refused unsupported"),
        ("other file", with_options(r"--run-service --config-file=D:\daemon.json"), "refused unsupported"),
        ("no flag", with_options("--run-service --no-proxy-please"), "changed"),
        ("wrong kind", plain().with(wrong_kind), "refused unsupported"),
        (
            "version of no number",
            WindowsState { docker_version: "master".to_owned(), ..plain() },
            "refused unsupported",
        ),
        (
            "killed while restarting",
            WindowsState {
                files: restarting.into(),
                ..plain().with(configured(PROXIES[0])).stopped(Service::Docker, StartType::Automatic)
            },
            "changed",
        ),
    ]
}

#[test]
fn every_named_state_leads_to_the_same_on_both_bodies() {
    let Some(pair) = Pair::new() else { return };
    for (number, (case, state, result)) in named_states().into_iter().enumerate() {
        pair.put(&state);
        let text = pair.apply(&present(PROXIES[0], &BOTH), case);
        assert!(text.starts_with(&format!("proxyfleet/1 apply windows {result}\n")), "{case}\n{text}");
        // What stands in the way is in the report as well. Of what was done some is taken back; the random states do more of
        // that.
        if result.starts_with("refused") {
            pair.observe(case);
        } else if number % 3 == 0 {
            pair.apply(&absent(&BOTH), case);
        }
    }
}

#[test]
fn proxies_that_do_not_answer_are_refused_on_both_bodies() {
    let Some(pair) = Pair::new() else { return };
    for (proxy, result) in [(PROXIES[0], "changed"), (PROXIES[1], "refused preflight-unreachable")] {
        let parameters = ApplyParameters { preflight: Preflight::Require, ..present(proxy, &BOTH) };
        let text = pair.apply(&parameters, proxy);
        assert!(text.starts_with(&format!("proxyfleet/1 apply windows {result}\n")), "{text}");
    }
}

/// What puts back the run of an apply.
fn back(of: &ApplyParameters) -> ApplyParameters {
    ApplyParameters { action: Action::PutBack, ..of.clone() }
}

#[test]
fn putting_back_is_the_same_on_both_bodies() {
    let Some(pair) = Pair::new() else { return };
    let all = [Component::EcsAgent, Component::Docker, Component::MachineEnvironment];
    let of_run = |run: &str, parameters| ApplyParameters { run: run.to_owned(), ..parameters };
    let ends = |parameters: &ApplyParameters, result: &str, case: &str| {
        let text = pair.apply(parameters, case);
        assert!(text.starts_with(&format!("proxyfleet/1 apply windows {result}\n")), "{case}\n{text}");
        text
    };
    let odd = Settings { local_system: BTreeMap::new(), ..odd_settings() };
    let old = WindowsState { docker_version: "20.10.9".to_owned(), ..WindowsState::plain() };
    for (case, state) in [
        ("plain", WindowsState::plain()),
        ("configured", WindowsState::plain().with(Settings::configured(&values(PROXIES[2]), false))),
        ("odd", WindowsState::plain().with(odd)),
        ("old docker", old),
        ("agent stopped", WindowsState::plain().stopped(Service::Ecs, StartType::Manual)),
    ] {
        pair.put(&state);
        let before = pair.look(case);
        let first = of_run("r-1", present(PROXIES[0], &all));
        ends(&first, "changed", case);
        ends(&of_run("r-1", present(PROXIES[1], &all)), "changed", case);
        ends(&back(&of_run("r-2", first.clone())), "unchanged", case);
        let deferred = ApplyParameters { docker_restart: DockerRestart::Defer, ..back(&first) };
        let text = ends(&deferred, "changed", case);
        assert!(text.contains("\np docker\n") && text.contains("\nw "), "{case}\n{text}");
        ends(&deferred, "unchanged", case);
        assert!(ends(&back(&first), "changed", case).contains("\nr docker\n"), "{case}");
        assert!(ends(&back(&first), "unchanged", case).contains("\ne run r-1 was put back before\n"), "{case}");
        let mut after = pair.look(case);
        // With what the agent started last is still known.
        after.files.remove(&format!(r"{HOME}\started"));
        assert_eq!(
            (after.registry, after.files, after.docker),
            (before.registry, before.files, before.docker),
            "{case}"
        );
        let running = |look: &BTreeMap<Service, proxyfleet::sim::windows::ServiceLook>| -> Vec<_> {
            look.iter().map(|(service, look)| (*service, look.running, look.proxies.clone())).collect()
        };
        assert_eq!(running(&after.services), running(&before.services), "{case}");
        pair.observe(case);
    }

    // Somebody else came between, and backups of others are not used.
    pair.put(&WindowsState::plain());
    let docker = of_run("r-3", present(PROXIES[0], &[Component::Docker]));
    ends(&docker, "changed", "edited");
    ends(&of_run("r-4", present(PROXIES[1], &[Component::EcsAgent])), "changed", "edited");
    assert!(
        ends(&back(&docker), "refused changed-meanwhile", "the record")
            .contains(r"e C:\ProgramData\proxyfleet\managed")
    );
    ends(&back(&of_run("r-4", docker.clone())), "changed", "edited");
    let edited = br#"{"debug": true}"#;
    pair.real().write(DAEMON_JSON, edited).unwrap();
    pair.model.change(|machine| machine.settings.daemon_json = Some(edited.to_vec()));
    assert!(ends(&back(&docker), "refused changed-meanwhile", "the file").contains("daemon.json"));
    ends(&back(&of_run("", docker.clone())), "refused bad-parameters", "no run");
    ends(&of_run("a b", docker.clone()), "refused bad-parameters", "no name");

    // Backups are dropped, but not those of the run at hand.
    pair.put(&WindowsState::plain());
    let agent = |run: &str, port: u32| of_run(run, present(&format!("p:{port}"), &[Component::MachineEnvironment]));
    ends(&agent("r-5", 1), "changed", "dropped");
    for port in 2..=7 {
        ends(&agent("r-6", port), "changed", "dropped");
    }
    ends(&back(&agent("r-5", 1)), "refused no-backup", "dropped");
    ends(&back(&agent("r-6", 1)), "changed", "kept");

    // Docker does not start with what there was before.
    let broken = Settings { daemon_json: Some(b"{\"debug\": true}".to_vec()), ..Settings::none() };
    pair.put(&WindowsState::plain().with(broken));
    ends(&docker, "changed", "broken");
    pair.real().stop_service("docker").unwrap();
    pair.model.change(|machine| machine.stop(Service::Docker));
    pair.look("docker stopped");
    // It starts by itself, and the run restarted it: it is missed.
    assert!(ends(&back(&docker), "changed", "docker stopped").contains("\nr docker\n"));
}

/// A small random number generator (`SplitMix64`), so that a number names a case for ever.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    /// True in `percent` of all cases.
    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    /// A variable for a proxy, in one case or another.
    fn key(&mut self) -> &'static str {
        self.pick(&["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "Http_Proxy"])
    }

    fn value(&mut self) -> &'static str {
        self.pick(&[
            "http://10.0.0.131:3128",
            "http://10.0.0.99:8080",
            "http://user:secret@10.0.0.98:3128",
            "169.254.169.254,169.254.170.2,.internal.example.com,10.0.0.15",
            r"10.0.0.15,.Internal.example.com,169.254.170.2,169.254.169.254,\\.\pipe\docker_engine",
            r"169.254.169.254,169.254.170.2,\\.\pipe\docker_engine",
            "",
            "a=b",
        ])
    }

    fn environment(&mut self) -> Option<RegValue> {
        if self.chance(40) {
            return None;
        }
        if self.chance(4) {
            return Some(RegValue::Sz(format!("{}={}", self.key(), self.value())));
        }
        let mut strings = Vec::new();
        for _ in 0..self.below(6) {
            strings.push(match self.below(8) {
                0 => "ECS_CLUSTER=web".to_owned(),
                1 => "=odd=HTTP_PROXY".to_owned(),
                2 => "HTTP_PROXY".to_owned(),
                3 => " HTTP_PROXY=http://10.0.0.99:8080".to_owned(),
                _ => format!("{}={}", self.key(), self.value()),
            });
        }
        Some(RegValue::MultiSz(strings))
    }

    fn variables(&mut self) -> BTreeMap<String, RegValue> {
        let mut variables = BTreeMap::new();
        for known in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
            if self.chance(75) {
                continue;
            }
            let name = if self.chance(50) { known.to_owned() } else { known.to_ascii_lowercase() };
            let value = match self.below(8) {
                0 => RegValue::ExpandSz(format!("http://%COMPUTERNAME%:{}", self.below(9))),
                1 => RegValue::ExpandSz(self.value().to_owned()),
                2 if self.chance(30) => RegValue::Dword(7),
                _ => RegValue::Sz(self.value().to_owned()),
            };
            variables.insert(name, value);
        }
        if self.chance(20) {
            variables.insert("ECS_ENABLE_TASK_IAM_ROLE".to_owned(), RegValue::Sz("true".to_owned()));
        }
        variables
    }

    /// With `valid`, a file with which docker starts.
    fn daemon_json(&mut self, valid: bool) -> Option<Vec<u8>> {
        let good: [&[u8]; 9] = [
            b"{}",
            b"{}\n",
            b"{\n  \"debug\": true\n}\n",
            b"{\r\n\t\"hosts\": [\"npipe://\"],\r\n\t\"group\": \"docker\"\r\n}\r\n",
            b"{\"proxies\":{\"http-proxy\":\"http://10.0.0.99:8080\"},\"labels\":[\"a=b\"]}",
            b"{\"a\":{\"proxies\":{\"http-proxy\":\"x\"}},\"proxies\":{\"no-proxy\":\"a,b\",\"ftp-proxy\":\"y\"}}\n",
            b"{\n    \"proxies\": {},\n    \"note\": \"caf\xc3\xa9 \\u00e9 \\\"}\"\n}",
            b"{\n  \"proxies\": {\n    \"http-proxy\": \"http:\\/\\/10.0.0.131:3128\",\n    \"https-proxy\": \"http://10.0.0.131:3128\"\n  }\n}\n",
            b" {\n  \"log-opts\": {\"max-size\": \"10m\"} ,\n \"proxies\" : {\"https-proxy\":\"http://u:p@10.0.0.98:3128\"}}",
        ];
        let bad: [&[u8]; 6] = [
            b"{\"debug\": true,}",
            b"\xef\xbb\xbf{}",
            b"[]",
            b"{} {}",
            b"{\"a\": \"caf\xe9\"}",
            b"{\"proxies\": [\"x\"]}",
        ];
        match self.below(10) {
            0..=3 => None,
            4 if !valid => Some(self.pick(&bad).to_vec()),
            _ => Some(self.pick(&good).to_vec()),
        }
    }

    fn settings(&mut self, valid: bool) -> Settings {
        let mut settings = Settings::none();
        for service in Service::ALL {
            if let Some(value) = self.environment() {
                settings.environments.insert(service, value);
            }
        }
        settings.machine = self.variables();
        if self.chance(10) {
            settings.local_system = self.variables();
        }
        settings.daemon_json = self.daemon_json(valid);
        settings
    }

    fn start_type(&mut self) -> StartType {
        [StartType::Automatic, StartType::Manual, StartType::Disabled][self.below(3)]
    }

    fn state(&mut self) -> WindowsState {
        let mut state = WindowsState::plain();
        let versions = ["25.0.6", "25.0.6", "23.0.0", "20.10.9", "19.03.18", "28.3.1", "dev"];
        self.pick(&versions).clone_into(&mut state.docker_version);
        if self.chance(15) {
            let options = ["--run-service", "--http-proxy=http://10.0.0.99:8080", r#""--config-file" "D:\d.json""#];
            self.pick(&options).clone_into(&mut state.docker_options);
        }
        state.now = self.settings(false);
        let before = if self.chance(50) { self.settings(true) } else { state.now.clone() };
        for (service, percent) in [(Service::SsmAgent, 10), (Service::Ecs, 30), (Service::Docker, 12)] {
            if self.chance(percent) {
                let start = self.start_type();
                state = state.stopped(service, start);
            }
        }
        if self.chance(5) {
            state.services.remove(&Service::Ecs);
        }
        // Docker does not run with a file with which it does not start.
        let starts = before.daemon_json.as_ref().is_none_or(|bytes| {
            serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|value| value.is_object())
        });
        state.before = Some(if starts { before } else { Settings { daemon_json: None, ..before } });
        state
    }

    fn parameters(&mut self) -> ApplyParameters {
        let components: Vec<Component> = [Component::EcsAgent, Component::Docker, Component::MachineEnvironment]
            .into_iter()
            .filter(|_| self.chance(70))
            .collect();
        let components = if components.is_empty() { BOTH.to_vec() } else { components };
        let proxy = PROXIES[self.below(3)];
        let docker_restart = if self.chance(70) { DockerRestart::Allow } else { DockerRestart::Defer };
        ApplyParameters { docker_restart, ..present(proxy, &components) }
    }
}

/// What the model makes of a state and of applies, as a state of its own: a host on which proxyfleet was before.
fn managed_state(state: &WindowsState, applies: &[ApplyParameters]) -> WindowsState {
    let model = ModelHost::new(state, Surroundings::open("eu-central-1"));
    for parameters in applies {
        model.run(&apply_script(parameters));
    }
    model.change(|machine| WindowsState {
        before: Some(machine.settings.clone()),
        now: machine.settings.clone(),
        files: machine.files.clone(),
        ..state.clone()
    })
}

/// One starting state for each number, and what is done to it.
fn random_case(number: u64) -> (WindowsState, ApplyParameters) {
    let mut dice = Dice(number);
    let mut state = dice.state();
    let mut parameters = dice.parameters();
    if dice.chance(50) {
        // A host that an earlier apply changed, and perhaps somebody else after it.
        let earlier = dice.parameters();
        let managed = managed_state(&state, &[earlier]);
        let starts = managed
            .now
            .daemon_json
            .as_ref()
            .is_none_or(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
        if starts {
            state = managed;
            if dice.chance(40) {
                let service = [Service::Docker, Service::Ecs][dice.below(2)];
                match dice.environment() {
                    Some(value) => state.now.environments.insert(service, value),
                    None => state.now.environments.remove(&service),
                };
            }
            if dice.chance(50) {
                parameters = ApplyParameters { values: None, ..parameters };
            }
        }
    }
    (state, parameters)
}

/// How many random starting states are tried, by each of two threads.
const RANDOM_CASES: u64 = 25;

fn random_states_of(half: u64) {
    let Some(pair) = Pair::new() else { return };
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for number in (0..RANDOM_CASES).map(|number| 2 * number + half) {
        let (state, parameters) = random_case(number);
        let parameters = ApplyParameters { run: format!("r-{number}"), ..parameters };
        let case = format!("case {number}\n{state:?}");
        pair.put(&state);
        if number % 5 == 0 {
            pair.observe(&case);
        }
        let text = pair.apply(&parameters, &case);
        if number % 3 == 0 {
            pair.apply(&back(&parameters), &format!("{case}\nput back"));
        }
        let first = text.lines().next().unwrap_or_default();
        *endings.entry(first.trim_start_matches("proxyfleet/1 apply windows ").to_owned()).or_default() += 1;
    }
    assert!(endings.get("changed").is_some_and(|count| 2 * *count > endings.values().sum()), "{endings:?}");
}

#[test]
fn random_even_states_lead_to_the_same_on_both_bodies() {
    random_states_of(0);
}

#[test]
fn random_odd_states_lead_to_the_same_on_both_bodies() {
    random_states_of(1);
}
