//! User data for Windows, executed on real Windows hosts under winhost: it leaves what an apply leaves, whenever and how often
//! it runs, and more than the ECS guide's own.
//!
//! Several cases share a host where one does not get in the way of the next: making one takes two seconds.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use proxyfleet::catalog::{Component, Platform, ProxyValues, Service};
use proxyfleet::document::{ApplyParameters, ClusterName, UserDataForm, UserDataRequest, user_data};
use proxyfleet::fleet::ServiceState;
use proxyfleet::plan::assess;
use proxyfleet::policy::DockerRestart;
use proxyfleet::sim::windows::ServerVersion;

use crate::scene::{Booted, terms};
use crate::windows_apply::{DAEMON_JSON, PROXY, STATE, Scene, absent, only, present, proxy, values};
use crate::winhost::windows_hosts;

/// The ECS guide's own user data (proxy-by-os 2.3), with a proxy and a cluster filled in.
const GUIDE: &str = r#"
Import-Module ECSTools

$proxy = "http://10.0.0.131:3128"
[Environment]::SetEnvironmentVariable("HTTP_PROXY", $proxy, "Machine")
[Environment]::SetEnvironmentVariable("NO_PROXY", "169.254.169.254,169.254.170.2,\\.\pipe\docker_engine", "Machine")

Restart-Service Docker
Initialize-ECSAgent -Cluster MyCluster -EnableTaskIAMRole
"#;

fn request(parameters: &ApplyParameters) -> UserDataRequest {
    UserDataRequest {
        values: parameters.values.clone().unwrap(),
        components: parameters.components.clone(),
        docker_restart: parameters.docker_restart,
        policy: parameters.policy.clone(),
        cluster: None,
    }
}

fn joining(parameters: &ApplyParameters, cluster: &str) -> UserDataRequest {
    UserDataRequest { cluster: ClusterName::parse(cluster), ..request(parameters) }
}

fn deferred(parameters: ApplyParameters) -> ApplyParameters {
    ApplyParameters { docker_restart: DockerRestart::Defer, ..parameters }
}

/// What runs on the instance: what stands between the tags.
fn script(request: &UserDataRequest) -> String {
    let text = user_data(Platform::Windows, request, UserDataForm::Whole).unwrap();
    let inside = text.strip_prefix("<powershell>\n").unwrap();
    inside.strip_suffix("</powershell>\n<persist>true</persist>\n").unwrap().to_owned()
}

/// The script that is packed in it, with its own names.
fn readable(request: &UserDataRequest) -> String {
    user_data(Platform::Windows, request, UserDataForm::Script).unwrap()
}

fn run(scene: &Scene, script: &str) -> Booted {
    // Only with a route waits are short; nothing is asked over a network.
    let environment = [("PROXYFLEET_ROUTE", "*=127.0.0.1:9"), ("PROXYFLEET_WAIT", "4"), ("HTTP_PROXY", "http://own:1")];
    let finished = scene.host().run(script.as_bytes(), &environment, &[], Duration::from_mins(3)).unwrap();
    assert!(!finished.timed_out);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Booted { said: text(finished.stdout), complained: text(finished.stderr), exit: finished.exit }
}

fn boot(scene: &Scene, parameters: &ApplyParameters) -> Booted {
    run(scene, &script(&request(parameters)))
}

/// Asserts that a plan would find nothing to do.
#[track_caller]
fn assert_in_sync(scene: &Scene, parameters: &ApplyParameters) {
    let assessment = assess(&terms(parameters), &scene.observe());
    assert!(assessment.in_sync(), "{assessment:?}\n{}", scene.observe_text());
}

fn note(scene: &Scene, name: &str) -> String {
    String::from_utf8(scene.host().read(&format!(r"{STATE}\{name}")).unwrap_or_default()).unwrap()
}

/// A Machine variable.
fn machine(scene: &Scene, name: &str) -> String {
    let call = format!("[Environment]::GetEnvironmentVariable('{name}', 'Machine')");
    scene.host().shell(&call).unwrap()
}

/// What docker loaded at its start: the proxies for http and https, and the bypass list.
fn docker_has(scene: &Scene) -> Vec<String> {
    let bytes = scene.host().read(r"C:\ProgramData\winhost\docker.proxies").unwrap();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

/// Brings a fresh host into the state of a first boot.
fn before_first_boot(scene: &Scene) {
    scene.host().stop_service("AmazonECS").unwrap();
}

fn running(scene: &Scene) -> bool {
    [Service::Docker, Service::Ecs].iter().all(|service| scene.state(*service) == ServiceState::Active)
}

#[test]
fn it_is_for_windows_powershell_5() {
    let Some(winhost) = windows_hosts() else { return };
    let folder = tempfile::tempdir().unwrap();
    let request = joining(&present(), "web");
    let paths = [("whole.ps1", script(&request)), ("script.ps1", readable(&request))].map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    });
    let finished = winhost.check(&[paths[0].as_path(), paths[1].as_path()]).unwrap();
    assert_eq!(finished.exit, Some(0), "{}", String::from_utf8_lossy(&finished.stderr));
}

const NOTHING: &str = "proxyfleet: policy ecs-production, changed: nothing\n";

#[test]
fn a_first_boot_joins_the_cluster_and_later_ones_change_nothing() {
    let Some(scene) = Scene::of(ServerVersion::Server2019) else { return };
    before_first_boot(&scene);
    let starts = scene.starts();
    // No container runs yet, so there is nothing to defer.
    let first = deferred(present());
    let script = script(&joining(&first, "web"));
    let said = run(&scene, &script).well();
    assert_eq!(said, format!("{}proxyfleet: started: docker ecs\n", NOTHING.replace("nothing", "ecs-agent docker")));
    assert_eq!(scene.starts(), [starts[0] + 1, starts[1] + 1, starts[2]], "each once, and the SSM agent never");
    assert_eq!(
        (machine(&scene, "ECS_CLUSTER"), machine(&scene, "ECS_ENABLE_TASK_IAM_ROLE")),
        ("web".into(), "true".into())
    );
    assert_eq!(machine(&scene, "HTTP_PROXY"), "");
    scene.assert_all(&first.components, &values());
    assert_in_sync(&scene, &first);

    let before = scene.everything();
    assert_eq!(run(&scene, &script).well(), NOTHING);
    assert_eq!(scene.everything(), before, "no byte, no start");
    scene.host().reboot().unwrap();
    let starts = scene.starts();
    assert_eq!(run(&scene, &script).well(), NOTHING);
    assert_eq!(scene.starts(), starts);
    assert_in_sync(&scene, &first);
    scene.apply(&first).unchanged();

    // Somebody edits the registry.
    scene.set("Put AmazonECS Environment @('A=1', 'http_proxy=http://mistake:1') MultiString");
    let record = note(&scene, "managed");
    let said = run(&scene, &script).well();
    assert_eq!(said, format!("{}proxyfleet: started: ecs\n", NOTHING.replace("nothing", "ecs-agent")));
    assert_eq!(scene.starts(), [starts[0], starts[1] + 1, starts[2]]);
    assert_eq!(note(&scene, "managed"), record, "what was there first is not forgotten");
    assert!(scene.contents().contains(&format!("AmazonECS Environment MultiString A=1|HTTP_PROXY={PROXY}|")));
    assert_in_sync(&scene, &first);

    // A host that is in another cluster stays there.
    let complained = run(&scene, &self::script(&joining(&first, "batch"))).badly();
    assert_eq!(complained, "proxyfleet: ECS_CLUSTER not set: this host is in the cluster web\n");
    assert_eq!(machine(&scene, "ECS_CLUSTER"), "web");
    scene.host().stop_service("AmazonECS").unwrap();
    assert_eq!(run(&scene, &script).well(), format!("{NOTHING}proxyfleet: started: ecs\n"));
    assert_in_sync(&scene, &first);
    // What it wrote can be taken away again.
    scene.apply(&absent()).changed();
    assert!(scene.contents().contains("AmazonECS Environment MultiString A=1\n"), "{}", scene.contents());
    assert!(!scene.host().at(DAEMON_JSON).exists());
}

#[test]
fn it_leaves_what_an_apply_leaves_byte_for_byte() {
    let (Some(applied), Some(booted)) = (Scene::new(), Scene::new()) else { return };
    for scene in [&applied, &booted] {
        scene.set(
            "Put AmazonECS Environment @('A=1', 'https_proxy=http://old:1', 'Http_Proxy=two', 'HTTP_PROXY=three') MultiString
             Put $machine NO_PROXY '%OLD%' ExpandString",
        );
        let config =
            b"{\r\n\t\"hosts\": [\"npipe://\"],\r\n\t\"proxies\": { \"no-proxy\": \"old\", \"ftp-proxy\": \"x\" } }";
        scene.host().write(DAEMON_JSON, config).unwrap();
    }
    let components = vec![Component::EcsAgent, Component::Docker, Component::MachineEnvironment];
    let wanted = ApplyParameters { components, ..present() };
    applied.apply(&wanted).changed();
    let said = boot(&booted, &wanted).well();
    assert!(said.contains("changed: ecs-agent docker machine-environment\n"), "{said}");
    assert_eq!(booted.everything(), applied.everything(), "carriers, record, note and starts");
    assert_in_sync(&booted, &wanted);
    let second = ApplyParameters { values: Some(proxy("http://10.0.0.132:3128")), ..wanted.clone() };
    applied.apply(&second).changed();
    // With its own names the script does the same.
    run(&booted, &readable(&request(&second))).well();
    assert_eq!(booted.everything(), applied.everything());
    let before = booted.everything();
    booted.apply(&second).unchanged();
    assert_eq!(boot(&applied, &second).well(), NOTHING);
    assert_eq!((booted.everything(), applied.everything()), (before.clone(), before));
}

#[test]
fn the_guide_leaves_docker_without_its_proxy_and_this_does_not() {
    for first in [true, false] {
        let (Some(guided), Some(ours)) = (Scene::new(), Scene::new()) else { return };
        for scene in [&guided, &ours] {
            if first {
                before_first_boot(scene);
            } else {
                // It has booted before, without a proxy, and runs.
                scene
                    .host()
                    .shell("Import-Module ECSTools\nInitialize-ECSAgent -Cluster MyCluster -EnableTaskIAMRole")
                    .unwrap();
                scene.host().reboot().unwrap();
            }
        }
        let starts = guided.starts();
        assert_eq!(starts, ours.starts());
        assert_eq!(run(&guided, GUIDE).exit, Some(0));
        assert_eq!(guided.starts()[0], starts[0] + usize::from(first), "it is not even restarted where the agent runs");
        assert!(!docker_has(&guided).contains(&PROXY.to_owned()), "first: {first}");
        assert_eq!((machine(&guided, "HTTP_PROXY"), machine(&guided, "HTTPS_PROXY")), (PROXY.into(), String::new()));

        run(&ours, &script(&joining(&present(), "MyCluster"))).well();
        let bypass = values().bypass;
        assert_eq!(docker_has(&ours), [PROXY, PROXY, bypass.as_str()], "first: {first}");
        assert!(running(&ours));
        let environment = ours.host().environment("AmazonECS");
        for key in ["HTTP_PROXY", "HTTPS_PROXY"] {
            assert!(environment.contains(&format!("{key}={PROXY}")), "{environment:?}");
        }
        assert_eq!(ours.starts(), [starts[0] + 1, starts[1] + 1, starts[2]]);
        assert_eq!((machine(&ours, "ECS_CLUSTER"), machine(&ours, "HTTP_PROXY")), ("MyCluster".into(), String::new()));
        assert_in_sync(&ours, &present());

        // What the guide's leaves, ours puts right.
        run(&guided, &script(&joining(&present(), "MyCluster"))).well();
        assert_eq!(docker_has(&guided)[..2], [PROXY, PROXY]);
        assert_in_sync(&guided, &present());
    }
}

#[test]
fn what_cannot_be_changed_is_left_alone_with_the_reason_and_the_rest_goes_on() {
    let Some(scene) = Scene::of(ServerVersion::Server2016) else { return };
    let build = |number: &str| {
        scene.set(&format!(r"Put 'SOFTWARE\Microsoft\Windows NT\CurrentVersion' CurrentBuildNumber {number} String"));
    };
    build("22621");
    let before = scene.everything();
    let complained = boot(&scene, &present()).badly();
    assert_eq!(complained, "proxyfleet: nothing changed: wrong-platform this is windows 10.0.22621\n");
    assert_eq!(scene.everything(), before);
    assert!(!scene.host().at(STATE).exists());
    build("14393");

    // The agent gets another proxy each time, and docker stays as it is.
    let mut number = 0;
    let mut leaves = |component: Component, reason: &str| {
        number += 1;
        let wanted = ApplyParameters { values: Some(proxy(&format!("http://10.0.1.{number}:3128"))), ..present() };
        let other = if component == Component::Docker { Component::EcsAgent } else { Component::Docker };
        let starts = scene.starts();
        let complained = boot(&scene, &wanted).badly();
        assert_eq!(complained, format!("proxyfleet: {component} not changed: {reason}\n"));
        assert_eq!(scene.starts()[0], starts[0] + usize::from(other == Component::Docker), "{reason}");
        scene.assert_all(&[other], wanted.values.as_ref().unwrap());
        assert!(!note(&scene, "managed").contains(&format!("{component}\t")), "{reason}");
    };
    for (bytes, reason) in [(&b"{\"proxies\": {},}"[..], "not-json"), (b"\xef\xbb\xbf{}", "byte-order-mark")] {
        scene.host().write(DAEMON_JSON, bytes).unwrap();
        leaves(Component::Docker, &format!("unsupported {reason} {DAEMON_JSON}"));
        assert_eq!(scene.host().read(DAEMON_JSON).unwrap(), bytes);
    }
    std::fs::remove_file(scene.host().at(DAEMON_JSON)).unwrap();
    let image = r"HKLM\SYSTEM\CurrentControlSet\Services\docker\ImagePath";
    for (option, reason) in [("--http-proxy=http://x:1", "flag"), (r"--config-file C:\other.json", "other-config-file")]
    {
        scene.set(&format!(r"Put docker ImagePath 'C:\winhost\service-stub.exe {option}' ExpandString"));
        leaves(Component::Docker, &format!("unsupported {reason} {image}"));
    }
    scene.set(r"Put docker ImagePath 'C:\winhost\service-stub.exe' ExpandString");
    scene.host().set_docker_version("unknown").unwrap();
    leaves(Component::Docker, &format!("unsupported docker-version {DAEMON_JSON}"));
    scene.host().set_docker_version("25.0.6").unwrap();
    assert!(!scene.host().at(DAEMON_JSON).exists());

    let Some(scene) = Scene::new() else { return };
    let carrier = Platform::Windows.component(Component::EcsAgent).unwrap().carrier.path;
    scene.set("Put AmazonECS Environment 'HTTP_PROXY=x' String");
    let complained = boot(&scene, &present()).badly();
    assert_eq!(complained, format!("proxyfleet: ecs-agent not changed: unsupported wrong-kind {carrier}\n"));
    scene.assert_all(&[Component::Docker], &values());
    assert!(scene.contents().contains("AmazonECS Environment String HTTP_PROXY=x\n"));
    assert!(running(&scene));
    scene.set("Put AmazonECS Environment $null");

    // An apply is at work.
    let before = scene.everything();
    let hold = r"$lock = New-Object Threading.Mutex $false, 'Global\proxyfleet'
        [void]$lock.WaitOne(); [IO.File]::WriteAllText('C:\held', '')
        while (-not [IO.File]::Exists('C:\go')) { Start-Sleep -Milliseconds 50 }; $lock.ReleaseMutex()";
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| scene.host().shell(hold).unwrap());
        while !scene.host().at(r"C:\held").exists() {
            std::thread::sleep(Duration::from_millis(50));
        }
        let complained = boot(&scene, &present()).badly();
        scene.host().write(r"C:\go", b"").unwrap();
        holder.join().unwrap();
        assert_eq!(complained, "proxyfleet: nothing changed: busy an apply is at work\n");
    });
    assert_eq!(scene.everything(), before);
    boot(&scene, &present()).well();
    assert_in_sync(&scene, &present());
}

#[test]
fn docker_is_restarted_only_where_that_stops_no_task_or_the_policy_allows_it() {
    let Some(scene) = Scene::of(ServerVersion::Server2025) else { return };
    scene.host().set_docker_version("20.10.9").unwrap();
    let later = deferred(present());
    scene.host().write(r"C:\ProgramData\winhost\docker.containers", b"0123456789ab\n").unwrap();
    let starts = scene.starts();
    let said = boot(&scene, &later).well();
    let expected = "proxyfleet: started: ecs\nproxyfleet: docker runs with its old settings until it is restarted\n";
    assert_eq!(said, NOTHING.replace("nothing", "ecs-agent docker") + expected);
    assert_eq!(scene.starts(), [starts[0], starts[1] + 1, starts[2]]);
    assert_eq!(docker_has(&scene)[0], "");
    let fallback = Platform::Windows.component(Component::Docker).unwrap().fallback.as_ref().unwrap();
    assert!(scene.observe_text().contains(&format!("c docker {}\n", fallback.path)));
    assert!(!scene.host().at(DAEMON_JSON).exists());

    std::fs::remove_file(scene.host().at(r"C:\ProgramData\winhost\docker.containers")).unwrap();
    assert_eq!(boot(&scene, &later).well(), format!("{NOTHING}proxyfleet: started: docker ecs\n"));
    assert_eq!(scene.starts(), [starts[0] + 1, starts[1] + 2, starts[2]]);
    assert_in_sync(&scene, &later);

    // At a boot that is not that far yet nothing is started, and what starts later needs no restart.
    scene.host().stop_service("docker").unwrap();
    let second = ApplyParameters { values: Some(proxy("http://10.0.0.132:3128")), ..present() };
    let starts = scene.starts();
    assert_eq!(boot(&scene, &second).well(), NOTHING.replace("nothing", "ecs-agent docker"));
    assert_eq!(scene.starts(), starts);
    scene.host().start_service("AmazonECS").unwrap();
    assert_in_sync(&scene, &second);

    // An agent that was stopped comes up with docker as it would after an apply.
    scene.host().stop_service("AmazonECS").unwrap();
    boot(&scene, &only(Component::EcsAgent)).well();
    assert!(running(&scene));
    assert_in_sync(&scene, &only(Component::EcsAgent));
}

/// Docker does not start with a file that is no JSON, so the script breaks the file just before it restarts docker.
#[test]
fn a_docker_that_does_not_come_up_gets_its_old_settings_back() {
    let Some(scene) = Scene::new() else { return };
    let script = readable(&request(&present()));
    let (head, tail) = script.split_once("function Restart-Docker {\n").unwrap();
    let broken = format!(
        "$Broken = @{{ Yet = $false }}\n{head}function Restart-Docker {{\n if (-not $Broken.Yet) {{ [IO.File]::AppendAllText('{DAEMON_JSON}', '}}') }}\n $Broken.Yet = $true\n{tail}"
    );
    let complained = run(&scene, &broken).badly();
    assert_eq!(complained, "proxyfleet: docker not changed: it does not start with these settings\n");
    assert!(!scene.host().at(DAEMON_JSON).exists());
    assert!(running(&scene));
    assert!(!note(&scene, "managed").contains("docker\t"), "{}", note(&scene, "managed"));
    assert_in_sync(&scene, &only(Component::EcsAgent));
    // And so does the next one, which is not broken.
    boot(&scene, &present()).well();
    assert_in_sync(&scene, &present());
}

#[test]
fn joining_may_make_the_service_anew() {
    let Some(scene) = Scene::new() else { return };
    before_first_boot(&scene);
    let module = r"C:\Program Files\WindowsPowerShell\Modules\ECSTools\ECSTools.psm1";
    let text = String::from_utf8(scene.host().read(module).unwrap()).unwrap();
    let forgets = text.replace("    Start-Service AmazonECS\n", "    $key = [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SYSTEM\\CurrentControlSet\\Services\\AmazonECS', $true)\n    $key.DeleteValue('Environment', $false)\n    $key.Close()\n    Start-Service AmazonECS\n");
    assert_ne!(forgets, text);
    scene.host().write(module, forgets.as_bytes()).unwrap();
    run(&scene, &script(&joining(&present(), "web"))).well();
    assert_in_sync(&scene, &present());

    // An agent that has registered without a name is in the cluster `default`.
    scene.host().shell("[Environment]::SetEnvironmentVariable('ECS_CLUSTER', $null, 'Machine')").unwrap();
    scene.host().write(r"C:\ProgramData\Amazon\ECS\data\agent.db", b"x").unwrap();
    let complained = run(&scene, &script(&joining(&present(), "web"))).badly();
    assert_eq!(complained, "proxyfleet: ECS_CLUSTER not set: the agent has registered already\n");

    // Without the module there is no joining, but the settings are there.
    let Some(scene) = Scene::new() else { return };
    before_first_boot(&scene);
    std::fs::remove_file(scene.host().at(module)).unwrap();
    let complained = run(&scene, &script(&joining(&present(), "web"))).badly();
    assert_eq!(complained, "proxyfleet: ecs did not start (join)\n");
    scene.host().start_service("AmazonECS").unwrap();
    assert_in_sync(&scene, &present());
}

#[test]
fn many_values_are_put_in_as_they_are_and_what_cannot_be_unpacked_is_not_run() {
    let Some(scene) = Scene::new() else { return };
    let whole = script(&request(&present()));
    let before = scene.everything();
    let end = whole.find("\n'@\n").unwrap();
    let shorter = format!("{}{}", &whole[..end - 400], &whole[end..]);
    for broken in [whole.replacen("\nH4sI", "\nH4sJ", 1), shorter] {
        assert_ne!(broken, whole);
        let complained = run(&scene, &broken).badly();
        assert_eq!(complained.trim_end(), "proxyfleet: nothing changed: the script could not be unpacked");
        assert_eq!(scene.everything(), before);
    }
    let entries: Vec<String> = (0..60).map(|number| format!("host-{number}.example.com")).collect();
    let values = ProxyValues::new(
        "http://[fd00::1]:3128".to_owned(),
        "https://proxy.example.com:443".to_owned(),
        entries.iter().map(String::as_str).chain(["fd00::/8", ".a_b"]),
    );
    let parameters = ApplyParameters { values: Some(values.clone()), ..present() };
    boot(&scene, &parameters).well();
    scene.assert_all(&parameters.components, &values);
    assert_in_sync(&scene, &parameters);
}
