//! The simulated hosts behave like the systems they stand for (proxy-by-os 4, 6, 13, 14).

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use proxyfleet::catalog::{Platform, ProxyValues, Service};
use proxyfleet::sim::host::{
    Bin, Condition, DockerVersion, EcsUnit, Fault, FaultWhen, Finished, Host, HostSpec, ProxyAnswer,
};
use tempfile::TempDir;

const DOCKER_DROP_IN: &str = "/etc/systemd/system/docker.service.d/http-proxy.conf";

/// A host and the folder it goes away with.
struct Scene {
    host: Host,
    _folder: TempDir,
}

impl Scene {
    fn new(spec: &HostSpec) -> Self {
        let folder = TempDir::new().unwrap();
        let host = Host::create(&folder.path().join("host"), bin(), spec).unwrap();
        Self { host, _folder: folder }
    }

    fn run(&self, script: &str) -> Finished {
        self.host.run(script.as_bytes(), &[], None, Duration::from_secs(30)).unwrap()
    }

    /// What a script prints; it must succeed and print nothing to the error stream.
    fn output(&self, script: &str) -> String {
        let finished = self.run(script);
        let stderr = String::from_utf8_lossy(&finished.stderr).into_owned();
        assert_eq!((finished.exit, stderr.as_str()), (Some(0), ""), "{script}");
        String::from_utf8(finished.stdout).unwrap()
    }

    /// What a script prints to both streams; it must fail with `code`.
    fn failure(&self, code: i32, script: &str) -> String {
        let finished = self.run(script);
        let text = String::from_utf8([finished.stdout, finished.stderr].concat()).unwrap();
        assert_eq!(finished.exit, Some(code), "{script}: {text}");
        text
    }

    fn property(&self, unit: &str, name: &str) -> String {
        let line = self.output(&format!("systemctl show {unit} --property={name}"));
        line.trim_end().strip_prefix(&format!("{name}=")).unwrap_or_else(|| panic!("{line}")).to_owned()
    }

    fn starts(&self) -> (u32, u32) {
        (self.host.starts(Service::Docker), self.host.starts(Service::Ecs))
    }

    fn docker_http(&self) -> Option<String> {
        self.host.process_variable(Service::Docker, "HTTP_PROXY")
    }
}

/// All tests share one folder of shims, as the hosts of a fleet do.
fn bin() -> &'static Bin {
    static BIN: OnceLock<(Bin, TempDir)> = OnceLock::new();
    let (bin, _) = BIN.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        (Bin::create(folder.path()).unwrap(), folder)
    });
    bin
}

fn proxy(host: &str) -> ProxyValues {
    let url = format!("http://{host}:3128");
    ProxyValues::new(url.clone(), url, [".internal.example.com"])
}

fn spec(platform: Platform) -> HostSpec {
    HostSpec::new(platform)
}

fn configured(platform: Platform) -> HostSpec {
    spec(platform).with(Condition::Configured(proxy("old")))
}

const RESTART_DOCKER: [(Platform, &str); 3] = [
    (Platform::AmazonLinux1, "service docker restart >/dev/null && start ecs >/dev/null"),
    (Platform::AmazonLinux2, "systemctl daemon-reload && systemctl restart docker && systemctl restart ecs"),
    (Platform::AmazonLinux2023, "systemctl daemon-reload && systemctl restart docker && systemctl restart ecs"),
];

/// The environments that the Rust code gives to a fresh host are those that the shims compute from its files.
#[test]
fn a_restart_of_everything_changes_nothing_on_a_fresh_host() {
    for (platform, restart) in RESTART_DOCKER {
        let sysconfig = match platform {
            Platform::AmazonLinux1 => Condition::SysconfigExports(proxy("sysconfig")),
            _ => Condition::SysconfigVariables(proxy("sysconfig")),
        };
        let guide = Condition::GuideConfigured { host_port: "10.0.0.131:3128".to_owned() };
        let foreign = Condition::ForeignDropIn {
            service: Service::Docker,
            file: "zz.conf".to_owned(),
            values: proxy("user:p%40w@foreign"),
        };
        let cases: [Vec<Condition>; 9] = [
            vec![],
            vec![Condition::Configured(proxy("old"))],
            vec![guide],
            vec![foreign, Condition::LowerCaseVariables(proxy("lower"))],
            vec![sysconfig, Condition::Configured(proxy("old"))],
            vec![Condition::DefaultEnvironment(proxy("manager"))],
            vec![Condition::Configured(proxy("old")), Condition::CrlfEcsConfig, Condition::UnendedEcsConfig],
            vec![Condition::MissingEcsConfig],
            vec![Condition::EmptyEcsConfig, Condition::SymlinkedPackageConf, Condition::Configured(proxy("old"))],
        ];
        for (seed, conditions) in (0..).zip(cases) {
            let mut spec = spec(platform);
            spec.seed = seed;
            spec.conditions = conditions;
            let scene = Scene::new(&spec);
            let look = "cd \"$PROXYFLEET_ROOT\"/.sim && for f in loaded/*.* running/*; do
                [ -d $f ] || { echo \"== $f\"; sort $f; }; done; docker info; systemctl show docker ecs 2>&1 | grep -v PID";
            let before = scene.output(look);
            scene.output(restart);
            let after = scene.output(look);
            assert_eq!(before, after, "{:?}", spec.conditions);
            assert_eq!(scene.starts().0, 1);
        }
    }
}

#[test]
fn a_written_drop_in_counts_after_reload_and_restart() {
    for platform in [Platform::AmazonLinux2, Platform::AmazonLinux2023] {
        let scene = Scene::new(&configured(platform));
        assert_eq!(scene.property("docker", "NeedDaemonReload"), "no");
        scene.host.outside_edit(DOCKER_DROP_IN, |bytes| replace(bytes, "old", "new")).unwrap();

        assert!(scene.property("docker", "Environment").contains("HTTP_PROXY=http://old:3128"));
        assert_eq!(scene.property("docker", "NeedDaemonReload"), "yes");
        assert_eq!(scene.property("ecs", "NeedDaemonReload"), "no");

        let restarted = scene.run("systemctl restart docker");
        assert!(String::from_utf8_lossy(&restarted.stderr).contains("daemon-reload"), "a warning");
        assert_eq!(scene.docker_http().as_deref(), Some("http://old:3128"), "not loaded yet");

        scene.output("systemctl daemon-reload");
        assert!(scene.property("docker", "Environment").contains("HTTP_PROXY=http://new:3128"));
        assert_eq!(scene.property("docker", "NeedDaemonReload"), "no");
        assert_eq!(scene.docker_http().as_deref(), Some("http://old:3128"), "loaded, not running");
        assert!(scene.output("docker info").contains(" HTTP Proxy: http://old:3128\n"));

        scene.output("systemctl restart docker");
        assert_eq!(scene.docker_http().as_deref(), Some("http://new:3128"));
        assert!(scene.output("docker info").contains(" HTTP Proxy: http://new:3128\n"));
        assert_eq!(scene.host.daemon_reloads(), 1);
    }
}

#[test]
fn a_removed_or_added_drop_in_needs_a_reload() {
    let scene = Scene::new(&configured(Platform::AmazonLinux2));
    std::fs::remove_file(scene.host.at(DOCKER_DROP_IN)).unwrap();
    assert_eq!(scene.property("docker", "NeedDaemonReload"), "yes");
    scene.output("systemctl daemon-reload");
    assert_eq!(scene.property("docker", "NeedDaemonReload"), "no");
    assert_eq!(scene.property("docker", "Environment"), "");
    assert_eq!(scene.property("docker", "DropInPaths"), "");

    scene.host.write("/etc/systemd/system/docker.service.d/a.conf", b"[Service]\nEnvironment=A=1\n").unwrap();
    assert_eq!(scene.property("docker", "NeedDaemonReload"), "yes");
}

fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    *bytes = String::from_utf8(std::mem::take(bytes)).unwrap().replace(from, to).into_bytes();
}

/// The assignments that systemd 252 prints for a unit with one drop-in of these lines.
#[test]
fn drop_ins_are_read_as_systemd_reads_them() {
    let cases = [
        (r#"Environment="HTTP_PROXY=http://p:1" "B=x y""#, r#"HTTP_PROXY=http://p:1 "B=x y""#),
        ("Environment=A=1 B=2\nEnvironment=A=3", "A=3 B=2"),
        ("Environment=A=1\nEnvironment=\nEnvironment=B=2", "B=2"),
        ("  Environment = 'A=1'  ", "A=1"),
        ("# Environment=A=1\n; Environment=B=1\nEnvironment=C=1", "C=1"),
        ("Environment=A=1 \\\n  B=2", "A=1 B=2"),
        (r#"Environment="P=http://u:a%%40b@p:1""#, "P=http://u:a%40b@p:1"),
        // A percent sign that was not doubled drops its assignment, and no other.
        (r#"Environment="P=http://u:a%40b@p:1" "B=2""#, "B=2"),
        ("Environment=P=%p", "P=docker"),
        ("Environment=no-name=1 9=2 C=3", "C=3"),
        (r#"Environment="A=1"#, ""),
        ("[Unit]\nEnvironment=A=1", ""),
        ("Environment=A=1\r", "A=1"),
        ("Environment=A=*", r#""A=*""#),
    ];
    for (lines, expected) in cases {
        let scene = Scene::new(&spec(Platform::AmazonLinux2023));
        scene.host.write(DOCKER_DROP_IN, format!("[Service]\n{lines}\n").as_bytes()).unwrap();
        scene.output("systemctl daemon-reload");
        assert_eq!(scene.property("docker", "Environment"), expected, "{lines}");
    }
}

#[test]
fn the_drop_in_with_the_later_name_wins_across_folders() {
    let scene = Scene::new(&configured(Platform::AmazonLinux2));
    let early = b"[Service]\nEnvironment=HTTP_PROXY=http://early:1\n";
    scene.host.write("/etc/systemd/system/docker.service.d/10-early.conf", early).unwrap();
    let late = b"[Service]\nEnvironment=HTTP_PROXY=http://late:1\n";
    scene.host.write("/usr/lib/systemd/system/docker.service.d/zz-late.conf", late).unwrap();
    scene.output("systemctl daemon-reload && systemctl restart docker");
    assert_eq!(scene.docker_http().as_deref(), Some("http://late:1"));
    assert_eq!(
        scene.property("docker", "DropInPaths"),
        "/etc/systemd/system/docker.service.d/10-early.conf \
         /etc/systemd/system/docker.service.d/http-proxy.conf \
         /usr/lib/systemd/system/docker.service.d/zz-late.conf"
    );
}

#[test]
fn an_environment_file_wins_over_environment_and_is_read_at_the_start() {
    let scene = Scene::new(&configured(Platform::AmazonLinux2));
    scene.host.outside_edit("/etc/sysconfig/docker", |bytes| bytes.extend_from_slice(ENVIRONMENT_FILE)).unwrap();
    assert_eq!(scene.property("docker", "NeedDaemonReload"), "no");
    assert_eq!(scene.docker_http().as_deref(), Some("http://old:3128"));
    scene.output("systemctl restart docker");
    let variable = |name: &str| scene.host.process_variable(Service::Docker, name);
    assert_eq!(variable("HTTP_PROXY").as_deref(), Some("http://file:1"));
    assert_eq!(variable("HTTPS_PROXY").as_deref(), Some("http://old:3128"), "an export line has no effect");
    assert_eq!(variable("export HTTPS_PROXY"), None);
    assert_eq!(variable("QUOTED").as_deref(), Some("a b"));
    assert_eq!(variable("SINGLE").as_deref(), Some("c\\d"));
    assert_eq!(variable("INNER").as_deref(), Some("x\"y\""));
    assert_eq!(variable("SPACES").as_deref(), Some("v w"));
    assert_eq!(variable("COMMENTED"), None);
    // What the service manager shows is the unit, not the process.
    assert!(scene.property("docker", "Environment").contains("HTTP_PROXY=http://old:3128"));
}

const ENVIRONMENT_FILE: &[u8] = br#"HTTP_PROXY="http://file:1"
export HTTPS_PROXY=http://file:1
QUOTED="a b"
SINGLE='c\d'
INNER=x"y"
  SPACES = v w  
#COMMENTED=1
;COMMENTED=1
"#;

#[test]
fn ecs_reads_its_file_in_two_ways() {
    let scene = Scene::new(&spec(Platform::AmazonLinux2));
    let text = b"ECS_CLUSTER=a\r\nHTTP_PROXY=\"http://quoted:1\"\r\n#NO_PROXY=x\r\nHTTP_PROXY=\"http://last:1\"\r\n";
    scene.host.write("/etc/ecs/ecs.config", text).unwrap();
    assert_eq!(scene.host.agent_variable("HTTP_PROXY"), None, "the container is as it was created");
    scene.output("systemctl restart ecs");
    assert_eq!(scene.host.agent_variable("HTTP_PROXY").as_deref(), Some("\"http://last:1\""), "quotes stay");
    assert_eq!(scene.host.agent_variable("#NO_PROXY").as_deref(), Some("x"), "there are no comments");
    assert_eq!(scene.host.process_variable(Service::Ecs, "HTTP_PROXY").as_deref(), Some("http://last:1"));
    assert_eq!(scene.host.process_variable(Service::Ecs, "#NO_PROXY"), None);
    assert_eq!((scene.starts(), scene.host.tasks_killed()), ((0, 1), 0));

    let env = "docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' ecs-agent";
    assert!(scene.output(env).contains("\nHTTP_PROXY=\"http://last:1\"\n"));
    let json: serde_json::Value = serde_json::from_str(&scene.output("docker inspect ecs-agent")).unwrap();
    let listed = json[0]["Config"]["Env"].as_array().unwrap();
    assert!(listed.contains(&"HTTP_PROXY=\"http://last:1\"".into()), "{listed:?}");
}

#[test]
fn the_process_environment_is_below_proc() {
    let scene = Scene::new(&configured(Platform::AmazonLinux2023));
    let environ =
        "cat \"$PROXYFLEET_ROOT/proc/$(systemctl show ecs -p MainPID | cut -d= -f2)/environ\" | tr '\\0' '\\n'";
    assert!(scene.output(environ).contains("HTTP_PROXY=http://old:3128\n"));
    let before = scene.property("ecs", "MainPID");
    scene.output("systemctl restart ecs");
    assert_ne!(scene.property("ecs", "MainPID"), before);
    assert!(!scene.host.at(&format!("/proc/{before}")).exists(), "the old process is gone");
    assert!(scene.output(environ).contains("HTTP_PROXY=http://old:3128\n"));
    let docker = scene.output("cat \"$PROXYFLEET_ROOT/var/run/docker.pid\"");
    assert_eq!(docker, scene.property("docker", "MainPID"));
}

#[test]
fn restarting_docker_stops_tasks_and_takes_ecs_along_where_the_unit_says_so() {
    let cases = [(EcsUnit::PartOf, true), (EcsUnit::Requires, true), (EcsUnit::WantsOnly, false)];
    for (unit, follows) in cases {
        let scene = Scene::new(&configured(Platform::AmazonLinux2).with(Condition::EcsUnit(unit)));
        scene.output("systemctl restart docker");
        assert!(scene.host.tasks_killed() > 0);
        assert!(scene.host.is_active(Service::Docker));
        assert_eq!(scene.host.is_active(Service::Ecs), follows, "{unit:?}");
        assert_eq!(scene.starts(), (1, u32::from(follows)));
        // A start of docker brings nothing back; a start of ecs does.
        scene.output("systemctl stop docker; systemctl start docker");
        assert!(!scene.host.is_active(Service::Ecs));
        scene.output("systemctl stop docker; systemctl restart ecs");
        assert!(scene.host.is_active(Service::Ecs) && scene.host.is_active(Service::Docker));
    }
    let scene = Scene::new(&configured(Platform::AmazonLinux2).with(Condition::EcsStopped));
    scene.output("systemctl restart docker");
    assert_eq!(scene.starts(), (1, 0), "a stopped ecs stays stopped");
}

#[test]
fn upstart_leaves_ecs_stopped_and_reads_the_override_only_at_a_start() {
    let scene = Scene::new(&configured(Platform::AmazonLinux1));
    let process = |name: &str| scene.host.process_variable(Service::Ecs, name);
    assert!(scene.output("initctl status ecs").starts_with("ecs start/running, process "));
    scene.host.write("/etc/init/ecs.override", b"env HTTP_PROXY=http://new:1\nNO_PROXY=ignored\n").unwrap();
    scene.host.outside_edit("/etc/ecs/ecs.config", |bytes| replace(bytes, "old", "new")).unwrap();
    scene.output("restart ecs");
    assert_eq!(process("HTTP_PROXY").as_deref(), Some("http://old:3128"));
    assert_eq!(scene.host.agent_variable("HTTP_PROXY").as_deref(), Some("http://new:3128"));
    scene.output("stop ecs && start ecs");
    assert_eq!(process("HTTP_PROXY").as_deref(), Some("http://new:1"));
    assert_eq!(process("NO_PROXY"), None, "a line without `env`");

    scene.output("service docker restart");
    assert!(scene.host.is_active(Service::Docker) && scene.host.tasks_killed() > 0);
    assert_eq!(scene.output("status ecs"), "ecs stop/waiting\n");
    assert!(scene.failure(1, "stop ecs").contains("Unknown instance"));
    scene.output("start ecs");
    assert!(scene.failure(1, "start ecs").contains("already running"));
    assert!(scene.output("service docker status").contains("is running"));
}

#[test]
fn sysvinit_sources_its_file() {
    let scene = Scene::new(&spec(Platform::AmazonLinux1));
    let lines = b"H=p\nexport HTTP_PROXY=http://$H:1\nHTTPS_PROXY=http://not-exported:1\n";
    scene.host.write("/etc/sysconfig/docker", lines).unwrap();
    scene.output("service docker restart");
    assert_eq!(scene.docker_http().as_deref(), Some("http://p:1"));
    assert_eq!(scene.host.process_variable(Service::Docker, "HTTPS_PROXY"), None);
    scene.host.write("/etc/sysconfig/docker", b"export X=\"open\n").unwrap();
    assert!(scene.failure(1, "service docker restart").contains("FAILED"));
    assert_eq!(scene.failure(3, "service docker status"), "docker is stopped\n");
}

#[test]
fn a_platform_has_no_programs_of_the_other_init_system() {
    let old = Scene::new(&spec(Platform::AmazonLinux1));
    assert_eq!(old.failure(127, "systemctl daemon-reload"), "systemctl: command not found\n");
    let new = Scene::new(&spec(Platform::AmazonLinux2));
    assert_eq!(new.failure(127, "initctl status ecs"), "initctl: command not found\n");
    assert_eq!(new.failure(127, "start ecs"), "start: command not found\n");
}

#[test]
fn docker_info_masks_credentials_and_omits_what_is_unset() {
    let scene = Scene::new(&spec(Platform::AmazonLinux2));
    let info = scene.output("docker info");
    assert!(!info.contains("Proxy"), "{info}");
    let mut values = proxy("user:se%40cret@p");
    values.https = "user:secret@p:3128".to_owned();
    let scene = Scene::new(&spec(Platform::AmazonLinux2).with(Condition::Configured(values)));
    let info = scene.output("docker info");
    assert!(info.contains("\n HTTP Proxy: http://xxxxx:xxxxx@p:3128\n"), "{info}");
    // Docker masks what it can parse as a URL, and this is none.
    assert!(info.contains("\n HTTPS Proxy: user:secret@p:3128\n"), "{info}");
    assert!(info.contains("\n No Proxy: 169.254.169.254,169.254.170.2,.internal.example.com\n"), "{info}");
}

#[test]
fn docker_reads_lower_case_only_where_upper_case_is_missing() {
    let lower = Condition::LowerCaseVariables(proxy("lower"));
    let scene = Scene::new(&spec(Platform::AmazonLinux2).with(lower.clone()));
    assert!(scene.output("docker info").contains(" HTTP Proxy: http://lower:3128\n"));
    let scene = Scene::new(&configured(Platform::AmazonLinux2).with(lower));
    assert!(scene.output("docker info").contains(" HTTP Proxy: http://old:3128\n"));
}

#[test]
fn daemon_json_wins_since_engine_23_and_stops_older_ones() {
    let json = Condition::DaemonJsonProxies(proxy("json"));
    let scene = Scene::new(&configured(Platform::AmazonLinux2).with(json.clone()));
    assert!(scene.output("docker info").contains(" HTTP Proxy: http://json:3128\n"));
    assert_eq!(scene.docker_http().as_deref(), Some("http://old:3128"), "the environment shows nothing of it");
    scene.host.write("/etc/docker/daemon.json", b"{ \"debug\": false, }").unwrap();
    assert!(scene.failure(1, "systemctl restart docker").contains("Job for docker.service failed"));
    assert_eq!(scene.property("docker", "ActiveState"), "failed");
    scene.host.write("/etc/docker/daemon.json", b"{\"a\": [1, {\"proxies\": 1}],\n \"live\": true}\n").unwrap();
    scene.output("systemctl restart docker");
    assert!(scene.output("docker info").contains(" HTTP Proxy: http://old:3128\n"));

    let mut old = spec(Platform::AmazonLinux2).with(json);
    old.docker = DockerVersion::Engine20;
    let scene = Scene::new(&old);
    assert!(!scene.host.is_active(Service::Docker));
    assert!(scene.failure(1, "systemctl start docker").contains("failed"));
}

#[test]
fn nothing_of_docker_answers_when_it_does_not_run() {
    let scene = Scene::new(&configured(Platform::AmazonLinux2).with(Condition::DockerStopped));
    for command in ["docker info", "docker inspect ecs-agent", "docker version --format '{{.Server.Version}}'"] {
        let text = scene.failure(1, command);
        assert!(text.contains("Cannot connect to the Docker daemon"), "{text}");
        assert!(!text.contains("Proxy"), "{text}");
    }
    assert_eq!(scene.failure(3, "systemctl is-active docker"), "inactive\n");
    assert_eq!(scene.property("docker", "MainPID"), "0");
}

#[test]
fn a_start_fails_while_the_fault_is_there() {
    let fault = |containing: Option<&str>, when| Fault { when, containing: containing.map(str::to_owned) };
    let scene = Scene::new(&configured(Platform::AmazonLinux2));
    scene.host.set_fault(Service::Docker, Some(&fault(None, FaultWhen::Start))).unwrap();
    scene.failure(1, "systemctl restart docker");
    assert_eq!(scene.property("docker", "ActiveState"), "failed");
    assert_eq!(scene.property("ecs", "ActiveState"), "failed", "ecs cannot start without docker");
    scene.host.set_fault(Service::Docker, None).unwrap();
    scene.output("systemctl reset-failed docker ecs && systemctl start docker ecs");
    assert!(scene.host.is_active(Service::Ecs) && scene.host.is_active(Service::Docker));
    assert_eq!(scene.starts(), (2, 1));

    // The old configuration still works, so a rollback succeeds.
    scene.host.set_fault(Service::Ecs, Some(&fault(Some("http://new:"), FaultWhen::Start))).unwrap();
    scene.output("systemctl restart ecs");
    scene.host.outside_edit("/etc/ecs/ecs.config", |bytes| replace(bytes, "old", "new")).unwrap();
    scene.failure(1, "systemctl restart ecs");
    assert_eq!(scene.host.agent_variable("HTTP_PROXY").as_deref(), Some("http://old:3128"));
    scene.host.outside_edit("/etc/ecs/ecs.config", |bytes| replace(bytes, "new", "old")).unwrap();
    scene.output("systemctl restart ecs");

    scene.host.set_fault(Service::Ecs, Some(&fault(None, FaultWhen::Late))).unwrap();
    scene.output("systemctl restart ecs");
    assert_eq!(scene.failure(3, "systemctl is-active ecs"), "failed\n");

    let upstart = Scene::new(&configured(Platform::AmazonLinux1));
    upstart.host.set_fault(Service::Ecs, Some(&fault(None, FaultWhen::Start))).unwrap();
    assert!(upstart.failure(1, "stop ecs; start ecs").contains("start: Job failed to start"));
    upstart.host.set_fault(Service::Ecs, Some(&fault(None, FaultWhen::Late))).unwrap();
    assert!(upstart.output("start ecs").contains("start/running"));
    assert_eq!(upstart.output("status ecs"), "ecs stop/waiting\n");
}

#[test]
fn a_stale_service_has_what_it_started_with() {
    for (reloaded, loaded) in [(false, "HTTP_PROXY=http://before:3128"), (true, "HTTP_PROXY=http://old:3128")] {
        let stale = Condition::Stale { service: Service::Docker, before: Some(proxy("before")), reloaded };
        let scene = Scene::new(&configured(Platform::AmazonLinux2).with(stale));
        assert!(scene.property("docker", "Environment").contains(loaded));
        assert_eq!(scene.property("docker", "NeedDaemonReload"), if reloaded { "no" } else { "yes" });
        assert_eq!(scene.docker_http().as_deref(), Some("http://before:3128"));
        assert_eq!(scene.host.agent_variable("HTTP_PROXY").as_deref(), Some("http://old:3128"));
        assert!(String::from_utf8(scene.host.read(DOCKER_DROP_IN).unwrap()).unwrap().contains("http://old:"));
    }
    let stale = Condition::Stale { service: Service::Ecs, before: None, reloaded: false };
    let scene = Scene::new(&configured(Platform::AmazonLinux1).with(stale));
    assert_eq!(scene.host.agent_variable("HTTP_PROXY"), None);
    assert_eq!(scene.host.process_variable(Service::Ecs, "HTTP_PROXY"), None);
    assert_eq!(scene.docker_http().as_deref(), Some("http://old:3128"));
}

#[test]
fn unknown_units_and_questions_are_answered_as_systemd_does() {
    let scene = Scene::new(&spec(Platform::AmazonLinux2).with(Condition::NoEcs));
    assert_eq!(
        scene.output("systemctl show ecs --property=ActiveState,LoadState -p MainPID,Nonsense"),
        "MainPID=0\nLoadState=not-found\nActiveState=inactive\n"
    );
    assert_eq!(scene.failure(3, "systemctl is-active ecs"), "unknown\n");
    assert!(scene.failure(5, "systemctl restart ecs").contains("Unit not found"));
    assert!(scene.failure(1, "systemctl is-enabled ecs").contains("No such file"));
    assert!(scene.failure(1, "systemctl show docker -p MainPID --value").contains("unrecognized option"));
    assert_eq!(
        scene.output("systemctl show docker -p EnvironmentFiles | head -n 1"),
        "EnvironmentFile=/etc/sysconfig/docker (ignore_errors=yes)\n"
    );
    assert!(scene.failure(1, "docker inspect ecs-agent").contains("No such object"));
    let new = Scene::new(&spec(Platform::AmazonLinux2023));
    assert_eq!(new.output("systemctl show docker -p ActiveState --value"), "active\n");
    assert_eq!(new.output("systemctl show ecs -p PartOf,Wants"), "Wants=docker.service\nPartOf=docker.service\n");
    assert!(new.output("systemctl show docker -p EnvironmentFiles").starts_with("EnvironmentFiles=/etc/sysconfig/"));
}

#[test]
fn curl_answers_for_proxies_and_the_agent() {
    let named = |host_port: &str, answer| Condition::Proxy { host_port: host_port.to_owned(), answer };
    let spec = spec(Platform::AmazonLinux2)
        .with(named("refusing:3128", ProxyAnswer::Status(403)))
        .with(named("gone:3128", ProxyAnswer::Unreachable));
    let scene = Scene::new(&spec);
    let preflight = |proxy: &str| {
        let script = format!(
            "curl -sS -o /dev/null -m 10 -w '%{{http_connect}} %{{http_code}}\\n' --proxy {proxy} \
             https://ecs.eu-central-1.amazonaws.com/"
        );
        let finished = scene.run(&script);
        (finished.exit.unwrap(), String::from_utf8(finished.stdout).unwrap())
    };
    assert_eq!(preflight("http://10.0.0.131:3128"), (0, "200 200\n".to_owned()));
    assert_eq!(preflight("http://refusing:3128"), (56, "403 000\n".to_owned()));
    assert_eq!(preflight("http://user:x@gone:3128/"), (7, "000 000\n".to_owned()));
    scene.host.set_proxy("gone:3128", ProxyAnswer::Status(200)).unwrap();
    scene.host.set_proxy("*", ProxyAnswer::Unreachable).unwrap();
    assert_eq!(preflight("http://gone:3128").0, 0);
    assert_eq!(preflight("http://refusing:3128").0, 56);
    assert_eq!(preflight("http://10.0.0.131:3128").0, 7);

    let metadata = "curl --noproxy '*' -s http://localhost:51678/v1/metadata";
    let json: serde_json::Value = serde_json::from_str(&scene.output(metadata)).unwrap();
    assert!(json["ContainerInstanceArn"].is_string());
    scene.output("systemctl stop ecs");
    scene.failure(7, metadata);
    assert!(scene.failure(2, "curl --upload-file x http://localhost:51678/").contains("does not know"));
    assert!(scene.failure(2, "curl -s https://example.com/").contains("without --proxy"));
}

#[test]
fn a_script_runs_as_with_the_agent() {
    let mut spec = spec(Platform::AmazonLinux2);
    spec.instance_id = "mi-0123456789abcdef0".to_owned();
    let scene = Scene::new(&spec);
    let script =
        b"#!/bin/bash\necho \"$BASH_VERSION\" | cut -c1; env | sort | cut -d= -f1 | tr '\\n' ' '; echo; pwd; exit 7\n";
    let given = [("SSM_COMMAND_ID", "abc"), ("SSM_HttpProxy", "x")];
    let finished = scene.host.run(script, &given, None, Duration::from_secs(10)).unwrap();
    let stdout = String::from_utf8(finished.stdout).unwrap();
    let lines: Vec<&str> = stdout.lines().collect();
    assert!(!lines[0].is_empty(), "the first line of the script chooses its shell");
    let names = "AWS_SSM_INSTANCE_ID AWS_SSM_REGION_NAME PATH PROXYFLEET_ROOT PWD SHLVL SSM_COMMAND_ID SSM_HttpProxy _";
    assert_eq!(lines[1].trim_end(), names);
    assert!(lines[2].ends_with("/var/lib/amazon/ssm/mi-0123456789abcdef0/document/orchestration/abc/0"), "{stdout}");
    assert_eq!((finished.exit, finished.timed_out), (Some(7), false));
    let mode = "ls -l _script.sh | cut -c1-10";
    assert_eq!(scene.output(mode), "-rwx------\n");
}

#[test]
fn a_timeout_kills_the_whole_group() {
    let scene = Scene::new(&spec(Platform::AmazonLinux2));
    let cases = [
        "echo begun; sleep 60 & sleep 60",
        // A background child that keeps the output open holds the step.
        "echo begun; sleep 60 & exit 0",
        // One that does not is left alone, and the script itself still counts.
        "echo begun; exec >/dev/null 2>&1; sleep 60",
    ];
    for script in cases {
        let begun = Instant::now();
        let finished = scene.host.run(script.as_bytes(), &[], None, Duration::from_millis(300)).unwrap();
        assert!(finished.timed_out, "{script}");
        assert_eq!(finished.stdout, b"begun\n");
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    let freed = scene.run("sleep 60 >/dev/null 2>&1 </dev/null & echo $!");
    assert!(!freed.timed_out);
    scene.output(&format!("kill {}", String::from_utf8(freed.stdout).unwrap().trim()));
}

#[test]
fn a_snapshot_shows_what_changed_and_nothing_of_the_simulation() {
    let scene = Scene::new(&configured(Platform::AmazonLinux2023).with(Condition::SymlinkedPackageConf));
    let before = scene.host.snapshot().unwrap();
    assert!(before.keys().all(|path| !path.starts_with("/.sim")));
    assert_eq!(before["/etc/dnf/dnf.conf"].target.as_deref(), Some(Path::new("managed/dnf.conf")));
    scene.output(
        "docker info; systemctl show docker; systemctl is-active ecs; cat \"$PROXYFLEET_ROOT/etc/dnf/dnf.conf\"",
    );
    assert_eq!(scene.host.snapshot().unwrap(), before, "questions change nothing");
    scene.output("touch \"$PROXYFLEET_ROOT/etc/ecs/ecs.config\"");
    assert_ne!(scene.host.snapshot().unwrap(), before);
}

#[test]
fn the_guide_leaves_its_defects() {
    let guide = Condition::GuideConfigured { host_port: "10.0.0.131:3128".to_owned() };
    for platform in Platform::LINUX {
        let scene = Scene::new(&spec(platform).with(guide.clone()));
        let text = |path: &str| String::from_utf8(scene.host.read(path).unwrap()).unwrap();
        assert!(text("/etc/ecs/ecs.config").contains("\nHTTP_PROXY=10.0.0.131:3128\n"));
        assert!(text("/etc/yum.conf").ends_with("proxy=http://10.0.0.131:3128\n"), "in the last section");
        assert!(scene.output("docker info").contains(" HTTPS Proxy: https://10.0.0.131:3128/\n"));
        assert_eq!(scene.host.process_variable(Service::Ecs, "HTTPS_PROXY"), None);
    }
}

/// The shims work under whichever sh a machine has, and with any awk.
#[test]
fn the_shims_do_not_depend_on_one_shell_or_awk() {
    let outputs: Vec<String> = ["dash", "bash", "busybox sh"]
        .into_iter()
        .map(|shell| {
            let scene = Scene::new(&configured(Platform::AmazonLinux2023));
            let script = format!(
                "d=$(dirname \"$(command -v systemctl)\") && {shell} $d/systemctl daemon-reload &&
                 {shell} $d/systemctl restart docker && {shell} $d/systemctl restart ecs &&
                 {shell} $d/systemctl show docker ecs && {shell} $d/docker info && {shell} $d/docker inspect ecs-agent &&
                 {shell} $d/curl -s -w '%{{http_code}}\\n' http://localhost:51678/v1/metadata"
            );
            scene.output(&script)
        })
        .collect();
    assert!(outputs[0].contains("HTTP Proxy: http://old:3128"));
    for output in &outputs[1..] {
        assert_eq!(output, &outputs[0]);
    }
}
