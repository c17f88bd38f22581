//! What the plan says of a host against what the documents do there: the promise of the whole tool.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proxyfleet::catalog::{Platform, ProxyValues, Service};
use proxyfleet::document::ApplyParameters;
use proxyfleet::fleet::{ApplyReport, ApplyResult};
use proxyfleet::plan::{Assessment, Drift, assess};
use proxyfleet::policy::DockerRestart;
use proxyfleet::sim::host::{Condition, Entry, Snapshot};

use tempfile::TempDir;

use crate::scene::{STATE, Scene, absent, present, proxy, terms, values};

fn compared(scene: &Scene, parameters: &ApplyParameters) -> Assessment {
    assess(&terms(parameters), &scene.observe())
}

/// The files and links below `/etc`.
fn kept(scene: &Scene) -> Snapshot {
    let mut tree = scene.host.snapshot().expect("a snapshot");
    tree.retain(|path, entry| path.starts_with("/etc/") && entry.mode & 0o170_000 != 0o040_000);
    tree
}

/// The content and the mode of each file, without what tells a rewritten file from an untouched one.
fn contents(tree: &Snapshot) -> BTreeMap<&str, (String, u32, Option<&Path>)> {
    tree.iter()
        .map(|(path, entry)| {
            let text = String::from_utf8_lossy(&entry.bytes).into_owned();
            (path.as_str(), (text, entry.mode, entry.target.as_deref()))
        })
        .collect()
}

/// Conditions that hosts of a fleet are found in.
fn conditions(platform: Platform) -> Vec<(&'static str, Vec<Condition>)> {
    let old = || Condition::Configured(proxy("http://10.0.0.99:3128"));
    let right = || Condition::Configured(values());
    let stale =
        |service, reloaded| Condition::Stale { service, before: Some(proxy("http://10.0.0.99:3128")), reloaded };
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
        ("lower case", vec![Condition::LowerCaseVariables(proxy("http://10.0.0.98:3128"))]),
        ("docker stopped", vec![Condition::DockerStopped]),
        ("ecs stopped", vec![old(), Condition::EcsStopped]),
    ];
    if platform != Platform::AmazonLinux1 {
        cases.push(("default environment", vec![Condition::DefaultEnvironment(proxy("http://10.0.0.98:3128"))]));
        cases.push(("inert exports", vec![Condition::SysconfigExports(proxy("http://10.0.0.98:3128"))]));
        let file = "zz.conf".to_owned();
        let drop_in = Condition::ForeignDropIn { service: Service::Docker, file, values: values() };
        cases.push(("a rival that agrees", vec![drop_in]));
    }
    cases
}

/// The promise of the whole tool: what the plan shows happens, nothing else does, and then nothing is left to do.
#[test]
fn what_the_plan_shows_is_what_happens() {
    for platform in Platform::LINUX {
        for (name, conditions) in conditions(platform) {
            for docker_restart in [DockerRestart::Allow, DockerRestart::Defer] {
                let scene = Scene::with(platform, conditions.clone());
                let parameters = ApplyParameters { docker_restart, ..present() };
                follow_the_plan(&scene, &parameters, &format!("{platform}, {name}, {docker_restart:?}"));
            }
        }
    }
}

fn follow_the_plan(scene: &Scene, parameters: &ApplyParameters, case: &str) {
    let planned = compared(scene, parameters);
    assert_eq!(planned.obstacles, [], "{case}");
    if planned.work.components.is_empty() {
        return;
    }
    let (before, starts) = (kept(scene), scene.starts());
    let components = planned.work.components.clone();
    let report = scene.apply(&ApplyParameters { components, ..parameters.clone() }).report;
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
    for (path, entry) in &kept(scene) {
        let target = |tree: &Snapshot| tree.get(path).cloned();
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

    let after = compared(scene, parameters);
    assert_eq!(after.work.changes, [], "{case}: afterwards");
    assert_eq!(after.pending, planned.work.deferred, "{case}: pending afterwards");
    let (tree, starts) = (scene.host.snapshot().expect("a snapshot"), scene.starts());
    let again = scene.apply(parameters).report;
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
fn settings_of(tree: &Snapshot) -> BTreeMap<&str, &Entry> {
    tree.iter().filter(|(path, _)| path.starts_with("/etc/")).map(|(path, entry)| (path.as_str(), entry)).collect()
}

#[test]
fn absent_puts_back_every_byte() {
    for platform in Platform::LINUX {
        for (name, conditions) in conditions(platform) {
            let scene = Scene::with(platform, conditions.clone());
            let before = kept(&scene);
            scene.apply(&present());
            let report = scene.apply(&absent()).report;
            let good = matches!(report.result, ApplyResult::Changed | ApplyResult::Unchanged);
            assert!(good, "{platform}, {name}: {report:?}");
            let after = kept(&scene);
            let (mut before, after) = (contents(&before), contents(&after));
            if name == "no final line end" {
                // The line end that had to be added before ours could follow stays.
                before.get_mut("/etc/ecs/ecs.config").expect("the file").0.push('\n');
            }
            assert_eq!(before, after, "{platform}, {name}");
            assert_eq!(compared(&scene, &absent()).work.changes, [], "{platform}, {name}");
        }
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not run is said")]
fn shells_and_awks_agree() {
    for (shell, awk) in [("dash", "mawk"), ("bash --posix", "gawk"), ("busybox sh", "busybox")] {
        let (Some(_), Some(awk)) = (installed(shell.split(' ').next().expect("a word")), installed(awk)) else {
            println!("not run under {shell} with {awk}: it is not installed");
            continue;
        };
        for platform in Platform::LINUX {
            let guide = Condition::GuideConfigured { host_port: "10.0.0.131:3128".into() };
            let mut scene = Scene::with(platform, [guide, Condition::CrlfEcsConfig]).under(shell);
            // Before any other awk of the machine.
            let programs = TempDir::new().expect("a temporary folder");
            std::os::unix::fs::symlink(&awk, programs.path().join("awk")).expect("a link");
            scene.set("PATH", programs.path().to_str().expect("text"));
            follow_the_plan(&scene, &present(), &format!("{platform}, {shell}, {}", awk.display()));
        }
    }
}

/// Where a program of the machine is.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

#[test]
fn what_cannot_be_changed_safely_is_refused_before_anything_is_written() {
    let drop_in = Condition::ForeignDropIn {
        service: Service::Docker,
        file: "zz.conf".into(),
        values: proxy("http://10.0.0.98:3128"),
    };
    for (conditions, reason) in [
        (vec![drop_in], "conflict"),
        (vec![Condition::DaemonJsonProxies(proxy("http://10.0.0.98:3128"))], "conflict"),
        (vec![Condition::SysconfigVariables(proxy("http://10.0.0.98:3128"))], "conflict"),
        (vec![Condition::BinaryEcsConfig], "unsupported"),
        (vec![Condition::NoEcs], "component-absent"),
    ] {
        let scene = Scene::with(Platform::AmazonLinux2, conditions);
        let planned = compared(&scene, &present());
        assert!(!planned.obstacles.is_empty(), "{reason}: the planner leaves the component out");
        let (before, starts) = (kept(&scene), scene.starts());
        assert_eq!(scene.apply(&present()).report.result, ApplyResult::Refused(reason.into()));
        assert_eq!((before, starts), (kept(&scene), scene.starts()), "{reason}");
    }
}

#[test]
fn two_applies_at_once_do_not_interleave() {
    let scene = Scene::plain(Platform::AmazonLinux2);
    let starts = scene.starts();
    let reports = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..2).map(|_| scope.spawn(|| scene.apply(&present()).report)).collect();
        runs.into_iter().map(|run| run.join().expect("an apply")).collect::<Vec<_>>()
    });
    let changed = reports.iter().filter(|report| report.result == ApplyResult::Changed).count();
    assert_eq!(changed, 1, "one does the work, the other finds it done or is refused: {reports:?}");
    assert_eq!((scene.starts().0 - starts.0, scene.starts().1 - starts.1), (1, 1));
    assert!(compared(&scene, &present()).in_sync());
}

#[test]
fn observing_reads_only() {
    for platform in Platform::LINUX {
        for (name, conditions) in conditions(platform) {
            let scene = Scene::with(platform, conditions.clone());
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
    let secret = "http://proxyuser:hunter2@10.0.0.99:3128".to_owned();
    let leaky = ProxyValues::new(secret.clone(), secret, long.iter().map(String::as_str));
    assert!(leaky.bypass.len() > 2_000, "longer than a report has room for");
    let scene = Scene::with(Platform::AmazonLinux2, [Condition::Configured(leaky)]);
    // That both fit is looked at wherever a script runs.
    for text in [scene.observe_text(), scene.apply(&present()).text] {
        assert!(!text.contains("hunter2") && !text.contains("proxyuser"), "{text}");
    }
    // What the record keeps to put it back must not be readable by others.
    let tree = scene.host.snapshot().expect("a snapshot");
    let home = tree.get(STATE).expect("proxyfleet's own folder");
    assert_eq!(home.mode & 0o077, 0, "{:o}", home.mode);
}
