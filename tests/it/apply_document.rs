//! What the published documents do on a host, with a real shell: what changes, and what must not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use proxyfleet::catalog::{Component, Platform, ProxyValues, Service};
use proxyfleet::document::{self, ApplyParameters, Document};
use proxyfleet::fleet::{ApplyReport, ApplyResult, Observed, parse_apply, parse_observe};
use proxyfleet::plan::{Assessment, Drift, Terms, assess};
use proxyfleet::policy::{Count, DockerRestart, PolicyName, Preflight, Rollout};
use proxyfleet::sim::host::{Bin, Condition, Entry, Fault, FaultWhen, Finished, Host, HostSpec, ProxyAnswer};
use tempfile::TempDir;

/// A host and the folder it goes away with.
struct Scene {
    host: Host,
    platform: Platform,
    shell: Option<&'static str>,
    /// A folder whose programs come before the machine's own.
    programs: Option<PathBuf>,
    folder: TempDir,
}

/// Everything in a host's tree by path.
type Tree = BTreeMap<String, Entry>;

impl Scene {
    fn new(platform: Platform, conditions: &[Condition]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let spec = conditions.iter().cloned().fold(HostSpec::new(platform), HostSpec::with);
        let host = Host::create(&folder.path().join("host"), bin(), &spec).expect("a host");
        Self { host, platform, shell: None, programs: None, folder }
    }

    fn run(&self, document: &Document, parameters: &BTreeMap<String, Vec<String>>, limit: Duration) -> Finished {
        let mut script = script(document);
        for (name, value) in parameters {
            script = script.replace(&format!("{{{{ {name} }}}}"), &value[0]);
        }
        let mut environment = vec![("PROXYFLEET_WAIT", "3")];
        if let Some(programs) = &self.programs {
            environment.push(("PATH", programs.to_str().expect("text")));
        }
        self.host.run(script.as_bytes(), &environment, self.shell, limit).expect("a shell")
    }

    /// Lets scripts find `program` of the machine, under the name `awk`, before any other awk.
    fn use_awk(&mut self, program: &Path) {
        let folder = self.folder.path().join("programs");
        std::fs::create_dir(&folder).expect("a folder");
        std::os::unix::fs::symlink(program, folder.join("awk")).expect("a link");
        self.programs = Some(folder);
    }

    fn apply(&self, parameters: &ApplyParameters) -> ApplyReport {
        let document = document::apply(self.platform);
        let finished = self.run(&document, &parameters.to_map(), Duration::from_mins(1));
        let text = String::from_utf8(finished.stdout).expect("reports are ASCII");
        assert!(text.is_ascii() && text.len() <= 2_400, "{} bytes: {text}", text.len());
        assert_eq!(String::from_utf8_lossy(&finished.stderr), "", "{text}");
        let report = parse_apply(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let good = matches!(report.result, ApplyResult::Changed | ApplyResult::Unchanged);
        assert_eq!(finished.exit, Some(i32::from(!good)), "{text}");
        report
    }

    fn observe(&self) -> Observed {
        let finished = self.run(&document::observe(), &BTreeMap::new(), Duration::from_mins(1));
        let text = String::from_utf8(finished.stdout).expect("reports are ASCII");
        assert!(text.is_ascii() && text.len() <= 2_400, "{} bytes: {text}", text.len());
        assert_eq!((finished.exit, String::from_utf8_lossy(&finished.stderr).as_ref()), (Some(0), ""), "{text}");
        parse_observe(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    fn assess(&self, terms: &Terms) -> Assessment {
        assess(terms, &self.observe())
    }

    /// What an operator keeps on the host: everything but what runs and proxyfleet's own folder.
    fn kept(&self) -> Tree {
        let tree = self.host.snapshot().expect("a snapshot");
        tree.into_iter()
            .filter(|(path, entry)| path.starts_with("/etc/") && entry.mode & 0o170_000 != 0o040_000)
            .collect()
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.host.read(path).unwrap_or_else(|error| panic!("{path}: {error}"))).expect("text")
    }

    fn starts(&self) -> (u32, u32) {
        (self.host.starts(Service::Docker), self.host.starts(Service::Ecs))
    }
}

/// All tests share one folder of shims, as the hosts of a fleet do.
fn bin() -> &'static Bin {
    static BIN: OnceLock<(Bin, TempDir)> = OnceLock::new();
    let (bin, _) = BIN.get_or_init(|| {
        let folder = TempDir::new().expect("a temporary folder");
        (Bin::create(folder.path()).expect("shims"), folder)
    });
    bin
}

/// The script of a document's only step, as the agent joins its lines.
fn script(document: &Document) -> String {
    let content: serde_json::Value = serde_json::from_str(&document.content).expect("documents are JSON");
    let lines = content["mainSteps"][0]["inputs"]["runCommand"].as_array().expect("lines");
    lines.iter().map(|line| line.as_str().expect("text").to_owned() + "\n").collect()
}

fn values(host: &str) -> ProxyValues {
    let url = format!("http://{host}:3128");
    ProxyValues::new(url.clone(), url, [".internal.example.com"])
}

fn wanted(components: &[Component], docker_restart: DockerRestart) -> ApplyParameters {
    ApplyParameters {
        values: Some(values("10.0.0.131")),
        components: components.to_vec(),
        docker_restart,
        preflight: Preflight::Require,
        policy: PolicyName::parse("production").expect("a name"),
    }
}

fn all() -> ApplyParameters {
    wanted(&Component::ALL, DockerRestart::Allow)
}

fn absent() -> ApplyParameters {
    ApplyParameters { values: None, ..all() }
}

fn terms(parameters: &ApplyParameters) -> Terms {
    Terms {
        name: parameters.policy.clone(),
        values: parameters.values.clone(),
        components: parameters.components.clone(),
        docker_restart: parameters.docker_restart,
        preflight: parameters.preflight,
        rollout: Rollout { max_concurrency: Count::Percent(100), max_errors: Count::Absolute(0) },
    }
}

/// The content and the mode of each file, without what tells a rewritten file from an untouched one.
fn contents(tree: &Tree) -> BTreeMap<&str, (String, u32, Option<&Path>)> {
    tree.iter()
        .map(|(path, entry)| {
            let text = String::from_utf8_lossy(&entry.bytes).into_owned();
            (path.as_str(), (text, entry.mode, entry.target.as_deref()))
        })
        .collect()
}

/// Conditions that hosts of a fleet are found in.
fn conditions(platform: Platform) -> Vec<(&'static str, Vec<Condition>)> {
    let old = || Condition::Configured(values("10.0.0.99"));
    let right = || Condition::Configured(values("10.0.0.131"));
    let stale = |service, reloaded| Condition::Stale { service, before: Some(values("10.0.0.99")), reloaded };
    let mut cases = vec![
        ("plain", vec![]),
        ("right", vec![right()]),
        ("another proxy", vec![old()]),
        ("the guide", vec![Condition::GuideConfigured { host_port: "10.0.0.131:3128".into() }]),
        ("docker stale", vec![right(), stale(Service::Docker, true)]),
        ("ecs stale", vec![right(), stale(Service::Ecs, true)]),
        ("docker not loaded", vec![right(), stale(Service::Docker, false)]),
        ("CRLF", vec![Condition::CrlfEcsConfig]),
        ("CRLF and another proxy", vec![old(), Condition::CrlfEcsConfig]),
        ("no final line end", vec![Condition::UnendedEcsConfig]),
        ("empty ecs.config", vec![Condition::EmptyEcsConfig]),
        ("no ecs.config", vec![Condition::MissingEcsConfig]),
        ("linked yum.conf", vec![Condition::SymlinkedPackageConf]),
        ("lower case", vec![Condition::LowerCaseVariables(values("10.0.0.98"))]),
        ("docker stopped", vec![Condition::DockerStopped]),
        ("ecs stopped", vec![old(), Condition::EcsStopped]),
    ];
    if platform != Platform::AmazonLinux1 {
        cases.push(("default environment", vec![Condition::DefaultEnvironment(values("10.0.0.98"))]));
        cases.push(("inert exports", vec![Condition::SysconfigExports(values("10.0.0.98"))]));
        let file = "zz.conf".to_owned();
        let drop_in = Condition::ForeignDropIn { service: Service::Docker, file, values: values("10.0.0.131") };
        cases.push(("a rival that agrees", vec![drop_in]));
    }
    cases
}

/// The promise of the whole tool: what the plan shows happens, nothing else does, and then nothing is left to do.
#[test]
fn what_the_plan_shows_is_what_happens() {
    for platform in Platform::ALL {
        for (name, conditions) in conditions(platform) {
            for docker_restart in [DockerRestart::Allow, DockerRestart::Defer] {
                let scene = Scene::new(platform, &conditions);
                let parameters = wanted(&Component::ALL, docker_restart);
                follow_the_plan(&scene, &parameters, &format!("{platform}, {name}, {docker_restart:?}"));
            }
        }
    }
}

fn follow_the_plan(scene: &Scene, parameters: &ApplyParameters, case: &str) {
    let planned = scene.assess(&terms(parameters));
    assert_eq!(planned.obstacles, [], "{case}");
    if planned.work.components.is_empty() {
        return;
    }
    let (before, starts) = (scene.kept(), scene.starts());
    let report = scene.apply(&ApplyParameters { components: planned.work.components.clone(), ..parameters.clone() });
    // Loading a definition alone is no change to the host's files or processes.
    let only_loads =
        planned.work.restarts.is_empty() && planned.work.changes.iter().all(|one| one.drift == Drift::Stale);
    let result = if only_loads { ApplyResult::Unchanged } else { ApplyResult::Changed };
    assert_eq!(report.result, result, "{case}: {report:?}");

    let in_files = planned.work.changes.iter().filter(|change| change.drift != Drift::Stale);
    let shown: BTreeSet<_> = in_files
        .map(|change| (scene.platform.component(change.component).expect("a row").carrier.path, change.key))
        .collect();
    let touched = report.written.iter().chain(&report.removed);
    let done: BTreeSet<_> =
        touched.flat_map(|(path, keys)| keys.iter().map(move |key| (path.as_str(), *key))).collect();
    assert_eq!(done, shown, "{case}: keys");
    let paths: BTreeSet<&str> = shown.iter().map(|(path, _)| *path).collect();
    for (path, entry) in &scene.kept() {
        let target = |tree: &Tree| tree.get(path).cloned();
        let linked =
            paths.iter().any(|changed| scene.host.at(changed).canonicalize().ok() == Some(scene.host.at(path)));
        assert!(
            paths.contains(path.as_str()) || linked || target(&before).as_ref() == Some(entry),
            "{case}: {path} was touched"
        );
    }
    let mut restarted = planned.work.restarts.clone();
    // Taken along by Docker, ecs is not restarted by us unless it has to be.
    restarted
        .retain(|service| *service != Service::Ecs || report.restarted.contains(service) || !restarted_docker(&report));
    assert_eq!(report.restarted, restarted, "{case}: restarts");
    assert_eq!(report.pending, planned.work.deferred, "{case}: deferred restarts");
    let (docker, ecs) = (scene.starts().0 - starts.0, scene.starts().1 - starts.1);
    assert_eq!(docker, u32::from(planned.work.restarts.contains(&Service::Docker)), "{case}: starts of docker");
    assert_eq!(ecs, u32::from(planned.work.restarts.contains(&Service::Ecs)), "{case}: starts of ecs");

    let after = scene.assess(&terms(parameters));
    assert_eq!(after.work.changes, [], "{case}: afterwards");
    assert_eq!(after.pending, planned.work.deferred, "{case}: pending afterwards");
    let (tree, starts) = (scene.host.snapshot().expect("a snapshot"), scene.starts());
    let again = scene.apply(parameters);
    assert_eq!((again.result, again.written, again.restarted), (ApplyResult::Unchanged, vec![], vec![]), "{case}");
    assert_eq!(scene.starts(), starts, "{case}: a second apply restarts nothing");
    assert_eq!(
        settings_of(&tree),
        settings_of(&scene.host.snapshot().expect("a snapshot")),
        "{case}: no file is touched"
    );
}

fn restarted_docker(report: &ApplyReport) -> bool {
    report.restarted.contains(&Service::Docker)
}

/// Everything below `/etc` to the inode and the time of change.
fn settings_of(tree: &Tree) -> BTreeMap<&str, &Entry> {
    tree.iter().filter(|(path, _)| path.starts_with("/etc/")).map(|(path, entry)| (path.as_str(), entry)).collect()
}

#[test]
fn absent_puts_back_every_byte() {
    for platform in Platform::ALL {
        for (name, conditions) in conditions(platform) {
            let scene = Scene::new(platform, &conditions);
            let before = scene.kept();
            scene.apply(&all());
            let report = scene.apply(&absent());
            let good = matches!(report.result, ApplyResult::Changed | ApplyResult::Unchanged);
            assert!(good, "{platform}, {name}: {report:?}");
            let after = scene.kept();
            let (mut before, after) = (contents(&before), contents(&after));
            if name == "no final line end" {
                // The line end that had to be added before ours could follow stays.
                before.get_mut("/etc/ecs/ecs.config").expect("the file").0.push('\n');
            }
            assert_eq!(before, after, "{platform}, {name}");
            assert_eq!(scene.assess(&terms(&absent())).work.changes, [], "{platform}, {name}");
        }
    }
}

#[test]
fn absent_leaves_alone_what_somebody_changed_since() {
    let scene = Scene::new(Platform::AmazonLinux2, &[]);
    scene.apply(&all());
    let edited =
        scene.text("/etc/ecs/ecs.config").replace("HTTPS_PROXY=http://10.0.0.131:3128", "HTTPS_PROXY=http://mine:1");
    scene.host.write("/etc/ecs/ecs.config", edited.as_bytes()).expect("writable");
    scene.apply(&absent());
    let text = scene.text("/etc/ecs/ecs.config");
    assert!(text.contains("HTTPS_PROXY=http://mine:1\n") && !text.contains("HTTP_PROXY=http://10"), "{text}");
}

/// The settings of the ECS guide, with the corrections of proxy-by-os 2.4 and nothing else.
#[test]
fn the_files_hold_what_the_ecs_guide_sets() {
    let guide = ApplyParameters { values: Some(ProxyValues::new(GUIDE.into(), GUIDE.into(), [])), ..all() };
    let url = "http://10.0.0.131:3128"; // S6: with a scheme everywhere, without a final slash
    let bypass = "169.254.169.254,169.254.170.2"; // S4: both addresses, for Docker too
    let socket = format!("{bypass},/var/run/docker.sock");
    for (platform, path, before, after) in [
        (Platform::AmazonLinux1, "/etc/init/ecs.override", "env ", ""),
        (Platform::AmazonLinux2, "/etc/systemd/system/ecs.service.d/http-proxy.conf", "Environment=\"", "\""),
    ] {
        let scene = Scene::new(platform, &[]);
        let others = scene.text("/etc/ecs/ecs.config");
        scene.apply(&guide);
        // S1: the other keys of ecs.config stay. S16: HTTPS_PROXY as well.
        let config = format!("HTTP_PROXY={url}\nHTTPS_PROXY={url}\nNO_PROXY={socket}\n");
        assert_eq!(scene.text("/etc/ecs/ecs.config"), others + &config);
        let lines = |prefix: &str, suffix: &str, no_proxy: &str| {
            // S2, S3: HTTPS_PROXY is there, with the scheme of the hop to the proxy.
            [("HTTP_PROXY", url), ("HTTPS_PROXY", url), ("NO_PROXY", no_proxy)]
                .map(|(key, value)| format!("{prefix}{key}={value}{suffix}\n"))
                .concat()
        };
        assert!(scene.text(path).ends_with(&lines(before, after, &socket)), "{path}: {}", scene.text(path));
        let docker = platform.component(Component::Docker).expect("a row").carrier.path;
        let (prefix, suffix) = match platform {
            Platform::AmazonLinux1 => ("export ", ""),
            _ => ("Environment=\"", "\""),
        };
        assert!(scene.text(docker).ends_with(&lines(prefix, suffix, bypass)), "{docker}: {}", scene.text(docker));
        // S12: in [main], not at the end of the file.
        let yum = scene.text("/etc/yum.conf");
        let main =
            yum.split("\n[").find(|section| section.trim_start_matches('[').starts_with("main]")).expect("[main]");
        assert!(main.contains(&format!("\nproxy={url}")), "{yum}");
    }
}

const GUIDE: &str = "http://10.0.0.131:3128";

#[test]
#[expect(clippy::print_stdout, reason = "what was not run is said")]
fn shells_and_awks_agree() {
    for (shell, awk) in [("dash", "mawk"), ("bash --posix", "gawk"), ("busybox sh", "busybox")] {
        let (Some(_), Some(awk)) = (installed(shell.split(' ').next().expect("a word")), installed(awk)) else {
            println!("not run under {shell} with {awk}: it is not installed");
            continue;
        };
        for platform in Platform::ALL {
            let guide = Condition::GuideConfigured { host_port: "10.0.0.131:3128".into() };
            let mut scene = Scene::new(platform, &[guide, Condition::CrlfEcsConfig]);
            scene.shell = Some(shell);
            scene.use_awk(&awk);
            follow_the_plan(&scene, &all(), &format!("{platform}, {shell}, {}", awk.display()));
        }
    }
}

/// Where a program of the machine is.
fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[test]
fn a_service_that_does_not_come_up_takes_everything_back() {
    for platform in Platform::ALL {
        for service in Service::ALL {
            for when in [FaultWhen::Start, FaultWhen::Late] {
                let fault = Fault { when, containing: Some("10.0.0.131".into()) };
                let old = Condition::Configured(values("10.0.0.99"));
                let scene = Scene::new(platform, &[old, Condition::Failing(service, fault)]);
                let before = scene.kept();
                let case = format!("{platform}, {service}");
                let report = scene.apply(&all());
                assert!(matches!(report.result, ApplyResult::RolledBack(_)), "{case}: {report:?}");
                assert_eq!(contents(&before), contents(&scene.kept()), "{case}");
                for service in Service::ALL {
                    assert!(scene.host.is_active(service), "{case}: {service} runs again");
                }
                let http = scene.host.process_variable(Service::Docker, "HTTP_PROXY");
                assert_eq!(http.as_deref(), Some("http://10.0.0.99:3128"), "{case}: with its old setting");
            }
        }
    }
}

#[test]
fn a_proxy_that_does_not_answer_changes_nothing() {
    for (answer, reason) in [
        (ProxyAnswer::Unreachable, "preflight-unreachable"),
        (ProxyAnswer::Status(403), "preflight-refused"),
        (ProxyAnswer::Status(407), "preflight-refused"),
    ] {
        let proxy = Condition::Proxy { host_port: "10.0.0.131:3128".into(), answer };
        let scene = Scene::new(Platform::AmazonLinux2, &[proxy]);
        let (before, starts) = (scene.kept(), scene.starts());
        assert_eq!(scene.apply(&all()).result, ApplyResult::Refused(reason.into()));
        assert_eq!((before, starts), (scene.kept(), scene.starts()));
        let skip = ApplyParameters { preflight: Preflight::Skip, ..all() };
        assert_eq!(scene.apply(&skip).result, ApplyResult::Changed, "unless the policy does not ask");
    }
}

#[test]
fn a_document_refuses_another_system() {
    for (platform, other) in [
        (Platform::AmazonLinux1, Platform::AmazonLinux2),
        (Platform::AmazonLinux2, Platform::AmazonLinux2023),
        (Platform::AmazonLinux2023, Platform::AmazonLinux2),
    ] {
        let scene = Scene::new(platform, &[]);
        let before = scene.kept();
        let finished = scene.run(&document::apply(other), &all().to_map(), Duration::from_mins(1));
        assert_eq!(finished.exit, Some(1));
        let text = String::from_utf8_lossy(&finished.stdout).into_owned();
        assert!(text.contains("refused wrong-platform"), "{text}");
        assert_eq!(before, scene.kept());
    }
}

#[test]
fn what_cannot_be_changed_safely_is_refused_before_anything_is_written() {
    let drop_in =
        Condition::ForeignDropIn { service: Service::Docker, file: "zz.conf".into(), values: values("10.0.0.98") };
    for (conditions, reason) in [
        (vec![drop_in], "conflict"),
        (vec![Condition::DaemonJsonProxies(values("10.0.0.98"))], "conflict"),
        (vec![Condition::SysconfigVariables(values("10.0.0.98"))], "conflict"),
        (vec![Condition::BinaryEcsConfig], "unsupported"),
        (vec![Condition::NoEcs], "component-absent"),
    ] {
        let scene = Scene::new(Platform::AmazonLinux2, &conditions);
        let planned = scene.assess(&terms(&all()));
        assert!(!planned.obstacles.is_empty(), "{reason}: the planner leaves the component out");
        let (before, starts) = (scene.kept(), scene.starts());
        assert_eq!(scene.apply(&all()).result, ApplyResult::Refused(reason.into()));
        assert_eq!((before, starts), (scene.kept(), scene.starts()), "{reason}");
    }
}

#[test]
fn a_stopped_service_stays_stopped() {
    let scene = Scene::new(Platform::AmazonLinux2, &[Condition::DockerStopped]);
    assert_eq!(scene.apply(&all()).result, ApplyResult::Changed);
    assert_eq!(scene.starts(), Scene::new(Platform::AmazonLinux2, &[Condition::DockerStopped]).starts());
    assert!(!scene.host.is_active(Service::Docker) && !scene.host.is_active(Service::Ecs));
}

#[test]
fn a_run_that_was_killed_is_repaired_by_the_next() {
    for platform in Platform::ALL {
        for milliseconds in [30, 60, 100, 150, 200, 300] {
            let scene = Scene::new(platform, &[Condition::Configured(values("10.0.0.99"))]);
            let document = document::apply(platform);
            scene.run(&document, &all().to_map(), Duration::from_millis(milliseconds));
            let report = scene.apply(&all());
            let case = format!("{platform}, killed after {milliseconds} ms");
            assert!(matches!(report.result, ApplyResult::Changed | ApplyResult::Unchanged), "{case}: {report:?}");
            assert!(scene.assess(&terms(&all())).in_sync(), "{case}");
            for service in Service::ALL {
                assert!(scene.host.is_active(service), "{case}: {service} runs");
            }
        }
    }
}

#[test]
fn two_applies_at_once_do_not_interleave() {
    let scene = Scene::new(Platform::AmazonLinux2, &[]);
    let starts = scene.starts();
    let reports = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(|| scene.apply(&all()))).collect();
        runs.into_iter().map(|run| run.join().expect("an apply")).collect::<Vec<_>>()
    });
    let changed = reports.iter().filter(|report| report.result == ApplyResult::Changed).count();
    assert_eq!(changed, 1, "one does the work, the other finds it done or is refused: {reports:?}");
    assert_eq!((scene.starts().0 - starts.0, scene.starts().1 - starts.1), (1, 1));
    assert!(scene.assess(&terms(&all())).in_sync());
}

#[test]
fn observing_reads_only() {
    for platform in Platform::ALL {
        for (name, conditions) in conditions(platform) {
            let scene = Scene::new(platform, &conditions);
            let (before, starts) = (scene.host.snapshot().expect("a snapshot"), scene.starts());
            scene.observe();
            assert_eq!(scene.starts(), starts);
            assert!(before == scene.host.snapshot().expect("a snapshot"), "{platform}, {name}: something was written");
        }
    }
}

#[test]
fn reports_fit_and_hold_no_credentials() {
    let long: Vec<String> = (0..80).map(|number| format!("host-{number:02}.internal.example.com")).collect();
    let mut rich = values("10.0.0.131");
    rich.bypass = format!("{},{}", rich.bypass, long.join(","));
    assert!(rich.bypass.len() > 2_000 && rich.bypass.len() < 2_600);
    let secret = "http://proxyuser:hunter2@10.0.0.99:3128".to_owned();
    let leaky = ProxyValues::new(secret.clone(), secret, long.iter().map(String::as_str));
    let scene = Scene::new(Platform::AmazonLinux2, &[Condition::Configured(leaky)]);
    let finished = scene.run(&document::observe(), &BTreeMap::new(), Duration::from_mins(1));
    let text = String::from_utf8(finished.stdout).expect("ASCII");
    assert!(text.len() <= 2_400 && !text.contains("hunter2") && !text.contains("proxyuser"), "{text}");
    scene.observe();
    let finished = scene.run(&document::apply(Platform::AmazonLinux2), &all().to_map(), Duration::from_mins(1));
    let text = String::from_utf8(finished.stdout).expect("ASCII");
    assert!(!text.contains("hunter2"), "{text}");
    // What the record keeps to put it back must not be readable by others.
    let tree = scene.host.snapshot().expect("a snapshot");
    let home = tree.get("/var/lib/proxyfleet").expect("proxyfleet's own folder");
    assert_eq!(home.mode & 0o077, 0, "{:o}", home.mode);
}
