//! What the apply documents change on a host, and what they leave alone.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and say what they leave out")]

use std::process::{Command, Stdio};

use proxyfleet::catalog::{Component, Platform, Service};
use proxyfleet::document::ApplyParameters;
use proxyfleet::fleet::{Prior, Truth};
use proxyfleet::policy::DockerRestart;
use proxyfleet::sim::host::{Condition, EcsUnit};

use crate::scene::{PROXY, SHELLS, STATE, Scene, absent, carrier, only, present, proxy, values};

const ALL_KEYS: &str = "HTTP_PROXY HTTPS_PROXY NO_PROXY";

/// A setting that the ECS guide tells to make, what proxyfleet makes of it, and why it differs.
struct GuideLine {
    component: Component,
    guide: &'static str,
    ours: &'static str,
    correction: Option<&'static str>,
}

const fn line(
    component: Component,
    guide: &'static str,
    ours: &'static str,
    correction: Option<&'static str>,
) -> GuideLine {
    GuideLine { component, guide, ours, correction }
}

const SCHEME: Option<&str> = Some("S6: a scheme everywhere");
const NO_TLS: Option<&str> = Some("S2: http to the proxy, whatever the target");
const ADDED: Option<&str> = Some("S3, S16: both variables for everybody");

#[test]
fn amazon_linux_2_gets_the_settings_of_the_ecs_guide_with_named_corrections() {
    holds_the_guide(
        Platform::AmazonLinux2,
        &[
            line(Component::EcsAgent, "HTTP_PROXY=10.0.0.131:3128", "HTTP_PROXY=http://10.0.0.131:3128", SCHEME),
            line(Component::EcsAgent, "", "HTTPS_PROXY=http://10.0.0.131:3128", ADDED),
            line(
                Component::EcsAgent,
                "NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock",
                "NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock",
                None,
            ),
            line(
                Component::EcsInit,
                "Environment=\"HTTP_PROXY=10.0.0.131:3128/\"",
                "Environment=\"HTTP_PROXY=http://10.0.0.131:3128\"",
                SCHEME,
            ),
            line(Component::EcsInit, "", "Environment=\"HTTPS_PROXY=http://10.0.0.131:3128\"", ADDED),
            line(
                Component::EcsInit,
                "Environment=\"NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock\"",
                "Environment=\"NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock\"",
                None,
            ),
            line(
                Component::Docker,
                "Environment=\"HTTP_PROXY=http://10.0.0.131:3128/\"",
                "Environment=\"HTTP_PROXY=http://10.0.0.131:3128\"",
                Some("listing and script of the guide differ by the slash; the listing has none"),
            ),
            line(
                Component::Docker,
                "Environment=\"HTTPS_PROXY=https://10.0.0.131:3128/\"",
                "Environment=\"HTTPS_PROXY=http://10.0.0.131:3128\"",
                NO_TLS,
            ),
            line(
                Component::Docker,
                "Environment=\"NO_PROXY=169.254.169.254,169.254.170.2\"",
                "Environment=\"NO_PROXY=169.254.169.254,169.254.170.2\"",
                None,
            ),
            line(Component::PackageManager, "proxy=http://10.0.0.131:3128", "proxy=http://10.0.0.131:3128", None),
        ],
    );
}

#[test]
fn amazon_linux_1_gets_the_settings_of_the_ecs_guide_with_named_corrections() {
    holds_the_guide(
        Platform::AmazonLinux1,
        &[
            line(Component::EcsAgent, "HTTP_PROXY=10.0.0.131:3128", "HTTP_PROXY=http://10.0.0.131:3128", SCHEME),
            line(Component::EcsAgent, "", "HTTPS_PROXY=http://10.0.0.131:3128", ADDED),
            line(
                Component::EcsAgent,
                "NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock",
                "NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock",
                None,
            ),
            line(Component::EcsInit, "env HTTP_PROXY=10.0.0.131:3128", "env HTTP_PROXY=http://10.0.0.131:3128", SCHEME),
            line(Component::EcsInit, "", "env HTTPS_PROXY=http://10.0.0.131:3128", ADDED),
            line(
                Component::EcsInit,
                "env NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock",
                "env NO_PROXY=169.254.169.254,169.254.170.2,/var/run/docker.sock",
                None,
            ),
            line(
                Component::Docker,
                "export HTTP_PROXY=http://10.0.0.131:3128/",
                "export HTTP_PROXY=http://10.0.0.131:3128",
                Some("listing and script of the guide differ by the slash; the listing has none"),
            ),
            line(
                Component::Docker,
                "export HTTPS_PROXY=https://10.0.0.131:3128/",
                "export HTTPS_PROXY=http://10.0.0.131:3128",
                NO_TLS,
            ),
            line(
                Component::Docker,
                "export NO_PROXY=169.254.169.254,169.254.170.2",
                "export NO_PROXY=169.254.169.254,169.254.170.2",
                None,
            ),
            line(Component::PackageManager, "proxy=http://10.0.0.131:3128", "proxy=http://10.0.0.131:3128", None),
        ],
    );
}

/// Applies what the guide sets to a fresh host and to one that the guide's user data configured.
fn holds_the_guide(platform: Platform, lines: &[GuideLine]) {
    let guide_values = proxyfleet::catalog::ProxyValues::new(PROXY.to_owned(), PROXY.to_owned(), []);
    let parameters = ApplyParameters { values: Some(guide_values.clone()), ..present() };
    let guided = Scene::with(platform, [Condition::GuideConfigured { host_port: "10.0.0.131:3128".to_owned() }]);
    for line in lines.iter().filter(|line| !line.guide.is_empty()) {
        let text = guided.carrier(line.component);
        let held = text.lines().any(|held| held.trim_end_matches('/') == line.guide.trim_end_matches('/'));
        assert!(held || line.component == Component::EcsInit, "the host is as the guide says: {}\n{text}", line.guide);
    }
    for scene in [Scene::plain(platform), guided] {
        let before = scene.carrier(Component::EcsAgent);
        scene.apply(&parameters).changed();
        scene.assert_all(&guide_values);
        for line in lines {
            assert_eq!(line.guide == line.ours, line.correction.is_none(), "{} differs without a reason", line.ours);
            let text = own_part(&scene, line.component);
            assert_eq!(text.lines().filter(|held| *held == line.ours).count(), 1, "{}\n{text}", line.ours);
            let old = text.lines().any(|held| held == line.guide && line.guide != line.ours);
            assert!(!old, "{} is still there\n{text}", line.guide);
        }
        let after = scene.carrier(Component::EcsAgent);
        for kept in before.lines().filter(|line| !line.contains("_PROXY")) {
            assert!(after.lines().any(|line| line == kept), "S1: {kept} must stay");
        }
        assert_eq!(after.contains("ECS_CLUSTER="), before.contains("ECS_CLUSTER="), "S1: the cluster is not ours");
        let main = own_part(&scene, Component::PackageManager);
        assert!(main.starts_with("[main]\n") && main.contains("\nproxy="), "S12: in [main], not at the end\n{main}");
        if platform == Platform::AmazonLinux2 {
            assert!(!scene.text("/etc/sysconfig/docker").contains("PROXY"), "S5: no effect on systemd, so not written");
        }
    }
}

/// The file of a component, without sections that belong to somebody else: the guide's line in a repository's section of
/// yum.conf (S12) is not ours to take away.
fn own_part(scene: &Scene, component: Component) -> String {
    let text = scene.carrier(component);
    match component {
        Component::PackageManager => text.split("\n[").next().unwrap().to_owned(),
        _ => text,
    }
}

/// Whether a shell can be started here; says so where it cannot.
fn installed(shell: &str) -> bool {
    let mut words = shell.split(' ');
    let found = Command::new(words.next().unwrap())
        .args(words)
        .args(["-c", ":"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !found {
        println!("{shell} is not installed: the scripts were not run under it");
    }
    found
}

#[test]
fn the_whole_cycle_is_the_same_under_every_shell_and_a_second_apply_does_nothing() {
    for (shell, platform) in SHELLS.into_iter().flat_map(|shell| Platform::LINUX.map(|platform| (shell, platform))) {
        if !installed(shell) {
            continue;
        }
        let scene = Scene::plain(platform).under(shell);
        let pristine = scene.contents();
        let report = scene.apply(&present()).changed();
        assert_eq!(report.written.len(), 4);
        assert!(
            report.written[..3]
                .iter()
                .all(|(_, keys)| keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(" ") == ALL_KEYS)
        );
        assert_eq!(report.restarted, [Service::Docker, Service::Ecs]);
        scene.assert_all(&values());
        assert_eq!(
            (scene.starts(), scene.host.daemon_reloads()),
            ((1, 1), u32::from(platform != Platform::AmazonLinux1))
        );

        // Inodes and times as well, the record and the backups too.
        let before = scene.host.snapshot().unwrap();
        let report = scene.apply(&present()).unchanged();
        assert!(report.written.is_empty() && report.restarted.is_empty() && report.pending.is_empty());
        let mut after = scene.host.snapshot().unwrap();
        // The lock comes and goes in this folder.
        after.insert(STATE.to_owned(), before[STATE].clone());
        assert!(before == after, "{shell} {platform}: a second apply touched something");
        assert_eq!(
            (scene.starts(), scene.host.daemon_reloads()),
            ((1, 1), u32::from(platform != Platform::AmazonLinux1))
        );

        let report = scene.apply(&absent()).changed();
        assert_eq!((report.removed.len(), report.written.len()), (4, 0));
        scene.assert_contents(&pristine, &format!("{shell} {platform}: removal leaves what was there before"));
        assert!(scene.observe().managed.is_empty());
        assert_eq!(scene.host.process_variable(Service::Docker, "HTTP_PROXY"), None);
        assert_eq!(scene.host.agent_variable("HTTP_PROXY"), None);
        scene.apply(&absent()).unchanged();
        assert_eq!(scene.starts(), (2, 2));
    }
}

#[test]
fn everything_else_in_a_file_stays_as_it_is() {
    let config = "# cluster=of somebody\r\nECS_CLUSTER=a\r\n\r\nHTTP_PROXY=http://old:1\r\nECS_X= odd \"quotes\" $HOME %d\r\nNO_PROXY=a\r\nHTTP_PROXY=http://older:1\r\n# end\r\n";
    let file =
        |path: &str, contents: &str, mode| Condition::File { path: path.to_owned(), contents: contents.into(), mode };
    let conditions = [
        file("/etc/ecs/ecs.config", config, 0o600),
        Condition::SymlinkedPackageConf,
        file("/etc/systemd/system/ecs.service.d/20-other.conf", "[Service]\nLimitNOFILE=9\n", 0o640),
        file("/etc/systemd/system/docker.service.d/http-proxy.conf", "# ours\n[Service]\nLimitNOFILE=8\n", 0o644),
    ];
    let scene = Scene::with(Platform::AmazonLinux2, conditions);
    let before = scene.files();
    scene.apply(&present()).changed();
    scene.assert_all(&values());
    let after = scene.files();

    let text = scene.text("/etc/ecs/ecs.config");
    assert!(
        text.starts_with(
            "# cluster=of somebody\r\nECS_CLUSTER=a\r\n\r\nECS_X= odd \"quotes\" $HOME %d\r\nNO_PROXY=169."
        ),
        "{text:?}"
    );
    assert!(text.contains("\r\nHTTP_PROXY=http://10.0.0.131:3128\r\n# end\r\nHTTPS_PROXY="), "{text:?}");
    assert!(text.split_inclusive('\n').all(|line| line.ends_with("\r\n")), "{text:?}");
    assert_eq!(after["/etc/ecs/ecs.config"].mode, before["/etc/ecs/ecs.config"].mode);

    let link = &after["/etc/yum.conf"];
    assert_eq!(link, &before["/etc/yum.conf"], "a link is not replaced by a file");
    assert!(link.target.is_some() && scene.text("/etc/yum.conf").contains("proxy=http://10.0.0.131:3128"));
    assert!(
        scene
            .text("/etc/systemd/system/docker.service.d/http-proxy.conf")
            .starts_with("# ours\n[Service]\nLimitNOFILE=8\n")
    );

    let touched =
        ["/etc/ecs", "/etc/managed", "/etc/systemd/system/docker.service.d", "/etc/systemd/system/ecs.service.d"];
    for (path, entry) in &before {
        if !touched.iter().any(|folder| path.starts_with(folder)) && path != "/etc" {
            assert_eq!(after.get(path), Some(entry), "{path}");
        }
    }
    assert_eq!(
        after["/etc/systemd/system/ecs.service.d/20-other.conf"],
        before["/etc/systemd/system/ecs.service.d/20-other.conf"]
    );
    assert!(!after.keys().any(|path| path.contains(".proxyfleet.")), "no temporary file stays");
}

#[test]
fn removal_puts_back_what_was_there_byte_for_byte() {
    let guide = || Condition::GuideConfigured { host_port: "10.9.9.9:3128".to_owned() };
    // Every other condition and platform is in apply_document.rs; here the values change in between.
    let cases = [
        (Platform::AmazonLinux1, "guide", vec![guide()]),
        (Platform::AmazonLinux2, "CRLF", vec![guide(), Condition::CrlfEcsConfig]),
        (Platform::AmazonLinux2, "no ecs.config", vec![Condition::MissingEcsConfig]),
        (Platform::AmazonLinux2023, "other values", vec![Condition::Configured(proxy("http://old.example.com:8080"))]),
    ];
    for (platform, name, conditions) in cases {
        let scene = Scene::with(platform, conditions);
        let pristine = scene.contents();
        let docker_before = scene.host.process_variable(Service::Docker, "HTTP_PROXY");
        scene.apply(&present()).changed();
        // Values change twice before they go away: what counts is what was there before the first time.
        let second = ApplyParameters { values: Some(proxy("http://10.0.0.132:3128")), ..present() };
        scene.apply(&second).changed();
        scene.assert_all(&proxy("http://10.0.0.132:3128"));
        scene.apply(&absent()).changed();
        scene.assert_contents(&pristine, &format!("{platform}, {name}"));
        assert_eq!(scene.host.process_variable(Service::Docker, "HTTP_PROXY"), docker_before, "{platform}, {name}");
        assert!(scene.observe().managed.is_empty());
    }
}

#[test]
fn removal_leaves_what_somebody_else_changed_or_wrote() {
    let scene = Scene::with(Platform::AmazonLinux2023, [Condition::Configured(values())]);
    scene.apply(&present()).unchanged();
    assert!(scene.observe().managed.is_empty(), "what was right before us is not ours");
    let config = scene.carrier(Component::EcsAgent);
    scene.apply(&absent()).unchanged();
    assert_eq!(scene.carrier(Component::EcsAgent), config);

    let scene = Scene::plain(Platform::AmazonLinux2023);
    scene.apply(&present()).changed();
    let theirs = "NO_PROXY=theirs.example.com";
    let edit = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        let lines = text.lines().map(|line| if line.starts_with("NO_PROXY=") { theirs } else { line });
        *bytes = (lines.collect::<Vec<_>>().join("\n") + "\n").into_bytes();
    };
    scene.host.outside_edit("/etc/ecs/ecs.config", edit).unwrap();
    let managed = scene.observe().managed;
    assert_eq!(managed.iter().filter(|setting| !setting.intact).count(), 1);
    let report = scene.apply(&absent()).changed();
    assert_eq!(report.details, ["ecs-agent NO_PROXY was changed by somebody else and is left alone"]);
    let config = scene.carrier(Component::EcsAgent);
    assert!(config.contains(theirs) && !config.contains("HTTP_PROXY"), "{config}");
    assert!(scene.observe().managed.is_empty());
}

#[test]
fn removal_of_one_component_leaves_the_others() {
    let scene = Scene::plain(Platform::AmazonLinux2);
    scene.apply(&present()).changed();
    let starts = scene.starts();
    scene.apply(&ApplyParameters { components: vec![Component::PackageManager], ..absent() }).changed();
    assert_eq!(scene.starts(), starts, "nothing reads yum.conf but yum");
    assert!(!scene.carrier(Component::PackageManager).contains("proxy="));
    // The drop-in of ecs-init goes, but the process still gets the same values from ecs.config.
    let report = scene.apply(&ApplyParameters { components: vec![Component::EcsInit], ..absent() }).changed();
    assert_eq!((report.restarted.as_slice(), scene.starts()), ([].as_slice(), starts));
    assert!(!scene.host.at(carrier(scene.platform, Component::EcsInit)).exists());
    let left: Vec<Component> = scene.observe().managed.iter().map(|setting| setting.component).collect();
    assert!(left.iter().all(|component| [Component::EcsAgent, Component::Docker].contains(component)), "{left:?}");
}

#[test]
fn the_least_is_restarted() {
    for platform in Platform::LINUX {
        let scene = Scene::plain(platform);
        scene.apply(&only(&[Component::PackageManager])).changed();
        assert_eq!(scene.starts(), (0, 0));
        let report = scene.apply(&only(&[Component::EcsAgent, Component::EcsInit])).changed();
        assert_eq!((report.restarted.as_slice(), scene.starts()), ([Service::Ecs].as_slice(), (0, 1)), "never docker");
        assert_eq!(scene.host.tasks_killed(), 0);
        scene.apply(&only(&[Component::Docker])).changed();
        assert_eq!(scene.starts(), (1, 2), "a restart of docker takes ecs along, once");
    }
}

#[test]
fn a_process_with_old_values_is_restarted_and_no_file_is_touched() {
    for (platform, service) in Platform::LINUX
        .into_iter()
        .flat_map(|platform| [Service::Docker, Service::Ecs].map(|service| (platform, service)))
    {
        for reloaded in [false, true] {
            let stale = Condition::Stale { service, before: Some(proxy("http://old:1")), reloaded };
            let scene = Scene::with(platform, [Condition::Configured(values()), stale]);
            let before = scene.files();
            let report = scene.apply(&present()).changed();
            assert!(report.written.is_empty() && report.restarted.contains(&service), "{platform} {service}");
            assert_eq!(scene.starts().0, u32::from(service == Service::Docker));
            assert_eq!(scene.files().keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
            for (path, entry) in scene.files() {
                assert_eq!(Some(&entry), before.get(&path), "{platform} {service} {path}");
            }
            scene.assert_all(&values());
        }
    }
}

#[test]
fn a_deferred_restart_of_docker_is_reported_until_somebody_makes_it() {
    for platform in Platform::LINUX {
        let scene = Scene::plain(platform);
        let deferred = ApplyParameters { docker_restart: DockerRestart::Defer, ..present() };
        let report = scene.apply(&deferred).changed();
        assert_eq!((report.restarted, report.pending), (vec![Service::Ecs], vec![Service::Docker]));
        assert_eq!((scene.starts(), scene.host.tasks_killed()), ((0, 1), 0));
        let report = scene.apply(&deferred).unchanged();
        assert_eq!((report.restarted, report.pending), (vec![], vec![Service::Docker]));
        let report = scene.apply(&present()).changed();
        assert!(report.written.is_empty() && report.restarted.contains(&Service::Docker));
        scene.assert_all(&values());
    }
}

#[test]
fn a_service_that_does_not_run_stays_so() {
    for platform in Platform::LINUX {
        let scene = Scene::with(platform, [Condition::EcsStopped]);
        scene.apply(&present()).changed();
        assert_eq!(scene.starts(), (1, 0));
        let scene = Scene::with(platform, [Condition::DockerStopped]);
        let report = scene.apply(&present()).changed();
        assert!(report.restarted.is_empty() && report.pending.is_empty());
        assert_eq!(scene.starts(), (0, 0));
        scene.apply(&present()).unchanged();
    }
}

#[test]
fn ecs_comes_back_whatever_its_unit_says_about_docker() {
    for unit in [EcsUnit::PartOf, EcsUnit::Requires, EcsUnit::WantsOnly] {
        let scene = Scene::with(Platform::AmazonLinux2, [Condition::EcsUnit(unit)]);
        scene.apply(&only(&[Component::Docker])).changed();
        assert!(scene.host.is_active(Service::Ecs), "{unit:?}");
        assert_eq!(scene.starts(), (1, 1), "{unit:?}");
    }
}

#[test]
fn the_record_knows_what_was_there_before() {
    let scene = Scene::with(Platform::AmazonLinux2, [Condition::Configured(proxy("http://old.example.com:8080"))]);
    scene.apply(&only(&[Component::Docker])).changed();
    let observed = scene.observe();
    let prior: Vec<&Prior> = observed.managed.iter().map(|setting| &setting.prior).collect();
    assert!(observed.managed.iter().all(|setting| setting.intact && setting.component == Component::Docker));
    assert_eq!(prior.len(), 2, "the bypass list was right already");
    assert!(
        prior
            .iter()
            .all(|prior| matches!(prior, Prior::Value(seen) if seen.to_string() == "http://old.example.com:8080"))
    );
    assert!(!observed.settings.iter().any(|setting| setting.carrier == Truth::Unknown));
    let mode = scene.host.snapshot().unwrap()[&format!("{STATE}/managed")].mode;
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn five_backups_are_kept() {
    let scene = Scene::plain(Platform::AmazonLinux2);
    for port in 1..=8 {
        let parameters = only(&[Component::PackageManager]);
        scene.apply(&ApplyParameters { values: Some(proxy(&format!("http://p:{port}"))), ..parameters }).changed();
    }
    let folders: Vec<_> = std::fs::read_dir(scene.host.at(&format!("{STATE}/backup"))).unwrap().collect();
    assert_eq!(folders.len(), 5);
}
