//! Real Windows hosts for the tests, where the tool and wine are there.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::OnceLock;
use std::time::Duration;

use proxyfleet::catalog::Platform;
use proxyfleet::document::{self, ApplyParameters};
use proxyfleet::sim::windows::{RealHost, ServerVersion, Winhost};
use tempfile::TempDir;

/// The tool; where there is none, or no wine, one line says so, once.
pub(crate) fn windows_hosts() -> Option<&'static Winhost> {
    static FOUND: OnceLock<Option<Winhost>> = OnceLock::new();
    FOUND
        .get_or_init(|| match Winhost::find() {
            Ok(winhost) => Some(winhost),
            Err(reason) => {
                // Straight to the terminal: a test that passes does not show what it prints.
                let line = format!("The Windows scripts were not run: {reason}\n");
                std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
                None
            }
        })
        .as_ref()
}

/// A fresh host in a folder that goes away with it.
pub(crate) struct FreshHost {
    // Stopped before its folder goes.
    pub(crate) host: RealHost,
    _folder: TempDir,
}

/// A fresh host, where there can be one. It takes a second or two, no longer than bringing an old one into a known state.
pub(crate) fn fresh_host(version: ServerVersion) -> Option<FreshHost> {
    let winhost = windows_hosts()?;
    let folder = tempfile::Builder::new().prefix("proxyfleet-winhost-").tempdir().unwrap();
    let host = winhost.create(&folder.path().join("host"), version).unwrap();
    Some(FreshHost { host, _folder: folder })
}

/// The PowerShell script of a document, as the agent joins its lines.
pub(crate) fn script(document: &document::Document) -> String {
    let body: serde_json::Value = serde_json::from_str(&document.content).unwrap();
    let step = body["mainSteps"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(step["action"], "aws:runPowerShellScript");
    let lines: Vec<String> = serde_json::from_value(step["inputs"]["runCommand"].clone()).unwrap();
    lines.join("\n") + "\n"
}

/// The apply script with the parameters in place, as the agent puts them in.
pub(crate) fn apply_script(parameters: &ApplyParameters) -> String {
    let mut text = script(&document::apply(Platform::Windows));
    for (name, values) in parameters.to_map() {
        text = text.replace(&format!("{{{{ {name} }}}}"), &values[0]);
    }
    text
}

#[test]
fn a_script_runs_on_a_real_windows_host() {
    let Some(fresh) = fresh_host(ServerVersion::Server2019) else { return };
    let host = &fresh.host;
    assert_eq!((host.starts("docker"), host.starts("AmazonECS"), host.starts("AmazonSSMAgent")), (1, 1, 1));
    let environment = [("AWS_SSM_REGION_NAME", "eu-central-1"), ("ODD", "it's $x `n")];
    let script =
        b"# first line\n\"$env:AWS_SSM_REGION_NAME|$env:ODD\"\n[Console]::Error.WriteLine('to stderr')\nexit 3\n";
    let finished = host.run(script, &environment, &[], Duration::from_mins(1)).unwrap();
    assert_eq!((finished.exit, finished.timed_out), (Some(3), false));
    assert_eq!(String::from_utf8_lossy(&finished.stdout).trim(), "eu-central-1|it's $x `n");
    assert_eq!(String::from_utf8_lossy(&finished.stderr).trim(), "to stderr");

    let refused = host.run(b"1 ?? 2\n", &[], &[], Duration::from_mins(1)).unwrap();
    assert_eq!(refused.exit, Some(64), "{refused:?}");
    let slow = host.run(b"Start-Sleep -Seconds 60\n", &[], &[], Duration::from_secs(2)).unwrap();
    assert!(slow.timed_out);

    host.stop_service("docker").unwrap();
    host.start_service("AmazonECS").unwrap();
    assert_eq!((host.starts("docker"), host.starts("AmazonECS"), host.starts("AmazonSSMAgent")), (2, 2, 1));
    assert!(host.environment("docker").iter().any(|line| line == "OS=Windows_NT"));
    assert!(host.exec(&["reg", "query", r"HKLM\SYSTEM\CurrentControlSet\Services\nobody"]).unwrap().exit != Some(0));
    host.write(r"C:\ProgramData\docker\config\daemon.json", b"{}\n").unwrap();
    assert_eq!(
        host.shell(r"[IO.File]::ReadAllText('C:\ProgramData\docker\config\daemon.json').Length").unwrap().trim(),
        "3"
    );
    host.reboot().unwrap();
    assert_eq!((host.starts("docker"), host.starts("AmazonSSMAgent")), (3, 2));
}
