//! Putting back what one run changed on a host.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use proxyfleet::catalog::{Component, Platform, Service};
use proxyfleet::document::{Action, ApplyParameters};
use proxyfleet::fleet::{ApplyResult, parse_apply};
use proxyfleet::policy::{DockerRestart, Preflight};
use proxyfleet::sim::host::{Condition, Fault, FaultWhen, ProxyAnswer};
use proxyfleet::sim::windows::{ModelHost, RegValue, Settings, Surroundings, WindowsState};

use tempfile::TempDir;

use crate::apply_crash::{Steps, no_rubbish};
use crate::apply_document::installed;
use crate::scene::{STATE, Scene, absent, carrier, only, present, proxy, values};

const OTHER: &str = "http://10.0.0.132:3128";

/// An apply that belongs to a run.
fn of_run(run: &str, parameters: ApplyParameters) -> ApplyParameters {
    ApplyParameters { run: run.to_owned(), ..parameters }
}

/// What puts a run back. The values of an apply do not count.
fn back(run: &str) -> ApplyParameters {
    ApplyParameters { action: Action::PutBack, ..of_run(run, absent()) }
}

fn to(url: &str, parameters: ApplyParameters) -> ApplyParameters {
    ApplyParameters { values: Some(proxy(url)), ..parameters }
}

/// What counts on a host: files with their modes and owners, the record, and what services run with.
struct Seen {
    contents: Vec<(String, u32, Vec<u8>)>,
    owners: Vec<(String, u32, u32)>,
    record: Option<Vec<u8>>,
    running: Vec<Option<String>>,
    active: [bool; 2],
}

fn look(scene: &Scene) -> Seen {
    let owner = |path: &str| {
        use std::os::unix::fs::MetadataExt as _;
        let found = std::fs::symlink_metadata(scene.host.at(path)).unwrap();
        (path.to_owned(), found.uid(), found.gid())
    };
    let contents = scene.contents();
    let variables = ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"];
    let docker = variables.map(|name| scene.host.process_variable(Service::Docker, name));
    let init = variables.map(|name| scene.host.process_variable(Service::Ecs, name));
    let agent = variables.map(|name| scene.host.agent_variable(name));
    Seen {
        owners: contents.iter().map(|(path, ..)| owner(path)).collect(),
        contents,
        record: scene.host.read(&format!("{STATE}/managed")).ok(),
        running: [docker, init, agent].concat(),
        active: [Service::Docker, Service::Ecs].map(|service| scene.host.is_active(service)),
    }
}

#[track_caller]
fn assert_seen(scene: &Scene, before: &Seen, case: &str) {
    scene.assert_contents(&before.contents, case);
    let now = look(scene);
    assert!(now.owners == before.owners, "{case}: owners");
    let record = |seen: &Seen| seen.record.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(record(&now), record(before), "{case}");
    assert_eq!((&now.running, now.active), (&before.running, before.active), "{case}");
}

/// Starting states in which every process has what its files say.
fn conditions(platform: Platform) -> Vec<(&'static str, Vec<Condition>)> {
    let old = || Condition::Configured(proxy("http://10.0.0.99:3128"));
    let mut cases = vec![
        ("plain", vec![]),
        ("another proxy", vec![old()]),
        ("the guide", vec![Condition::GuideConfigured { host_port: "10.9.9.9:3128".into() }]),
        ("CRLF", vec![old(), Condition::CrlfEcsConfig]),
        ("no final line end", vec![Condition::UnendedEcsConfig]),
        ("no ecs.config", vec![Condition::MissingEcsConfig]),
        ("linked yum.conf", vec![Condition::SymlinkedPackageConf]),
        ("ecs stopped", vec![old(), Condition::EcsStopped]),
        ("docker stopped", vec![Condition::DockerStopped]),
    ];
    if platform != Platform::AmazonLinux1 {
        cases.push(("default environment", vec![Condition::DefaultEnvironment(proxy("http://10.0.0.98:3128"))]));
        let odd = Condition::File { path: "/etc/ecs/ecs.config".into(), contents: "A=1\r\n".into(), mode: 0o640 };
        cases.push(("odd mode", vec![odd]));
    }
    cases
}

#[test]
fn everything_is_as_it_was_before_the_run() {
    for platform in Platform::LINUX {
        for (name, conditions) in conditions(platform) {
            let scene = Scene::with(platform, conditions);
            let case = format!("{platform}, {name}");
            let before = look(&scene);
            let applied = scene.apply(&of_run("r-1", present())).changed();
            let report = scene.apply(&back("r-1")).changed();
            assert_eq!((&report.written, &report.details), (&applied.written, &vec![]), "{case}");
            assert_eq!(report.restarted, applied.restarted, "{case}");
            assert_seen(&scene, &before, &case);
            no_rubbish(&scene);
            let starts = scene.starts();
            let report = scene.apply(&back("r-1")).unchanged();
            assert_eq!(report.details, ["run r-1 was put back before"], "{case}");
            assert_seen(&scene, &before, &case);
            assert_eq!(scene.starts(), starts, "{case}");
        }
    }
}

#[test]
fn a_run_that_changes_a_host_twice_is_put_back_to_before_the_first_time() {
    let scene = Scene::with(Platform::AmazonLinux2, [Condition::MissingEcsConfig]);
    scene.apply(&of_run("earlier", to("http://10.0.0.130:3128", only(&[Component::Docker])))).changed();
    let before = look(&scene);
    scene.apply(&of_run("r-2", only(&[Component::Docker, Component::PackageManager]))).changed();
    scene.apply(&of_run("r-2", to(OTHER, present()))).changed();
    let report = scene.apply(&back("r-2")).changed();
    assert_eq!((report.written.len(), report.restarted), (4, vec![Service::Docker, Service::Ecs]));
    assert_seen(&scene, &before, "twice");
    // The earlier run is still there to be put back.
    scene.apply(&back("earlier")).changed();
    assert!(scene.observe().managed.is_empty());

    // What was taken away comes back, with the record of it.
    scene.apply(&present()).changed();
    let before = look(&scene);
    scene.apply(&of_run("r-3", absent())).changed();
    scene.apply(&back("r-3")).changed();
    assert_seen(&scene, &before, "removal");
    scene.assert_all(&values());
}

#[test]
#[expect(clippy::print_stdout, reason = "what was not run is said")]
fn shells_and_awks_agree() {
    for (shell, awk) in [("dash", "mawk"), ("bash --posix", "gawk"), ("busybox sh", "busybox")] {
        let (Some(_), Some(awk)) = (installed(shell.split(' ').next().unwrap()), installed(awk)) else {
            println!("not run under {shell} with {awk}: it is not installed");
            continue;
        };
        for platform in Platform::LINUX {
            let conditions = [Condition::Configured(proxy("http://10.0.0.99:3128")), Condition::CrlfEcsConfig];
            let mut scene = Scene::with(platform, conditions).under(shell);
            // Before any other awk of the machine.
            let programs = TempDir::new().unwrap();
            std::os::unix::fs::symlink(&awk, programs.path().join("awk")).unwrap();
            scene.set("PATH", programs.path().to_str().unwrap());
            let (case, before) = (format!("{platform}, {shell}, {}", awk.display()), look(&scene));
            scene.apply(&of_run("r-18", only(&[Component::Docker]))).changed();
            scene.apply(&of_run("r-18", to(OTHER, present()))).changed();
            let report = scene.apply(&back("r-18")).changed();
            assert_eq!((report.written.len(), report.restarted.len()), (4, 2), "{case}");
            assert_seen(&scene, &before, &case);
            scene.apply(&back("r-18")).unchanged();
            scene.apply(&of_run("r-19", present())).changed();
            let config = carrier(platform, Component::EcsAgent);
            scene.host.write(config, b"A=1\n").unwrap();
            scene.apply(&back("r-19")).refused("changed-meanwhile");
        }
    }
}

#[test]
fn what_somebody_changed_since_is_kept() {
    let scene = Scene::plain(Platform::AmazonLinux2);
    let config = carrier(scene.platform, Component::EcsAgent);
    let refused = |run: &str, path: &str| {
        let before = (scene.files(), scene.starts());
        assert_eq!(scene.apply(&back(run)).refused("changed-meanwhile").details, [path]);
        assert!(before == (scene.files(), scene.starts()), "{path}: something was touched");
    };
    scene.apply(&of_run("r-4", present())).changed();
    let ours = scene.text(config);
    scene.host.write(config, format!("{ours}ECS_X=1\n").as_bytes()).unwrap();
    refused("r-4", config);
    // Between two applies of the run it counts as well.
    scene.apply(&of_run("r-4", to(OTHER, present()))).changed();
    refused("r-4", config);

    // Another run that came later, and the record alone.
    let scene = Scene::plain(Platform::AmazonLinux2);
    let before = look(&scene);
    scene.apply(&of_run("r-5", only(&[Component::Docker]))).changed();
    scene.apply(&of_run("r-6", to(OTHER, only(&[Component::PackageManager])))).changed();
    let report = scene.apply(&back("r-5")).refused("changed-meanwhile");
    assert_eq!(report.details, [format!("{STATE}/managed")]);
    scene.apply(&back("r-6")).changed();
    scene.apply(&back("r-5")).changed();
    assert_seen(&scene, &before, "one after the other");

    // A mode that somebody changed.
    scene.apply(&of_run("r-7", present())).changed();
    let path = scene.host.at(config);
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    scene.apply(&back("r-7")).refused("changed-meanwhile");
    std::fs::remove_file(&path).unwrap();
    scene.apply(&back("r-7")).refused("changed-meanwhile");
}

#[test]
fn only_the_run_itself_counts() {
    let scene = Scene::plain(Platform::AmazonLinux2023);
    scene.apply(&of_run("r-8", present())).changed();
    scene.apply(&of_run("r-9", present())).unchanged();
    let before = look(&scene);
    for run in ["r-9", "r", "r-88", "R-8", "-e"] {
        let report = scene.apply(&back(run)).unchanged();
        assert_eq!(report.details, [format!("run {run} changed nothing here")]);
    }
    scene.apply(&back("")).refused("bad-parameters");
    for run in ["a b", "a:b", "../x", "x".repeat(65).as_str()] {
        scene.apply(&back(run)).refused("bad-parameters");
        scene.apply(&of_run(run, present())).refused("bad-parameters");
    }
    assert_seen(&scene, &before, "nothing happened");
}

#[test]
fn backups_of_the_run_at_hand_are_kept_and_others_are_missed() {
    let scene = Scene::plain(Platform::AmazonLinux2);
    let before = look(&scene);
    let step = |run: &str, port: u16| {
        scene.apply(&of_run(run, to(&format!("http://p:{port}"), only(&[Component::PackageManager])))).changed();
    };
    (1..=8).for_each(|port| step("long", port));
    let folders = || std::fs::read_dir(scene.host.at(&format!("{STATE}/backup"))).unwrap().count();
    assert_eq!(folders(), 8);
    scene.apply(&back("long")).changed();
    assert_seen(&scene, &before, "eight times");
    step("old", 1);
    (2..=6).for_each(|port| step("new", port));
    assert_eq!(folders(), 5);
    let text = look(&scene);
    assert_eq!(scene.apply(&back("old")).refused("no-backup").details, ["run old"]);
    let backup = scene.host.at(&format!("{STATE}/backup"));
    for folder in std::fs::read_dir(backup).unwrap() {
        std::fs::remove_file(folder.unwrap().path().join("package-manager")).unwrap();
    }
    scene.apply(&back("new")).refused("no-backup");
    assert_seen(&scene, &text, "refused");
}

#[test]
fn whatever_moment_it_is_killed_at_it_can_be_run_again() {
    let old = || Condition::Configured(proxy("http://10.0.0.99:3128"));
    for (platform, every) in [(Platform::AmazonLinux2, 3), (Platform::AmazonLinux1, 10)] {
        for step in (1..).step_by(every) {
            let mut steps = Steps::new(Scene::with(platform, [old(), Condition::MissingEcsConfig]), "KILL");
            let before = look(&steps.scene);
            steps.scene.apply(&of_run("r-10", present())).changed();
            let (_, reached) = steps.apply_until(step, &back("r-10"));
            let case = format!("{platform}, killed before step {step}");
            let report = steps.scene.apply(&back("r-10"));
            let fine = matches!(report.report.result, ApplyResult::Changed | ApplyResult::Unchanged);
            assert!(fine, "{case}: {}", report.text);
            assert_seen(&steps.scene, &before, &format!("{case}: {}", report.text));
            no_rubbish(&steps.scene);
            let starts = steps.scene.starts();
            steps.scene.apply(&back("r-10")).unchanged();
            assert_eq!(steps.scene.starts(), starts, "{case}");
            if !reached {
                assert!(step > 15, "the steps are seen");
                break;
            }
        }
    }
}

#[test]
fn an_apply_that_was_killed_can_be_put_back() {
    for step in (1..).step_by(3) {
        let mut steps = Steps::new(Scene::plain(Platform::AmazonLinux2), "KILL");
        let before = look(&steps.scene);
        let (_, reached) = steps.apply_until(step, &of_run("r-11", present()));
        let case = format!("killed before step {step}");
        if step % 2 == 1 {
            steps.scene.apply(&of_run("r-11", to(OTHER, present()))).changed();
        }
        let report = steps.scene.apply(&back("r-11"));
        let fine = matches!(report.report.result, ApplyResult::Changed | ApplyResult::Unchanged);
        assert!(fine, "{case}: {}", report.text);
        assert_seen(&steps.scene, &before, &case);
        no_rubbish(&steps.scene);
        if !reached {
            break;
        }
    }
}

#[test]
fn a_signal_only_delays() {
    for step in (1..).step_by(4) {
        let mut steps = Steps::new(Scene::plain(Platform::AmazonLinux2023), "TERM");
        let before = look(&steps.scene);
        steps.scene.apply(&of_run("r-12", present())).changed();
        let changed = look(&steps.scene);
        let (text, reached) = steps.apply_until(step, &back("r-12"));
        if text.contains("refused interrupted") {
            assert_seen(&steps.scene, &changed, &text);
            steps.scene.apply(&back("r-12")).changed();
        }
        assert_seen(&steps.scene, &before, &text);
        if !reached {
            break;
        }
    }
}

#[test]
fn docker_restarts_only_where_it_may() {
    let defer = |parameters| ApplyParameters { docker_restart: DockerRestart::Defer, ..parameters };
    let scene = Scene::plain(Platform::AmazonLinux2);
    let before = look(&scene);
    scene.apply(&of_run("r-13", present())).changed();
    let docker = scene.starts().0;
    let report = scene.apply(&defer(back("r-13"))).changed();
    assert_eq!((report.restarted, report.pending), (vec![Service::Ecs], vec![Service::Docker]));
    assert_eq!(scene.starts().0, docker);
    scene.assert_contents(&before.contents, "files are put back all the same");
    let report = scene.apply(&defer(back("r-13"))).unchanged();
    assert_eq!(report.pending, [Service::Docker]);
    let report = scene.apply(&back("r-13")).changed();
    assert_eq!((report.written, report.restarted), (vec![], vec![Service::Docker]));
    assert_seen(&scene, &before, "docker followed");
    scene.apply(&back("r-13")).unchanged();

    // What the run did not restart has the old values still.
    scene.apply(&defer(of_run("r-14", present()))).changed();
    let docker = scene.starts().0;
    let report = scene.apply(&back("r-14")).changed();
    assert_eq!((report.restarted, report.pending), (vec![Service::Ecs], vec![]));
    assert_eq!(scene.starts().0, docker);
    assert_seen(&scene, &before, "deferred");

    // A restart that came with a later apply of the run.
    scene.apply(&defer(of_run("r-15", present()))).changed();
    scene.apply(&of_run("r-15", present())).changed();
    assert_eq!(scene.apply(&back("r-15")).changed().restarted, [Service::Docker, Service::Ecs]);
    assert_seen(&scene, &before, "restarted later");
}

#[test]
fn no_proxy_is_tried() {
    let scene = Scene::with(
        Platform::AmazonLinux2,
        [Condition::Proxy { host_port: "10.0.0.131:3128".to_owned(), answer: ProxyAnswer::Unreachable }],
    );
    let before = look(&scene);
    scene.apply(&of_run("r-16", ApplyParameters { preflight: Preflight::Skip, ..present() })).changed();
    scene.apply(&ApplyParameters { action: Action::PutBack, ..of_run("r-16", present()) }).changed();
    assert_seen(&scene, &before, "no proxy");
}

#[test]
fn a_service_that_does_not_come_up_is_told_and_can_be_tried_again() {
    for (platform, service) in [Platform::AmazonLinux1, Platform::AmazonLinux2023]
        .into_iter()
        .flat_map(|platform| [Service::Docker, Service::Ecs].map(|service| (platform, service)))
    {
        let old = Condition::Configured(proxy("http://10.0.0.99:3128"));
        let scene = Scene::with(platform, [old]);
        let before = look(&scene);
        scene.apply(&of_run("r-17", present())).changed();
        let fault = Fault { when: FaultWhen::Start, containing: Some("10.0.0.99".to_owned()) };
        scene.host.set_fault(service, Some(&fault)).unwrap();
        scene.apply(&back("r-17")).expect(&ApplyResult::Failed(format!("put-back-{service}")));
        scene.assert_contents(&before.contents, "the files are as they were all the same");
        scene.host.set_fault(service, None).unwrap();
        scene.apply(&back("r-17")).changed();
        assert_seen(&scene, &before, &format!("{platform} {service}"));
    }
}

#[test]
fn a_way_back_leaves_what_somebody_wrote_meanwhile() {
    // Docker takes so long to fail that somebody edits a file.
    let fault = Fault { when: FaultWhen::Late, containing: Some("10.0.0.131".to_owned()) };
    let mut scene = Scene::with(Platform::AmazonLinux2, [Condition::Failing(Service::Docker, fault)]);
    scene.set("PROXYFLEET_WAIT", "6");
    let config = carrier(scene.platform, Component::EcsAgent);
    let before = scene.contents();
    let report = std::thread::scope(|scope| {
        let run = scope.spawn(|| scene.apply(&present()));
        while !scene.text(config).contains("HTTP_PROXY") || scene.starts().0 == 0 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let edited = format!("{}ECS_X=1\n", scene.text(config));
        scene.host.write(config, edited.as_bytes()).unwrap();
        run.join().unwrap()
    });
    let report = report.expect(&ApplyResult::Failed("rollback-files".to_owned()));
    assert!(report.details.contains(&format!("{config} was changed by somebody else and is left alone")), "{report:?}");
    assert!(scene.text(config).ends_with("ECS_X=1\n"));
    let mut now = scene.contents();
    let mut before = before;
    now.retain(|(path, ..)| path != config);
    before.retain(|(path, ..)| path != config);
    assert_eq!(now, before, "everything else is as it was");
}

/// What a script does on a modelled Windows host; the same on a real one is in `windows_equality`.
fn on_windows(host: &ModelHost, parameters: &ApplyParameters) -> proxyfleet::fleet::ApplyReport {
    let text = String::from_utf8(host.run(&crate::winhost::apply_script(parameters)).stdout).unwrap();
    parse_apply(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn a_modelled_windows_host_is_as_it_was_before_the_run() {
    let components = vec![Component::EcsAgent, Component::Docker, Component::MachineEnvironment];
    let windows = |parameters| ApplyParameters { components: components.clone(), ..parameters };
    let old_docker = WindowsState { docker_version: "20.10.9".to_owned(), ..WindowsState::plain() };
    let json = Settings { daemon_json: Some(b"{\r\n  \"debug\": true\r\n}\r\n".to_vec()), ..Settings::none() };
    for (case, state) in [
        ("plain", WindowsState::plain()),
        ("configured", WindowsState::plain().with(Settings::configured(&proxy("http://10.0.0.99:3128"), false))),
        ("other members", WindowsState::plain().with(json)),
        ("old docker", old_docker),
    ] {
        let host = ModelHost::new(&state, Surroundings::open("eu-central-1"));
        let seen = || {
            let mut look = host.look();
            look.files.retain(|path, _| !path.ends_with("started"));
            look.services.values_mut().for_each(|service| service.starts = 0);
            look
        };
        let before = seen();
        assert_eq!(on_windows(&host, &windows(of_run("r-1", present()))).result, ApplyResult::Changed, "{case}");
        assert_eq!(on_windows(&host, &windows(of_run("r-1", to(OTHER, present())))).result, ApplyResult::Changed);
        let report = on_windows(&host, &windows(back("r-2")));
        assert_eq!(report.details, ["run r-2 changed nothing here"], "{case}");
        let defer = ApplyParameters { docker_restart: DockerRestart::Defer, ..back("r-1") };
        let report = on_windows(&host, &windows(defer));
        assert_eq!((report.result, report.written.len()), (ApplyResult::Changed, 3), "{case}");
        assert_eq!((report.restarted, report.pending), (vec![Service::Ecs], vec![Service::Docker]), "{case}");
        let report = on_windows(&host, &windows(back("r-1")));
        assert_eq!((report.result, report.written), (ApplyResult::Changed, vec![]), "{case}");
        assert_eq!(seen(), before, "{case}");
        let report = on_windows(&host, &windows(back("r-1")));
        assert_eq!((report.result, report.restarted), (ApplyResult::Unchanged, vec![]), "{case}");

        on_windows(&host, &windows(of_run("r-3", present())));
        host.change(|machine| {
            machine.settings.environments.insert(Service::Ecs, RegValue::multi(["A=b"]));
        });
        let edited = seen();
        let report = on_windows(&host, &windows(back("r-3")));
        assert_eq!(report.result, ApplyResult::Refused("changed-meanwhile".to_owned()), "{case}");
        assert_eq!(seen(), edited, "{case}: the edit is kept");
    }
}
