//! What the Windows documents do on a real Windows host, under winhost.
//!
//! Several cases share a host where one does not get in the way of the next: making one takes two seconds.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proxyfleet::catalog::{Component, DOCKER_PIPE, Platform, ProxyValues, Service};
use proxyfleet::document::{self, Action, ApplyParameters};
use proxyfleet::fleet::{ApplyResult, Observed, REPORT_LIMIT_BYTES, ServiceState, Truth, parse_apply};
use proxyfleet::fleet::{ForeignEffect, Prior, parse_observe};
use proxyfleet::policy::{DockerRestart, PolicyName, Preflight};
use proxyfleet::sim::windows::{RealHost, ServerVersion};

use crate::scene::Applied;
use crate::winhost::{FreshHost, apply_script, fresh_host, script, windows_hosts};

pub(crate) const PROXY: &str = "http://10.0.0.131:3128";
pub(crate) const DAEMON_JSON: &str = r"C:\ProgramData\docker\config\daemon.json";
pub(crate) const STATE: &str = r"C:\ProgramData\proxyfleet";
pub(crate) const MACHINE: &str = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment";

/// Prints everything on a host that an apply could change, but for what proxyfleet keeps for itself.
const CONTENTS: &str = r"
function Say($line) { $line }
function Show($path, $names) {
    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey($path)
    if ($null -eq $key) { return }
    foreach ($name in $key.GetValueNames()) {
        if ($names -notcontains $name) { continue }
        $value = @($key.GetValue($name, $null, 'DoNotExpandEnvironmentNames')) -join '|'
        Say (($path.Split('\')[-1], $name, $key.GetValueKind($name), $value) -join ' ')
    }
}
foreach ($service in 'docker', 'AmazonECS', 'AmazonSSMAgent') {
    Show ('SYSTEM\CurrentControlSet\Services\' + $service) @('Environment', 'ImagePath', 'Start')
}
Show 'SYSTEM\CurrentControlSet\Control\Session Manager\Environment' @('HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY')
foreach ($file in [IO.Directory]::GetFiles('C:\ProgramData\docker\config')) {
    Say ($file + ' ' + [IO.File]::GetAttributes($file) + ' ' +
        [BitConverter]::ToString([IO.File]::ReadAllBytes($file)))
}
";

pub(crate) fn values() -> ProxyValues {
    proxy(PROXY)
}

pub(crate) fn proxy(url: &str) -> ProxyValues {
    ProxyValues::new(url.to_owned(), url.to_owned(), [".internal.example.com", "registry.example.com"])
}

/// The components that every policy governs; Docker may restart; the proxy is not tried.
pub(crate) fn present() -> ApplyParameters {
    ApplyParameters {
        values: Some(values()),
        components: vec![Component::EcsAgent, Component::Docker],
        docker_restart: DockerRestart::Allow,
        preflight: Preflight::Skip,
        policy: PolicyName::parse("ecs-production").unwrap(),
        run: String::new(),
        action: Action::Apply,
    }
}

pub(crate) fn absent() -> ApplyParameters {
    ApplyParameters { values: None, ..present() }
}

pub(crate) fn only(component: Component) -> ApplyParameters {
    ApplyParameters { components: vec![component], ..present() }
}

fn with_proxy(url: &str) -> ApplyParameters {
    ApplyParameters { values: Some(proxy(url)), ..present() }
}

/// A host and what the scripts on it find in their environment.
pub(crate) struct Scene {
    fresh: FreshHost,
    route: String,
}

impl Scene {
    pub(crate) fn new() -> Option<Self> {
        Self::of(ServerVersion::Server2022)
    }

    pub(crate) fn of(version: ServerVersion) -> Option<Self> {
        // Nothing of the machine that the tests run on is asked: neither a proxy nor an agent.
        Some(Self { fresh: fresh_host(version)?, route: "localhost:51678=127.0.0.1:9;*=127.0.0.1:9".to_owned() })
    }

    pub(crate) fn host(&self) -> &RealHost {
        &self.fresh.host
    }

    fn run(&self, script: &str) -> (String, Option<i32>) {
        let environment = [
            ("AWS_SSM_REGION_NAME", "eu-central-1"),
            ("PROXYFLEET_ROUTE", self.route.as_str()),
            ("PROXYFLEET_WAIT", "3"),
            // The agent may have a proxy of its own, which is nobody else's.
            ("HTTP_PROXY", "http://agent.invalid:1"),
        ];
        let finished = self.host().run(script.as_bytes(), &environment, &[], Duration::from_mins(2)).unwrap();
        assert!(!finished.timed_out);
        let text = String::from_utf8(finished.stdout).unwrap();
        assert_eq!(String::from_utf8_lossy(&finished.stderr), "", "{text}");
        assert!(text.is_ascii() && text.len() <= REPORT_LIMIT_BYTES, "{} bytes: {text}", text.len());
        (text, finished.exit)
    }

    pub(crate) fn observe_text(&self) -> String {
        let (text, exit) = self.run(&script(&document::observe()));
        assert_eq!(exit, Some(0), "{text}");
        text
    }

    pub(crate) fn observe(&self) -> Observed {
        let text = self.observe_text();
        parse_observe(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub(crate) fn apply(&self, parameters: &ApplyParameters) -> Applied {
        self.apply_text(&apply_script(parameters))
    }

    fn apply_text(&self, script: &str) -> Applied {
        let (text, exit) = self.run(script);
        let report = parse_apply(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Applied { report, text, exit }
    }

    /// How often docker, the ECS agent and the SSM agent were started.
    pub(crate) fn starts(&self) -> [usize; 3] {
        ["docker", "AmazonECS", "AmazonSSMAgent"].map(|service| self.host().starts(service))
    }

    /// The registry values and files that proxyfleet writes.
    pub(crate) fn contents(&self) -> String {
        let contents = self.host().shell(CONTENTS).unwrap() + "\n";
        assert!(contents.contains("docker Start "), "{contents}");
        contents
    }

    /// The same with what proxyfleet keeps for itself, and the starts of services.
    pub(crate) fn everything(&self) -> String {
        let notes = ["managed", "started", "restarting"].map(|name| {
            let bytes = self.host().read(&format!(r"{STATE}\{name}")).unwrap_or_default();
            format!("{name}:\n{}", String::from_utf8(bytes).unwrap())
        });
        format!("{}{}{:?}", self.contents(), notes.concat(), self.starts())
    }

    /// Runs statements with a function `Put SERVICE NAME VALUE KIND`, `$null` to take a value away.
    pub(crate) fn set(&self, statements: &str) {
        let function = r"function Put($path, $name, $value, $kind) {
            if (-not $path.Contains('\')) { $path = 'SYSTEM\CurrentControlSet\Services\' + $path }
            $key = [Microsoft.Win32.Registry]::LocalMachine.CreateSubKey($path)
            if ($kind -eq 'MultiString') { $value = [string[]]$value }
            if ($null -eq $value) { $key.DeleteValue($name, $false) } else { $key.SetValue($name, $value, $kind) }
            $key.Close() }
            $machine = 'SYSTEM\CurrentControlSet\Control\Session Manager\Environment'";
        self.host().shell(&format!("{function}\n{statements}")).unwrap();
    }

    pub(crate) fn daemon_json(&self) -> String {
        String::from_utf8(self.host().read(DAEMON_JSON).unwrap()).unwrap()
    }

    pub(crate) fn state(&self, service: Service) -> ServiceState {
        self.observe().service(service).unwrap()
    }

    /// Asserts that the settings are in the carriers and in the processes, by a report of the host itself.
    #[track_caller]
    pub(crate) fn assert_all(&self, components: &[Component], values: &ProxyValues) {
        let text = self.observe_text();
        let observed = parse_observe(&text).unwrap();
        for row in Platform::Windows.table().components.iter().filter(|row| components.contains(&row.component)) {
            for setting in row.carrier.settings {
                let seen = observed.setting(row.component, setting.key).unwrap();
                for truth in [&seen.carrier, &seen.loaded, &seen.running] {
                    let right = match truth {
                        Truth::Is(seen) => seen.is(&values.value(setting.rule), setting.key.kind()),
                        Truth::NotApplicable => true,
                        _ => false,
                    };
                    assert!(right, "{} {}\n{text}", row.component, setting.key);
                }
            }
        }
        for line in [format!("HTTP_PROXY={}", values.http), format!("NO_PROXY={},{DOCKER_PIPE}", values.bypass)] {
            let environment = self.host().environment("AmazonECS");
            assert!(!components.contains(&Component::EcsAgent) || environment.contains(&line), "{environment:?}");
        }
    }
}

const BOTH: [Component; 2] = [Component::EcsAgent, Component::Docker];

#[test]
fn the_scripts_are_for_windows_powershell_5() {
    let Some(winhost) = windows_hosts() else { return };
    let folder = tempfile::tempdir().unwrap();
    let paths = [document::observe(), document::apply(Platform::Windows)].map(|document| {
        let path = folder.path().join(format!("{}.ps1", document.name));
        std::fs::write(&path, script(&document)).unwrap();
        path
    });
    let finished = winhost.check(&[paths[0].as_path(), paths[1].as_path()]).unwrap();
    assert_eq!(finished.exit, Some(0), "{}", String::from_utf8_lossy(&finished.stderr));
}

#[test]
fn docker_restarts_with_its_dependant_and_a_second_apply_starts_nothing() {
    let Some(scene) = Scene::new() else { return };
    let pristine = scene.contents();
    let report = scene.apply(&present()).changed();
    assert_eq!(report.restarted, [Service::Docker, Service::Ecs]);
    let carrier = Platform::Windows.component(Component::EcsAgent).unwrap().carrier.path;
    assert_eq!(report.written.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), [carrier, DAEMON_JSON]);
    assert_eq!(scene.starts(), [2, 2, 1], "each once, and the SSM agent never");
    scene.assert_all(&BOTH, &values());

    let before = scene.everything();
    scene.apply(&present()).unchanged();
    assert_eq!(scene.everything(), before);
    scene.host().reboot().unwrap();
    assert_eq!(scene.starts(), [3, 3, 2]);
    scene.apply(&present()).unchanged();
    assert_eq!(scene.starts(), [3, 3, 2], "what started by itself has the values");
    scene.assert_all(&BOTH, &values());

    // Docker is not touched for the agent's sake.
    let list = ProxyValues::new(PROXY.to_owned(), PROXY.to_owned(), ["10.0.0.15"]);
    let report = scene.apply(&ApplyParameters { values: Some(list), ..only(Component::EcsAgent) }).changed();
    assert_eq!((report.restarted, scene.starts()), (vec![Service::Ecs], [3, 4, 2]));

    scene.apply(&absent()).changed();
    assert_eq!(scene.contents(), pristine);
    assert!(scene.host().read(&format!(r"{STATE}\managed")).is_err(), "nothing is remembered of nothing");
    let environment = scene.host().environment("AmazonECS");
    assert!(!environment.iter().any(|line| line.contains("_PROXY")), "{environment:?}");
    scene.apply(&absent()).unchanged();
}

#[test]
fn an_agent_that_should_run_is_started_and_one_that_was_stopped_on_purpose_is_not() {
    let Some(scene) = Scene::of(ServerVersion::Server2016) else { return };
    for start in [3, 4] {
        scene.set(&format!("Put AmazonECS Start {start} DWord"));
        scene.host().stop_service("AmazonECS").unwrap();
        assert_eq!(scene.state(Service::Ecs), ServiceState::Inactive);
        let before = scene.starts();
        let url = format!("http://10.0.0.{start}:3128");
        let report = scene.apply(&with_proxy(&url)).changed();
        assert_eq!(report.restarted, [Service::Docker]);
        assert_eq!(scene.starts(), [before[0] + 1, before[1], 1]);
        assert_eq!(scene.state(Service::Ecs), ServiceState::Inactive);
        scene.assert_all(&[Component::Docker], &proxy(&url));
    }
    scene.set("Put AmazonECS Start 2 DWord");
    assert_eq!(scene.state(Service::Ecs), ServiceState::Due);
    let before = scene.starts();
    let deferred = ApplyParameters { docker_restart: DockerRestart::Defer, ..only(Component::Docker) };
    let report = scene.apply(&deferred).changed();
    assert_eq!((report.pending, scene.starts()), (vec![Service::Docker], before), "nothing of its own changes");
    let report = scene.apply(&only(Component::Docker)).changed();
    assert_eq!(report.restarted, [Service::Docker, Service::Ecs], "it is started at the end");
    assert_eq!(scene.starts(), [before[0] + 1, before[1] + 1, 1]);
    // Its own carrier is right for another proxy only; it runs, with a note of what it has.
    let observed = scene.observe();
    let agent = observed.settings.iter().filter(|setting| setting.component == Component::EcsAgent);
    assert!(agent.clone().all(|setting| setting.running == setting.carrier), "{observed:?}");

    scene.host().stop_service("AmazonECS").unwrap();
    let report = scene.apply(&only(Component::EcsAgent)).changed();
    assert_eq!((report.restarted, scene.starts()[0]), (vec![Service::Ecs], before[0] + 1));
    scene.assert_all(&BOTH, &values());
}

#[test]
fn what_belongs_to_others_is_kept_byte_for_byte() {
    let Some(scene) = Scene::of(ServerVersion::Server2025) else { return };
    let config = "{\r\n\t\"proxies\" : { \"no-proxy\":\"old.example.com\", \"ftp-proxy\": 7 },\r\n\t\"hosts\": [\"npipe://\"],\r\n\t\"big\": 1234567890123456789012\r\n}\r\n";
    scene.host().write(DAEMON_JSON, config.as_bytes()).unwrap();
    scene.set(
        "Put AmazonECS Environment @('A=1', 'http_proxy=http://u:secret@old:1', 'noequals', 'Http_Proxy=two', 'Z=%PATH%') MultiString
         Put $machine HTTP_PROXY 'http://user:secret@m:1' String",
    );
    let pristine = scene.contents();
    let observed = scene.observe();
    assert!(!scene.observe_text().contains("secret"), "credentials are masked");
    let foreign: Vec<_> = observed.foreign.iter().map(|source| (source.component, source.effect)).collect();
    let inert = ForeignEffect::Inert;
    assert_eq!(foreign, [(Component::EcsAgent, inert), (Component::Docker, inert), (Component::SsmAgent, inert)]);
    assert_eq!(observed.foreign[0].path, MACHINE);

    scene.apply(&present()).changed();
    scene.assert_all(&BOTH, &values());
    assert!(!scene.observe_text().contains("secret"), "nor does the record show any");
    let now = scene.contents();
    let entries = format!(
        "AmazonECS Environment MultiString A=1|noequals|HTTP_PROXY={PROXY}|Z=%PATH%|HTTPS_PROXY={PROXY}|NO_PROXY={},{DOCKER_PIPE}",
        values().bypass
    );
    assert!(now.contains(&entries), "{now}");
    assert_eq!(
        scene.daemon_json(),
        config.replace(
            "\"old.example.com\", \"ftp-proxy\": 7",
            &format!(
                "\"{}\", \"ftp-proxy\": 7, \"http-proxy\": \"{PROXY}\", \"https-proxy\": \"{PROXY}\"",
                values().bypass
            )
        )
    );
    let observed = scene.observe();
    let managed = |component| observed.managed.iter().filter(move |managed| managed.component == component);
    assert!(managed(Component::EcsAgent).chain(managed(Component::Docker)).all(|managed| managed.intact));
    assert!(managed(Component::EcsAgent).any(|managed| managed.prior != Prior::Absent));

    // Of two entries only the one that counted comes back.
    scene.apply(&absent()).changed();
    let expected = pristine.replace("http_proxy=http://u:secret@old:1|", "");
    assert_eq!(scene.contents(), expected);

    // Somebody takes over a setting: it is theirs.
    scene.apply(&present()).changed();
    scene.set("Put AmazonECS Environment @('HTTP_PROXY=http://theirs:1') MultiString");
    let report = scene.apply(&absent()).changed();
    assert_eq!(report.details, ["ecs-agent HTTP_PROXY was changed by somebody else and is left alone"]);
    assert!(scene.contents().contains("AmazonECS Environment MultiString HTTP_PROXY=http://theirs:1\n"));
}

#[test]
fn docker_before_version_23_has_its_settings_in_the_registry() {
    let Some(scene) = Scene::of(ServerVersion::Server2019) else { return };
    scene.host().set_docker_version("20.10.9").unwrap();
    let pristine = scene.contents();
    let report = scene.apply(&present()).changed();
    let fallback = Platform::Windows.component(Component::Docker).unwrap().fallback.as_ref().unwrap();
    assert_eq!(report.written[1].0, fallback.path);
    assert!(scene.host().read(DAEMON_JSON).is_err());
    scene.assert_all(&BOTH, &values());
    assert!(scene.observe_text().contains(&format!("c docker {}\n", fallback.path)));
    scene.apply(&present()).unchanged();
    scene.apply(&absent()).changed();
    assert_eq!(scene.contents(), pristine);

    // After an update of Docker the registry is another source, and the record of it is kept apart.
    scene.apply(&present()).changed();
    scene.host().set_docker_version("25.0.6").unwrap();
    let observed = scene.observe();
    assert!(observed.foreign.iter().any(|source| source.path == fallback.path), "{observed:?}");
    scene.apply(&present()).changed();
    scene.assert_all(&BOTH, &values());
    assert!(scene.daemon_json().contains(PROXY));
}

#[test]
fn machine_variables_are_set_together_and_come_back_as_they_were() {
    let Some(scene) = Scene::new() else { return };
    let machine = only(Component::MachineEnvironment);
    let pristine = scene.contents();
    let starts = scene.starts();
    let report = scene.apply(&machine).changed();
    assert_eq!(report.written[0].0, MACHINE);
    assert_eq!((report.restarted.len(), scene.starts()), (0, starts), "nothing is restarted for them");
    let list = format!(
        "169.254.169.254,169.254.170.2,.internal.example.com,registry.example.com,.registry.example.com,{DOCKER_PIPE}"
    );
    let contents = scene.contents();
    for line in
        [format!("HTTP_PROXY String {PROXY}"), format!("HTTPS_PROXY String {PROXY}"), format!("NO_PROXY String {list}")]
    {
        assert!(contents.contains(&format!("Environment {line}\n")), "{line}\n{contents}");
    }
    scene.apply(&machine).unchanged();
    scene.assert_all(&[Component::MachineEnvironment], &values());
    scene.apply(&ApplyParameters { values: None, ..machine.clone() }).changed();
    assert_eq!(scene.contents(), pristine);

    scene.set("Put $machine Http_Proxy '%OLD%:1' ExpandString; Put $machine NO_PROXY 'a' ExpandString");
    let guided = scene.contents();
    scene.apply(&machine).changed();
    assert!(scene.contents().contains(&format!("HTTP_PROXY String {PROXY}\n")), "{}", scene.contents());
    scene.apply(&ApplyParameters { values: None, ..machine }).changed();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&scene.contents()), sorted(&guided), "names, kinds and texts, unexpanded");
}

#[test]
fn a_bad_host_is_refused_by_name_and_nothing_on_it_is_changed() {
    let Some(scene) = Scene::new() else { return };
    let refuses = |parameters: &ApplyParameters, reason: &str, detail: &str| {
        let before = scene.everything();
        let report = scene.apply(parameters).refused(reason);
        assert_eq!(report.details, [detail]);
        assert_eq!(scene.everything(), before, "{reason} {detail}");
    };
    for (bytes, reason) in [
        (&b"{\"proxies\": {},}"[..], "not-json"),
        (b"\xef\xbb\xbf{}", "byte-order-mark"),
        (b"{\"a\": \"\xff\"}", "not-text"),
        (b"{\"proxies\": [1]}", "odd-proxies"),
    ] {
        scene.host().write(DAEMON_JSON, bytes).unwrap();
        refuses(&present(), "unsupported", &format!("docker {reason} {DAEMON_JSON}"));
        assert!(scene.observe().blockers.iter().any(|blocker| blocker.reason == reason));
    }
    std::fs::remove_file(scene.host().at(DAEMON_JSON)).unwrap();

    let image = r"HKLM\SYSTEM\CurrentControlSet\Services\docker\ImagePath";
    for (option, reason) in
        [("--http-proxy=http://x:1", "flag"), (r#""--config-file" C:\other.json"#, "other-config-file")]
    {
        scene.set(&format!(r"Put docker ImagePath 'C:\winhost\service-stub.exe {option}' ExpandString"));
        refuses(&present(), "unsupported", &format!("docker {reason} {image}"));
    }
    scene.set(r"Put docker ImagePath 'C:\winhost\service-stub.exe' ExpandString");

    let carrier = Platform::Windows.component(Component::EcsAgent).unwrap().carrier.path;
    scene.set("Put AmazonECS Environment 'HTTP_PROXY=x' String");
    refuses(&present(), "unsupported", &format!("ecs-agent wrong-kind {carrier}"));
    scene.set("Put AmazonECS Environment $null; Put $machine HTTP_PROXY 1 DWord");
    refuses(&only(Component::MachineEnvironment), "unsupported", &format!("machine-environment wrong-kind {MACHINE}"));
    scene.set("Put $machine HTTP_PROXY $null");

    scene.host().set_docker_version("unknown").unwrap();
    refuses(&present(), "unsupported", &format!("docker docker-version {DAEMON_JSON}"));
    assert!(!scene.observe_text().contains("\nc docker"));
    scene.host().set_docker_version("25.0.6").unwrap();

    let script = apply_script(&present()).replace("$WantState = 'present'", "$WantState = 'other'");
    scene.apply_text(&script).refused("bad-parameters");
    let script = apply_script(&present()).replace("'ecs-agent,docker'", "'ecs-agent,ssm-agent'");
    let report = scene.apply_text(&script).refused("bad-parameters");
    assert_eq!(report.details, ["component ssm-agent"]);

    scene.set(r"Put 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' CurrentBuildNumber 22621 String");
    let before = scene.everything();
    let report = scene.apply(&present()).refused("wrong-platform");
    assert_eq!(report.details, ["this is windows 10.0.22621"]);
    assert_eq!(scene.observe_text(), "proxyfleet/1 observe unsupported windows 10.0.22621\nend\n");
    assert_eq!(scene.everything(), before);
    scene.set(
        r"Put 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' CurrentBuildNumber 20348 String
        Stop-Service AmazonECS
        [Microsoft.Win32.Registry]::LocalMachine.DeleteSubKeyTree('SYSTEM\CurrentControlSet\Services\AmazonECS')",
    );
    scene.host().reboot().unwrap();
    assert_eq!(scene.state(Service::Ecs), ServiceState::Absent);
    refuses(&present(), "component-absent", "ecs-agent");
    scene.apply(&only(Component::Docker)).changed();
}

/// A proxy on this machine that answers every request with `answer`; nothing at all where it is empty. It counts.
struct Answering {
    route: String,
    asked: Arc<std::sync::Mutex<Vec<String>>>,
    open: Arc<AtomicBool>,
}

impl Answering {
    fn new(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let route = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let open = Arc::new(AtomicBool::new(true));
        let (log, is_open) = (Arc::clone(&asked), Arc::clone(&open));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Ok(mut stream), true) = (stream, is_open.load(Ordering::SeqCst)) else { return };
                let mut request = [0; 1024];
                let length = stream.read(&mut request).unwrap_or(0);
                log.lock().unwrap().push(String::from_utf8_lossy(&request[..length]).into_owned());
                // The script may have gone.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        Self { route, asked, open }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// From the next request on there is no answer.
    fn fall_silent(&self) {
        self.open.store(false, Ordering::SeqCst);
    }
}

#[test]
fn a_proxy_is_tried_before_anything_is_written() {
    let Some(mut scene) = Scene::new() else { return };
    let required = ApplyParameters { preflight: Preflight::Require, ..present() };
    let before = scene.everything();
    let report = scene.apply(&required).refused("preflight-unreachable");
    assert_eq!(report.details, [format!("{PROXY} does not answer")]);
    assert_eq!(scene.everything(), before);

    let refusing = Answering::new("HTTP/1.1 403 Forbidden\r\n\r\n");
    scene.route = format!("localhost:51678=127.0.0.1:9;10.0.0.131:3128={}", refusing.route);
    let report = scene.apply(&required).refused("preflight-refused");
    assert_eq!(report.details, [format!("{PROXY} answers 403 to CONNECT ecs.eu-central-1.amazonaws.com:443")]);
    assert_eq!(scene.everything(), before);
    assert_eq!(refusing.asked().len(), 2, "it is asked twice");
    assert!(refusing.asked()[0].starts_with("CONNECT ecs.eu-central-1.amazonaws.com:443 HTTP/1.1\r\n"));

    let script = apply_script(&required);
    scene.apply_text(&format!("$env:AWS_SSM_REGION_NAME = ''\n{script}")).refused("preflight-no-region");
    assert_eq!(scene.everything(), before);
    // One that is not needed for this host may refuse.
    let bypassed = ProxyValues::new(PROXY.to_owned(), PROXY.to_owned(), [".amazonaws.com"]);
    scene.apply(&ApplyParameters { values: Some(bypassed), ..required.clone() }).changed();

    let fine = Answering::new("HTTP/1.1 200 Connection established\r\n\r\n");
    scene.route = format!("localhost:51678=127.0.0.1:9;*={}", fine.route);
    scene.apply(&required).changed();
    scene.assert_all(&BOTH, &values());
    assert_eq!(fine.asked().len(), 1, "one proxy is asked once");

    // An agent that answered must answer again afterwards.
    let agent = Answering::new("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    scene.route = format!("localhost:51678={}", agent.route);
    let changed = scene.contents();
    scene.apply(&with_proxy("http://10.0.0.5:1")).changed();
    assert_eq!(agent.asked().len(), 2);
    scene.apply(&present()).changed();
    assert_eq!(scene.contents(), changed);
    agent.fall_silent();
}

/// The apply script with a docker that stops and does not start again the first time, after some statements.
fn with_a_docker_that_fails(parameters: &ApplyParameters, statements: &str) -> String {
    let script = apply_script(parameters);
    let (head, tail) = script.split_once("function Restart-Docker {\n").unwrap();
    let fails = "Stop-Service -Name docker -Force; return $false";
    format!("{head}function Restart-Docker {{\nif ($Run.Phase -eq 'changing') {{ {statements}; {fails} }}\n{tail}")
}

#[test]
fn a_docker_that_does_not_come_up_gets_its_old_settings_back() {
    let Some(scene) = Scene::new() else { return };
    scene.apply(&present()).changed();
    let (before, starts) = (scene.contents(), scene.starts());
    let notes = |scene: &Scene| scene.host().read(&format!(r"{STATE}\managed")).unwrap();
    let record = notes(&scene);
    let broken = with_a_docker_that_fails(&with_proxy("http://10.0.0.9:1"), "[void]0");
    let report = scene.apply_text(&broken).rolled_back("restart-docker");
    assert_eq!(report.details, ["docker did not start"]);
    assert_eq!(report.restarted, [Service::Docker, Service::Ecs]);
    assert_eq!(scene.contents(), before, "in the registry and on disk");
    assert_eq!(notes(&scene), record);
    assert_eq!(scene.starts(), [starts[0] + 1, starts[1] + 1, starts[2]], "they run again, started once");
    scene.assert_all(&BOTH, &values());
    assert!(scene.host().read(&format!(r"{STATE}\restarting")).is_err());
    // What somebody writes meanwhile stays, and is told.
    let edit = format!("[IO.File]::AppendAllText('{DAEMON_JSON}', ' ')");
    let broken = with_a_docker_that_fails(&with_proxy("http://10.0.0.9:1"), &edit);
    let report = scene.apply_text(&broken).expect(&ApplyResult::Failed("rollback-files".to_owned()));
    let left = format!("{DAEMON_JSON} was changed by somebody else and is left alone");
    assert_eq!(report.details, ["docker did not start", &left, "after restart-docker"]);
    assert!(scene.daemon_json().ends_with("}\n ") && scene.daemon_json().contains("http://10.0.0.9:1"));
    scene.assert_all(&[Component::EcsAgent], &values());
    // The next one, which is not broken, goes through.
    scene.apply(&with_proxy("http://10.0.0.9:1")).changed();
    scene.assert_all(&BOTH, &proxy("http://10.0.0.9:1"));
}

/// The functions that change something on a host. An apply that is killed before each of them in turn was killed at every
/// moment that makes a difference.
const STEPS: [&str; 7] =
    ["Write-Carrier", "Write-File", "Write-Temporary", "Remove-File", "Restart-One", "Start-One", "Invoke-Start"];

/// The apply script, which kills itself when one of the functions is called for the `step`th time.
fn killed_at(script: &str, step: usize) -> String {
    let mut text = script.to_owned();
    for name in STEPS {
        let start = text.find(&format!("function {name}(")).unwrap();
        let line = start + text[start..].find('\n').unwrap() + 1;
        text.insert_str(line, "Step\n");
    }
    format!(
        "$Steps = @{{ Left = {step} }}\nfunction Step {{ $Steps.Left--; if ($Steps.Left -eq 0) {{ [Diagnostics.Process]::GetCurrentProcess().Kill() }} }}\n{text}"
    )
}

#[test]
fn whatever_moment_an_apply_is_killed_at_the_next_one_finishes_its_work() {
    let Some(scene) = Scene::new() else { return };
    let pristine = scene.contents();
    let mut finished = 0;
    for step in (1..).step_by(7) {
        let (text, exit) = scene.run(&killed_at(&apply_script(&present()), step));
        let case = format!("killed before step {step}");
        let killed = text.is_empty();
        assert_eq!(exit == Some(0), !killed, "{case}: {text}");
        let report = scene.apply(&present());
        assert!(
            matches!(report.report.result, ApplyResult::Changed | ApplyResult::Unchanged),
            "{case}: {}",
            report.text
        );
        scene.assert_all(&BOTH, &values());
        for service in [Service::Docker, Service::Ecs] {
            assert_eq!(scene.state(service), ServiceState::Active, "{case}: {service}");
        }
        scene.apply(&absent()).changed();
        assert_eq!(scene.contents(), pristine, "{case}: the record was never lost");
        let folder = scene.host().at(STATE);
        let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "{case}: the note of what started, and backups: {names:?}");
        if !killed {
            finished = step;
            break;
        }
    }
    assert!(finished > 10, "the steps of an apply are seen");
}

#[test]
fn one_apply_at_a_time() {
    let Some(scene) = Scene::new() else { return };
    // The first one holds the lock until it sees a file.
    let script = apply_script(&present());
    let (head, tail) = script.split_once("function Initialize-Changes {\n").unwrap();
    let slow = format!(
        "{head}function Initialize-Changes {{\nwhile (-not [IO.File]::Exists('C:\\go')) {{ Start-Sleep -Milliseconds 50 }}\n{tail}"
    );
    std::thread::scope(|scope| {
        let first = scope.spawn(|| scene.apply_text(&slow));
        while !scene.host().at(&format!(r"{STATE}\backup")).exists() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let before = scene.contents();
        let report = scene.apply(&with_proxy("http://10.0.0.9:1")).refused("busy");
        assert_eq!(report.details, ["another apply is at work"]);
        assert_eq!(scene.contents(), before);
        // One that waits long enough goes on where the first one ends.
        let second = scope.spawn(|| {
            let script = apply_script(&only(Component::EcsAgent))
                .replace("$LockSeconds = 5", "$LockSeconds = 60; $env:PROXYFLEET_WAIT = ''");
            scene.apply_text(&script)
        });
        std::thread::sleep(Duration::from_secs(1));
        scene.host().write(r"C:\go", b"").unwrap();
        first.join().unwrap().changed();
        second.join().unwrap().unchanged();
    });
    assert_eq!(scene.starts(), [2, 2, 1]);
    scene.assert_all(&BOTH, &values());
}
