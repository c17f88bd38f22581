//! Applies that end early: refused, interrupted, killed, or failing on the way back.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use proxyfleet::catalog::{Component, Platform, ProxyValues, Service};
use proxyfleet::document::ApplyParameters;
use proxyfleet::fleet::{ApplyResult, parse_apply};
use proxyfleet::sim::host::{Condition, Fault, FaultWhen, ProxyAnswer};
use tempfile::TempDir;

use crate::scene::{PROXY, STATE, Scene, absent, apply_script, only, present, proxy, values};

/// Stands before the programs by which an apply changes anything, and sends a signal before the call with the number in
/// `STEP_AT`: to the whole group, as the agent does, or to the script alone.
const STEP: &str = r#"#!/bin/sh
read -r number <"$STEP_FOLDER/number"
number=$((number + 1))
printf '%s\n' "$number" >"$STEP_FOLDER/number"
if [ "$number" = "$STEP_AT" ]; then
    case $STEP_SIGNAL in
        KILL) kill -KILL 0 ;;
        *)
            for holder in "$PROXYFLEET_ROOT"/var/lib/proxyfleet/lock/*; do
                holder=${holder##*/}
                kill "-$STEP_SIGNAL" "${holder%%.*}"
            done
            ;;
    esac
fi
name=${0##*/}
for folder in /usr/local/bin /usr/bin /bin; do
    [ ! -x "$folder/$name" ] || exec "$folder/$name" "$@"
done
exit 127
"#;

/// A host on which a script gets a signal at a chosen step.
pub(crate) struct Steps {
    pub(crate) scene: Scene,
    folder: TempDir,
}

impl Steps {
    pub(crate) fn new(scene: Scene, signal: &str) -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["mv", "cp", "rm", "mkdir", "rmdir", "timeout", "cat"] {
            let path = folder.path().join(name);
            std::fs::write(&path, STEP).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        let mut steps = Self { scene, folder };
        let path = steps.folder.path().to_str().unwrap().to_owned();
        steps.scene.set("PATH", &path);
        steps.scene.set("STEP_FOLDER", &path);
        steps.scene.set("STEP_SIGNAL", signal);
        steps.scene.set("STEP_AT", "0");
        std::fs::write(steps.folder.path().join("number"), "0\n").unwrap();
        // A killed script is an orphan: until the first process of this machine has noticed, it looks as if it lived.
        steps.scene.set("PROXYFLEET_WAIT", "30");
        steps
    }

    /// Runs an apply that gets the signal at `step`; its output, and whether the step was reached.
    pub(crate) fn apply_until(&mut self, step: u32, parameters: &ApplyParameters) -> (String, bool) {
        self.run_until(step, &apply_script(self.scene.platform, parameters))
    }

    /// The same for any script that takes the lock.
    pub(crate) fn run_until(&mut self, step: u32, script: &str) -> (String, bool) {
        self.scene.set("STEP_AT", &step.to_string());
        std::fs::write(self.folder.path().join("number"), "0\n").unwrap();
        let finished = self.scene.run(script);
        let number = std::fs::read_to_string(self.folder.path().join("number")).unwrap();
        self.scene.set("STEP_AT", "0");
        (String::from_utf8(finished.stdout).unwrap(), number.trim().parse::<u32>().unwrap() >= step)
    }
}

fn old() -> Condition {
    Condition::Configured(proxy("http://old.example.com:8080"))
}

#[track_caller]
pub(crate) fn no_rubbish(scene: &Scene) {
    let rubbish: Vec<String> = scene
        .host
        .snapshot()
        .unwrap()
        .into_keys()
        .filter(|path| path.contains(".proxyfleet.") || path.contains(".new."))
        .collect();
    assert!(rubbish.is_empty(), "{rubbish:?}");
    assert!(!scene.host.at(&format!("{STATE}/lock")).exists());
}

#[test]
fn whatever_moment_an_apply_is_killed_at_the_next_one_finishes_its_work() {
    for (platform, every) in [(Platform::AmazonLinux2, 2), (Platform::AmazonLinux1, 9)] {
        for step in (1..).step_by(every) {
            let mut steps = Steps::new(Scene::with(platform, [Condition::MissingEcsConfig]), "KILL");
            let pristine = steps.scene.contents();
            let (_, reached) = steps.apply_until(step, &present());
            let case = format!("{platform}, killed before step {step}");
            let report = steps.scene.apply(&present());
            let fine = matches!(report.report.result, ApplyResult::Changed | ApplyResult::Unchanged);
            assert!(fine, "{case}: {}", report.text);
            steps.scene.assert_all(&values());
            for service in [Service::Docker, Service::Ecs] {
                assert!(steps.scene.host.is_active(service), "{case}: {service} runs");
            }
            no_rubbish(&steps.scene);
            // The record was never lost, so everything can still be taken away again.
            steps.scene.apply(&absent()).changed();
            steps.scene.assert_contents(&pristine, &case);
            if !reached {
                assert!(step > 15, "the steps of an apply are seen");
                break;
            }
        }
    }
}

#[test]
fn whatever_moment_a_removal_is_killed_at_the_next_one_finishes_its_work() {
    for step in (1..).step_by(5) {
        let mut steps = Steps::new(Scene::plain(Platform::AmazonLinux2), "KILL");
        let pristine = steps.scene.contents();
        steps.scene.apply(&present()).changed();
        let (_, reached) = steps.apply_until(step, &absent());
        let case = format!("killed before step {step}");
        let again = steps.scene.apply(&absent());
        let fine = matches!(again.report.result, ApplyResult::Changed | ApplyResult::Unchanged);
        assert!(fine && again.report.details.is_empty(), "{case}: {}", again.text);
        steps.scene.assert_contents(&pristine, &case);
        assert!(steps.scene.observe().managed.is_empty());
        assert_eq!(steps.scene.host.process_variable(Service::Docker, "HTTP_PROXY"), None, "{case}");
        assert_eq!(steps.scene.host.agent_variable("HTTP_PROXY"), None, "{case}");
        assert!([Service::Docker, Service::Ecs].iter().all(|service| steps.scene.host.is_active(*service)), "{case}");
        no_rubbish(&steps.scene);
        if !reached {
            break;
        }
    }
}

#[test]
fn a_signal_takes_everything_back_or_comes_too_late() {
    for step in (1..).step_by(3) {
        let mut steps = Steps::new(Scene::with(Platform::AmazonLinux2023, [old()]), "TERM");
        let before = steps.scene.contents();
        let (text, reached) = steps.apply_until(step, &present());
        let report = parse_apply(&text).unwrap_or_else(|error| panic!("step {step}: {error}\n{text}"));
        no_rubbish(&steps.scene);
        match report.result {
            ApplyResult::Changed => steps.scene.assert_all(&values()),
            ApplyResult::Refused(reason) | ApplyResult::RolledBack(reason) => {
                assert_eq!(reason, "interrupted", "step {step}: {text}");
                steps.scene.assert_contents(&before, &format!("step {step}: {text}"));
                steps.scene.assert_all(&proxy("http://old.example.com:8080"));
                assert!(steps.scene.observe().managed.is_empty());
            }
            _ => panic!("step {step}: {text}"),
        }
        if !reached {
            break;
        }
    }
}

#[test]
fn a_service_that_does_not_take_the_new_setting_gets_the_old_one_back() {
    for (platform, service) in [Platform::AmazonLinux1, Platform::AmazonLinux2023]
        .into_iter()
        .flat_map(|platform| [Service::Docker, Service::Ecs].map(|service| (platform, service)))
    {
        for (when, reason) in
            [(FaultWhen::Start, format!("restart-{service}")), (FaultWhen::Late, "service-not-up".to_owned())]
        {
            let fault = Fault { when, containing: Some("10.0.0.131".to_owned()) };
            let scene = Scene::with(platform, [old(), Condition::Failing(service, fault)]);
            let before = scene.contents();
            let report = scene.apply(&present()).rolled_back(&reason);
            assert!(
                report.written.is_empty() && report.details.iter().any(|text| text.contains(service.name())),
                "{report:?}"
            );
            scene.assert_contents(&before, &format!("{platform} {service} {when:?}"));
            scene.assert_all(&proxy("http://old.example.com:8080"));
            let observed = scene.observe();
            assert!(observed.managed.is_empty(), "what was taken back is not in the record");
            no_rubbish(&scene);
        }
    }
}

#[test]
fn a_way_back_that_fails_as_well_is_told() {
    for service in [Service::Docker, Service::Ecs] {
        let fault = Fault { when: FaultWhen::Start, containing: None };
        let scene = Scene::with(Platform::AmazonLinux2, [old(), Condition::Failing(service, fault)]);
        let before = scene.contents();
        let report = scene.apply(&present()).expect(&ApplyResult::Failed(format!("rollback-{service}")));
        assert!(report.details.contains(&format!("after restart-{service}")), "{report:?}");
        scene.assert_contents(&before, "the files are as they were all the same");
        scene.host.set_fault(service, None).unwrap();
    }
}

#[test]
fn nothing_is_written_before_the_proxy_has_answered() {
    let other = "http://10.0.0.132:3128";
    let two = ProxyValues::new(other.to_owned(), PROXY.to_owned(), []);
    let both = ApplyParameters { values: Some(two), ..present() };
    let endpoint = ProxyValues::new(PROXY.to_owned(), PROXY.to_owned(), [".eu-central-1.amazonaws.com"]);
    let bypassed = ApplyParameters { values: Some(endpoint), ..present() };
    let skipped = ApplyParameters { preflight: proxyfleet::policy::Preflight::Skip, ..present() };
    let refused = ProxyAnswer::Status(407);
    let cases = [
        (ProxyAnswer::Unreachable, "10.0.0.131:3128", present(), Some("preflight-unreachable")),
        (refused, "10.0.0.131:3128", present(), Some("preflight-refused")),
        (refused, "10.0.0.132:3128", both, Some("preflight-refused")),
        // It need not serve what does not go through it, but it must be there.
        (refused, "10.0.0.131:3128", bypassed.clone(), None),
        (ProxyAnswer::Unreachable, "10.0.0.131:3128", bypassed, Some("preflight-unreachable")),
        (ProxyAnswer::Unreachable, "10.0.0.131:3128", skipped, None),
        (ProxyAnswer::Unreachable, "10.0.0.131:3128", absent(), None),
    ];
    for (answer, host_port, parameters, reason) in cases {
        let scene = Scene::with(Platform::AmazonLinux1, [Condition::Proxy { host_port: host_port.to_owned(), answer }]);
        let before = scene.files();
        let applied = scene.apply(&parameters);
        let Some(reason) = reason else {
            assert!(matches!(applied.report.result, ApplyResult::Changed | ApplyResult::Unchanged), "{}", applied.text);
            continue;
        };
        let report = applied.refused(reason);
        assert!(report.details[0].contains(host_port), "{report:?}");
        assert!(answer != refused || report.details[0].contains("407"), "{report:?}");
        assert!(scene.files() == before && scene.starts() == (0, 0), "{reason}");
    }
}

#[test]
fn a_host_without_a_region_or_with_wrong_parameters_is_left_alone() {
    let mut scene = Scene::plain(Platform::AmazonLinux2);
    let before = scene.files();
    scene.set("AWS_SSM_REGION_NAME", "$(id)");
    scene.apply(&present()).refused("preflight-no-region");
    scene.set("AWS_SSM_REGION_NAME", "cn-north-1");
    // What only the service checks, and an agent on its own does not.
    let good = apply_script(scene.platform, &present());
    for (from, to) in [
        ("WANT_STATE='present'", "WANT_STATE='purge'"),
        ("WANT_HTTP='http://10.0.0.131:3128'", "WANT_HTTP=''"),
        ("WANT_COMPONENTS='ecs-agent,", "WANT_COMPONENTS='ssm-agent,"),
        ("DOCKER_RESTART='allow'", "DOCKER_RESTART='maybe'"),
        ("PREFLIGHT='require'", "PREFLIGHT=''"),
    ] {
        assert!(good.contains(from), "{from}");
        let finished = scene.run(&good.replace(from, to));
        let report = parse_apply(&String::from_utf8(finished.stdout).unwrap()).unwrap();
        assert_eq!(report.result, ApplyResult::Refused("bad-parameters".to_owned()), "{to}");
    }
    assert!(scene.files() == before);
    scene.apply(&present()).changed();
}

#[test]
fn another_system_is_never_touched() {
    for (platform, other) in
        Platform::LINUX.into_iter().flat_map(|platform| Platform::LINUX.map(|other| (platform, other)))
    {
        let scene = if platform == other {
            Scene::with(platform, [Condition::UnsupportedSystem])
        } else {
            Scene::plain(platform)
        };
        let before = scene.host.snapshot().unwrap();
        scene.apply_as(other, &present()).refused("wrong-platform");
        assert!(scene.host.snapshot().unwrap() == before, "not even our own folder is made");
    }
}

/// The name under which the process `id` would hold the lock on a simulated host, which has no /proc/PID/stat.
pub(crate) fn holder(scene: &Scene, id: u32) -> String {
    format!("{id}..{}", scene.text("/proc/sys/kernel/random/boot_id").trim())
}

pub(crate) fn lock(scene: &Scene, holder: Option<&str>) {
    let folder = scene.host.at(&format!("{STATE}/lock"));
    std::fs::create_dir_all(&folder).unwrap();
    if let Some(holder) = holder {
        std::fs::write(Path::new(&folder).join(holder), "").unwrap();
    }
}

#[test]
fn one_apply_at_a_time() {
    let mut living = Command::new("sleep").arg("60").stdout(Stdio::null()).spawn().unwrap();
    let scene = Scene::plain(Platform::AmazonLinux2);
    let before = scene.files();
    lock(&scene, Some(&holder(&scene, living.id())));
    scene.apply(&present()).refused("busy");
    assert!(scene.files() == before, "the lock of somebody else holds");
    living.kill().unwrap();
    living.wait().unwrap();
    scene.apply(&present()).changed();
    no_rubbish(&scene);

    // Of another boot, although a process with that id lives; and one that died between two commands.
    for holder in [Some(format!("{}..another-boot", std::process::id())), None] {
        lock(&scene, holder.as_deref());
        scene.apply(&only(&[Component::Docker])).unchanged();
        no_rubbish(&scene);
    }
}
