//! User data, executed on hosts of the embedded fleet: it leaves what an apply leaves, whenever and how often it runs.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use proxyfleet::catalog::{AGENT_STATE, Component, Init, Platform, ProxyValues, Service};
use proxyfleet::document::{ApplyParameters, ClusterName, UserDataForm, UserDataRequest, user_data};
use proxyfleet::plan::assess;
use proxyfleet::policy::DockerRestart;
use proxyfleet::sim::host::{Condition, EcsUnit};
use tempfile::TempDir;

use crate::apply_crash::{Steps, holder, lock, no_rubbish};
use crate::scene::{Booted, SHELLS, STATE, Scene, absent, carrier, only, present, proxy, terms, values};

/// User data with what an apply is sent with.
fn request(parameters: &ApplyParameters) -> UserDataRequest {
    UserDataRequest {
        values: parameters.values.clone().unwrap(),
        components: parameters.components.clone(),
        docker_restart: parameters.docker_restart,
        policy: parameters.policy.clone(),
        cluster: None,
    }
}

/// What cloud-init runs: all but the first line.
fn script(platform: Platform, request: &UserDataRequest) -> String {
    let text = user_data(platform, request, UserDataForm::Whole).unwrap();
    text.strip_prefix("#cloud-boothook\n").unwrap().to_owned()
}

fn run(scene: &Scene, platform: Platform, request: &UserDataRequest) -> Booted {
    let finished = scene.run(&script(platform, request));
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Booted { said: text(finished.stdout), complained: text(finished.stderr), exit: finished.exit }
}

fn boot(scene: &Scene, parameters: &ApplyParameters) -> Booted {
    run(scene, scene.platform, &request(parameters))
}

/// The record, and its mode.
fn record(scene: &Scene) -> Option<(String, u32)> {
    let entry = scene.host.snapshot().unwrap().remove(&format!("{STATE}/managed"))?;
    Some((String::from_utf8(entry.bytes).unwrap(), entry.mode))
}

/// Starts what the boot of a host starts after the user data has run.
fn start_services(scene: &Scene) {
    let start = match scene.platform.table().init {
        Init::Upstart => "service docker start\ninitctl start ecs\n",
        _ => "systemctl start docker\nsystemctl start ecs\n",
    };
    assert_eq!(scene.run(start).exit, Some(0));
}

/// Whether a plan would find nothing to do.
fn in_sync(scene: &Scene, parameters: &ApplyParameters) -> bool {
    assess(&terms(parameters), &scene.observe()).in_sync()
}

/// Files that hosts have before they are born with a policy: none, those of an image, those of somebody else.
fn files_before(platform: Platform) -> Vec<(&'static str, Vec<Condition>)> {
    let old = || Condition::Configured(proxy("http://old.example.com:8080"));
    let mixed =
        "# ours\nECS_CLUSTER=web\nHTTP_PROXY=http://a:1\nECS_LOGLEVEL=debug\nHTTP_PROXY=http://b:2\n NO_PROXY = x\n";
    let mut cases = vec![
        ("plain", vec![]),
        ("no ecs.config", vec![Condition::MissingEcsConfig]),
        ("an empty ecs.config", vec![Condition::EmptyEcsConfig]),
        ("another proxy", vec![old()]),
        ("right already", vec![Condition::Configured(values())]),
        ("the guide", vec![Condition::GuideConfigured { host_port: "10.0.0.131:3128".to_owned() }]),
        ("CRLF and another proxy", vec![old(), Condition::CrlfEcsConfig]),
        ("no final line end", vec![Condition::UnendedEcsConfig]),
        ("a linked file", vec![Condition::SymlinkedPackageConf]),
        ("lower case", vec![Condition::LowerCaseVariables(proxy("http://10.0.0.98:3128"))]),
        ("mixed lines", vec![Condition::File { path: config(platform), contents: mixed.into(), mode: 0o600 }]),
    ];
    if platform != Platform::AmazonLinux1 {
        cases.push(("inert exports", vec![Condition::SysconfigExports(proxy("http://10.0.0.98:3128"))]));
    }
    cases
}

fn config(platform: Platform) -> String {
    carrier(platform, Component::EcsAgent).to_owned()
}

#[test]
fn it_leaves_what_an_apply_leaves_byte_for_byte() {
    for platform in Platform::LINUX {
        for (name, conditions) in files_before(platform) {
            let case = format!("{platform}, {name}");
            let applied = Scene::with(platform, conditions.clone());
            applied.apply(&present());
            let booted = Scene::with(platform, conditions);
            boot(&booted, &present()).well();
            booted.assert_contents(&applied.contents(), &case);
            assert_eq!(record(&booted), record(&applied), "{case}");
            assert_eq!(booted.starts(), applied.starts(), "{case}");
            assert!(in_sync(&booted, &present()), "{case}");
            booted.apply(&present()).unchanged();
            assert_eq!(boot(&applied, &present()).well(), "proxyfleet: policy ecs-production, changed: nothing\n");
        }
    }
}

#[test]
fn a_host_that_boots_with_it_comes_up_in_sync_and_later_boots_change_nothing() {
    for platform in Platform::LINUX {
        for (name, mut conditions) in files_before(platform) {
            let case = format!("{platform}, {name}");
            conditions.push(Condition::DockerStopped);
            let scene = Scene::with(platform, conditions);
            boot(&scene, &present()).well();
            assert_eq!(scene.starts(), (0, 0), "{case}: nothing ran, nothing is restarted");
            let reloads = scene.host.daemon_reloads();
            assert!(reloads <= 1, "{case}: {reloads}");
            start_services(&scene);
            assert!(in_sync(&scene, &present()), "{case}\n{}", scene.observe_text());
            let (files, starts) = (scene.files(), scene.starts());
            boot(&scene, &present()).well();
            assert_eq!(scene.files(), files, "{case}: not even a time changes");
            assert_eq!((scene.starts(), scene.host.daemon_reloads()), (starts, reloads), "{case}");
        }
    }
}

#[test]
fn it_is_the_same_under_every_shell() {
    let scenes: Vec<Scene> =
        SHELLS.into_iter().map(|shell| Scene::plain(Platform::AmazonLinux2).under(shell)).collect();
    for (scene, shell) in scenes.iter().zip(SHELLS) {
        boot(scene, &present()).well();
        assert!(in_sync(scene, &present()), "{shell}");
        scene.assert_contents(&scenes[0].contents(), shell);
        assert_eq!(record(scene), record(&scenes[0]), "{shell}");
    }
}

#[test]
fn it_repairs_an_outside_edit_and_still_knows_what_was_there_first() {
    for platform in Platform::LINUX {
        let scene = Scene::with(platform, [Condition::Configured(proxy("http://old.example.com:8080"))]);
        let pristine = scene.contents();
        boot(&scene, &present()).well();
        for component in [Component::EcsAgent, Component::PackageManager] {
            let edit = |bytes: &mut Vec<u8>| {
                let text = String::from_utf8(std::mem::take(bytes)).unwrap();
                *bytes = text.replace("10.0.0.131:3128", "mistake:1").into_bytes();
            };
            scene.host.outside_edit(carrier(platform, component), edit).unwrap();
        }
        assert!(!in_sync(&scene, &present()), "{platform}");
        let before = scene.starts();
        let said = boot(&scene, &present()).well();
        assert_eq!(said, "proxyfleet: policy ecs-production, changed: ecs-agent package-manager\n");
        assert_eq!(scene.starts(), (before.0, before.1 + 1), "{platform}: only what reads the file");
        assert!(in_sync(&scene, &present()), "{platform}");
        let second = ApplyParameters { values: Some(proxy("http://10.0.0.132:3128")), ..present() };
        boot(&scene, &second).well();
        assert!(in_sync(&scene, &second), "{platform}");
        scene.apply(&absent()).changed();
        scene.assert_contents(&pristine, platform.name());
        assert!(scene.observe().managed.is_empty());
    }
}

#[test]
fn on_a_running_host_only_what_reads_a_changed_file_is_restarted() {
    for platform in Platform::LINUX {
        let scene = Scene::plain(platform);
        boot(&scene, &only(&[Component::PackageManager])).well();
        assert_eq!((scene.starts(), scene.host.daemon_reloads()), ((0, 0), 0), "{platform}");
        boot(&scene, &only(&[Component::EcsAgent, Component::EcsInit])).well();
        assert_eq!((scene.starts(), scene.host.tasks_killed()), ((0, 1), 0), "{platform}: never docker");
        let deferred = ApplyParameters { docker_restart: DockerRestart::Defer, ..present() };
        let said = boot(&scene, &deferred).well();
        assert!(said.starts_with("proxyfleet: docker runs with its old settings"), "{said}");
        assert_eq!((scene.starts(), scene.host.tasks_killed()), ((0, 1), 0), "{platform}");

        let scene = Scene::with(platform, [Condition::EcsStopped]);
        boot(&scene, &present()).well();
        assert_eq!(scene.starts(), (1, 0), "{platform}: a stopped agent stays so");
    }
    for unit in [EcsUnit::PartOf, EcsUnit::Requires, EcsUnit::WantsOnly] {
        let scene = Scene::with(Platform::AmazonLinux2, [Condition::EcsUnit(unit)]);
        boot(&scene, &only(&[Component::Docker])).well();
        assert_eq!((scene.host.is_active(Service::Ecs), scene.starts()), (true, (1, 1)), "{unit:?}");
    }
}

#[test]
fn the_wrong_system_is_left_alone() {
    let cases = [
        (Scene::with(Platform::AmazonLinux2, [Condition::UnsupportedSystem]), Platform::AmazonLinux2, "ubuntu 22.04"),
        (Scene::plain(Platform::AmazonLinux2023), Platform::AmazonLinux2, "amzn 2023"),
        (Scene::plain(Platform::AmazonLinux2), Platform::AmazonLinux1, "amzn 2"),
    ];
    for (scene, platform, found) in cases {
        let before = scene.host.snapshot().unwrap();
        let complained = run(&scene, platform, &request(&present())).badly();
        assert_eq!(complained, format!("proxyfleet: nothing changed: this is {found}, not {platform}\n"));
        assert_eq!(scene.host.snapshot().unwrap(), before);
    }
}

/// Asserts that the file of the ECS agent was left alone for `reason`, and that the others are right.
fn leaves_one_file_alone(scene: &Scene, reason: &str) {
    let platform = scene.platform;
    let path = config(platform);
    let before = scene.host.snapshot().unwrap();
    let complained = boot(scene, &present()).badly();
    assert_eq!(complained, format!("proxyfleet: ecs-agent not changed: {reason} {path}\n"), "{platform}");
    assert_eq!(scene.host.snapshot().unwrap().get(&path), before.get(&path), "{platform}");
    let (record, _) = record(scene).unwrap();
    assert!(!record.contains("ecs-agent") && record.contains("docker"), "{record}");
    let rest = [Component::EcsInit, Component::Docker, Component::PackageManager];
    let text = scene.observe_text();
    for component in rest.into_iter().filter(|component| *component != Component::EcsInit) {
        assert!(in_sync(scene, &only(&[component])), "{platform} {component}\n{text}");
    }
    let left = scene.files().into_keys().find(|path| path.contains(".proxyfleet."));
    assert_eq!(left, None);
}

#[test]
fn a_file_that_cannot_be_changed_is_left_alone_with_the_reason() {
    for platform in Platform::LINUX {
        leaves_one_file_alone(&Scene::with(platform, [Condition::BinaryEcsConfig]), "unsupported not-text");
        let continued = Condition::File { path: config(platform), contents: b"A=b\\\nc\n".into(), mode: 0o644 };
        leaves_one_file_alone(&Scene::with(platform, [continued]), "unsupported continued-line");

        let scene = Scene::with(platform, [Condition::MissingEcsConfig]);
        std::os::unix::fs::symlink("nowhere", scene.host.at(&config(platform))).unwrap();
        leaves_one_file_alone(&scene, "unsupported dangling-link");

        // For root a file is writable whatever its mode; what is left is a disk that refuses.
        let folder = TempDir::new().unwrap();
        let refusing = "#!/bin/sh\ncase $* in *ecs.config*) exit 1 ;; esac\nexec /bin/cp \"$@\"\n";
        std::fs::write(folder.path().join("cp"), refusing).unwrap();
        std::fs::set_permissions(folder.path().join("cp"), PermissionsExt::from_mode(0o755)).unwrap();
        let mut scene = Scene::plain(platform);
        scene.set("PATH", folder.path().to_str().unwrap());
        leaves_one_file_alone(&scene, "not-writable");
    }
}

#[test]
fn a_cluster_is_joined_where_none_is_named() {
    let joining = UserDataRequest { cluster: ClusterName::parse("batch_1"), ..request(&present()) };
    let named = |text: &str| text.lines().filter(|line| line.starts_with("ECS_CLUSTER")).collect::<Vec<_>>().join("|");
    for platform in Platform::LINUX {
        let with = |contents: &str| {
            let file = Condition::File { path: config(platform), contents: contents.into(), mode: 0o644 };
            Scene::with(platform, [file, Condition::DockerStopped])
        };
        for contents in ["", "ECS_CLUSTER=\n", "# ECS_CLUSTER=x\nECS_LOGLEVEL=info\n"] {
            let scene = with(contents);
            run(&scene, platform, &joining).well();
            assert_eq!(named(&scene.carrier(Component::EcsAgent)), "ECS_CLUSTER=batch_1", "{platform} {contents:?}");
            let files = scene.files();
            run(&scene, platform, &joining).well();
            assert_eq!(scene.files(), files);
            // It is no setting of a policy, so it is nobody's to take away.
            scene.apply(&absent()).changed();
            assert_eq!(named(&scene.carrier(Component::EcsAgent)), "ECS_CLUSTER=batch_1", "{platform} {contents:?}");
        }
        let scene = with("ECS_CLUSTER=theirs\n");
        run(&scene, platform, &joining).well();
        assert_eq!(named(&scene.carrier(Component::EcsAgent)), "ECS_CLUSTER=theirs", "{platform}");
        let scene = with("");
        boot(&scene, &present()).well();
        assert_eq!(named(&scene.carrier(Component::EcsAgent)), "", "{platform}: not asked for");

        // The cluster alone, without a word on the proxy of the agent.
        let scene = Scene::with(platform, [Condition::MissingEcsConfig, Condition::DockerStopped]);
        let others = UserDataRequest { components: vec![Component::Docker], ..joining.clone() };
        run(&scene, platform, &others).well();
        assert_eq!(scene.carrier(Component::EcsAgent), "ECS_CLUSTER=batch_1\n");

        // An agent that has registered refuses to start with the name of another cluster.
        for state in AGENT_STATE {
            let scene = with("");
            scene.host.write(state, b"x").unwrap();
            let complained = run(&scene, platform, &joining).badly();
            assert_eq!(complained, "proxyfleet: ECS_CLUSTER not set: the agent has registered already\n");
            assert_eq!(named(&scene.carrier(Component::EcsAgent)), "");
            assert!(scene.carrier(Component::EcsAgent).contains("HTTP_PROXY="), "the rest is written all the same");
        }
    }
}

#[test]
fn an_apply_at_the_same_time_is_not_disturbed() {
    let scene = Scene::plain(Platform::AmazonLinux2);
    let before = scene.files();
    let mut living = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
    lock(&scene, Some(&holder(&scene, living.id())));
    let complained = boot(&scene, &present()).badly();
    living.kill().unwrap();
    living.wait().unwrap();
    assert_eq!(complained, "proxyfleet: nothing changed: an apply is at work\n");
    assert!(scene.files() == before);
    boot(&scene, &present()).well();
    no_rubbish(&scene);
}

#[test]
fn whatever_moment_it_is_killed_at_the_next_boot_finishes_its_work() {
    for (platform, signal) in [(Platform::AmazonLinux2, "KILL"), (Platform::AmazonLinux1, "TERM")] {
        for step in (1..).step_by(4) {
            let conditions = [Condition::MissingEcsConfig, Condition::DockerStopped];
            let mut steps = Steps::new(Scene::with(platform, conditions), signal);
            let pristine = steps.scene.contents();
            let (_, reached) = steps.run_until(step, &script(platform, &request(&present())));
            let case = format!("{platform}, {signal} before step {step}");
            if signal == "TERM" {
                no_rubbish(&steps.scene);
            }
            let scene = &steps.scene;
            boot(scene, &present()).well();
            no_rubbish(scene);
            if scene.platform.table().init == Init::Systemd {
                // A system that boots has read its units.
                assert_eq!(scene.run("systemctl daemon-reload").exit, Some(0));
            }
            start_services(scene);
            assert!(in_sync(scene, &present()), "{case}");
            scene.apply(&absent()).changed();
            scene.assert_contents(&pristine, &case);
            if !reached {
                assert!(step > 10, "the steps are seen");
                break;
            }
        }
    }
}

#[test]
fn many_values_are_put_in_as_they_are() {
    let entries: Vec<String> = (0..60).map(|number| format!("host-{number}.example.com")).collect();
    let values = ProxyValues::new(
        "http://[fd00::1]:3128".to_owned(),
        "https://proxy.example.com:443".to_owned(),
        entries.iter().map(String::as_str).chain(["fd00::/8", ".a_b"]),
    );
    for platform in Platform::LINUX {
        let parameters = ApplyParameters { values: Some(values.clone()), ..present() };
        let scene = Scene::plain(platform);
        boot(&scene, &parameters).well();
        scene.assert_all(&values);
    }
}
