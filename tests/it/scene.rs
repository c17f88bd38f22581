//! A simulated host on which tests run the published scripts.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::OnceLock;
use std::time::Duration;

use proxyfleet::catalog::{Component, Platform, ProxyValues, Service};
use proxyfleet::document::{self, Action, ApplyParameters, Document};
use proxyfleet::fleet::{ApplyReport, ApplyResult, Observed, REPORT_LIMIT_BYTES, parse_apply, parse_observe};
use proxyfleet::plan::Terms;
use proxyfleet::policy::{Count, DockerRestart, PolicyName, Preflight, Rollout};
use proxyfleet::sim::host::{Bin, Condition, Finished, Host, HostSpec, Snapshot};
use tempfile::TempDir;

/// The proxy of the policy in these tests.
pub(crate) const PROXY: &str = "http://10.0.0.131:3128";
/// The shells that a script must run the same under, where they are installed.
pub(crate) const SHELLS: [&str; 3] = ["dash", "bash", "busybox ash"];
/// The folder that only we use.
pub(crate) const STATE: &str = "/var/lib/proxyfleet";

/// What the tests want everywhere unless they say otherwise.
pub(crate) fn values() -> ProxyValues {
    proxy(PROXY)
}

/// Values with one proxy for everything.
pub(crate) fn proxy(url: &str) -> ProxyValues {
    ProxyValues::new(url.to_owned(), url.to_owned(), [".internal.example.com", "10.0.0.15"])
}

/// All components, Docker may restart, the proxy is tried first.
pub(crate) fn present() -> ApplyParameters {
    ApplyParameters {
        values: Some(values()),
        components: Component::ALL[..4].to_vec(),
        docker_restart: DockerRestart::Allow,
        preflight: Preflight::Require,
        policy: PolicyName::parse("ecs-production").unwrap(),
        run: String::new(),
        action: Action::Apply,
    }
}

/// The same, to take everything away again.
pub(crate) fn absent() -> ApplyParameters {
    ApplyParameters { values: None, ..present() }
}

/// The same for some components only.
pub(crate) fn only(components: &[Component]) -> ApplyParameters {
    ApplyParameters { components: components.to_vec(), ..present() }
}

/// The path of the file that carries a component's settings.
pub(crate) fn carrier(platform: Platform, component: Component) -> &'static str {
    platform.component(component).unwrap().carrier.path
}

/// The script of a document, as the agent joins its lines.
pub(crate) fn script(document: &Document) -> String {
    let body: serde_json::Value = serde_json::from_str(&document.content).unwrap();
    let lines: Vec<String> = serde_json::from_value(body["mainSteps"][0]["inputs"]["runCommand"].clone()).unwrap();
    lines.join("\n") + "\n"
}

/// A policy that asks for what an apply is sent with.
pub(crate) fn terms(parameters: &ApplyParameters) -> Terms {
    Terms {
        name: parameters.policy.clone(),
        values: parameters.values.clone(),
        components: parameters.components.clone(),
        docker_restart: parameters.docker_restart,
        preflight: parameters.preflight,
        rollout: Rollout { max_concurrency: Count::Percent(100), ..Rollout::default() },
    }
}

/// What an apply did.
pub(crate) struct Applied {
    pub(crate) report: ApplyReport,
    pub(crate) text: String,
    pub(crate) exit: Option<i32>,
}

impl Applied {
    /// The report, if the apply ended in this way.
    #[track_caller]
    pub(crate) fn expect(self, result: &ApplyResult) -> ApplyReport {
        assert_eq!(&self.report.result, result, "{}", self.text);
        let good = matches!(result, ApplyResult::Changed | ApplyResult::Unchanged);
        assert_eq!(self.exit, Some(i32::from(!good)), "{}", self.text);
        self.report
    }

    #[track_caller]
    pub(crate) fn changed(self) -> ApplyReport {
        self.expect(&ApplyResult::Changed)
    }

    #[track_caller]
    pub(crate) fn unchanged(self) -> ApplyReport {
        let report = self.expect(&ApplyResult::Unchanged);
        assert!(report.written.is_empty() && report.restarted.is_empty(), "{report:?}");
        report
    }

    #[track_caller]
    pub(crate) fn refused(self, reason: &str) -> ApplyReport {
        self.expect(&ApplyResult::Refused(reason.to_owned()))
    }

    #[track_caller]
    pub(crate) fn rolled_back(self, reason: &str) -> ApplyReport {
        self.expect(&ApplyResult::RolledBack(reason.to_owned()))
    }
}

/// What a run of user data did.
pub(crate) struct Booted {
    pub(crate) said: String,
    pub(crate) complained: String,
    pub(crate) exit: Option<i32>,
}

impl Booted {
    #[track_caller]
    pub(crate) fn well(self) -> String {
        assert_eq!((self.exit, self.complained.as_str()), (Some(0), ""), "{}", self.said);
        self.said
    }

    /// What it complained of, if it ended with an error.
    #[track_caller]
    pub(crate) fn badly(self) -> String {
        assert_eq!(self.exit, Some(1), "{}{}", self.said, self.complained);
        self.complained
    }
}

/// A host and the folder it goes away with.
pub(crate) struct Scene {
    pub(crate) host: Host,
    pub(crate) platform: Platform,
    shell: Option<&'static str>,
    environment: Vec<(String, String)>,
    _folder: TempDir,
}

impl Scene {
    pub(crate) fn new(spec: &HostSpec) -> Self {
        let folder = TempDir::new().unwrap();
        let host = Host::create(&folder.path().join("host"), bin(), spec).unwrap();
        Self { host, platform: spec.platform, shell: None, environment: Vec::new(), _folder: folder }
    }

    pub(crate) fn plain(platform: Platform) -> Self {
        Self::new(&HostSpec::new(platform))
    }

    pub(crate) fn with(platform: Platform, conditions: impl IntoIterator<Item = Condition>) -> Self {
        let spec = HostSpec { conditions: conditions.into_iter().collect(), ..HostSpec::new(platform) };
        Self::new(&spec)
    }

    /// The same host with scripts read by `shell`.
    pub(crate) fn under(mut self, shell: &'static str) -> Self {
        self.shell = Some(shell);
        self
    }

    /// Gives scripts one more variable.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn run(&self, script: &str) -> Finished {
        // Later ones win.
        let mut environment = vec![("PROXYFLEET_WAIT", "1")];
        environment.extend(self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        self.host.run(script.as_bytes(), &environment, self.shell, Duration::from_mins(2)).unwrap()
    }

    /// What the observe document prints.
    pub(crate) fn observe_text(&self) -> String {
        let finished = self.run(&script(&document::observe()));
        assert_eq!(finished.exit, Some(0));
        text_of(finished)
    }

    pub(crate) fn observe(&self) -> Observed {
        let text = self.observe_text();
        parse_observe(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    pub(crate) fn apply(&self, parameters: &ApplyParameters) -> Applied {
        self.apply_as(self.platform, parameters)
    }

    /// Runs the apply document of `platform`, which need not be the host's.
    pub(crate) fn apply_as(&self, platform: Platform, parameters: &ApplyParameters) -> Applied {
        let finished = self.run(&apply_script(platform, parameters));
        let exit = finished.exit;
        let text = text_of(finished);
        let report = parse_apply(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Applied { report, text, exit }
    }

    pub(crate) fn starts(&self) -> (u32, u32) {
        (self.host.starts(Service::Docker), self.host.starts(Service::Ecs))
    }

    pub(crate) fn text(&self, path: &str) -> String {
        String::from_utf8(self.host.read(path).unwrap()).unwrap()
    }

    pub(crate) fn carrier(&self, component: Component) -> String {
        self.text(carrier(self.platform, component))
    }

    /// Everything but processes and what proxyfleet keeps for itself.
    pub(crate) fn files(&self) -> Snapshot {
        let mut files = self.host.snapshot().unwrap();
        let hidden = [STATE, "/proc", "/run", "/var/run"];
        // The first apply makes our folder in /var/lib.
        files.retain(|path, _| path != "/var/lib" && !hidden.iter().any(|hidden| path.starts_with(hidden)));
        files
    }

    /// The same without what a rewrite changes: paths, contents and modes.
    pub(crate) fn contents(&self) -> Vec<(String, u32, Vec<u8>)> {
        let folder = 0o040_000;
        let files = self.files().into_iter().filter(|(_, entry)| entry.mode & 0o170_000 != folder);
        files.map(|(path, entry)| (path, entry.mode, entry.bytes)).collect()
    }

    /// Asserts that paths, contents and modes are as they were.
    #[track_caller]
    pub(crate) fn assert_contents(&self, before: &[(String, u32, Vec<u8>)], case: &str) {
        let now = self.contents();
        let differ = |left: &[(String, u32, Vec<u8>)], right: &[(String, u32, Vec<u8>)]| -> Vec<String> {
            let only = left.iter().filter(|entry| !right.contains(entry));
            only.map(|(path, mode, bytes)| format!("{path} {mode:o}\n{}", String::from_utf8_lossy(bytes))).collect()
        };
        let (gone, new) = (differ(before, &now), differ(&now, before));
        assert!(gone.is_empty() && new.is_empty(), "{case}\nbefore:\n{}\nnow:\n{}", gone.join("\n"), new.join("\n"));
    }

    /// Asserts that the settings are in the files and in the processes, by a report of the host itself.
    #[track_caller]
    pub(crate) fn assert_all(&self, values: &ProxyValues) {
        let text = self.observe_text();
        let observed = parse_observe(&text).unwrap();
        for row in self.platform.table().components {
            for setting in row.carrier.settings {
                let seen = observed.setting(row.component, setting.key).unwrap();
                for truth in [&seen.carrier, &seen.loaded, &seen.running] {
                    let right = match truth {
                        proxyfleet::fleet::Truth::Is(seen) => seen.is(&values.value(setting.rule), setting.key.kind()),
                        proxyfleet::fleet::Truth::NotApplicable => true,
                        _ => false,
                    };
                    assert!(right, "{} {}\n{text}", row.component, setting.key);
                }
            }
        }
    }
}

/// The apply script with the parameters in place, as the agent puts them in.
pub(crate) fn apply_script(platform: Platform, parameters: &ApplyParameters) -> String {
    let mut text = script(&document::apply(platform));
    for (name, values) in parameters.to_map() {
        text = text.replace(&format!("{{{{ {name} }}}}"), &values[0]);
    }
    text
}

/// What a script printed: within the limit, ASCII, nothing on the error stream.
#[track_caller]
fn text_of(finished: Finished) -> String {
    let stderr = String::from_utf8_lossy(&finished.stderr).into_owned();
    let text = String::from_utf8(finished.stdout).unwrap();
    assert_eq!(stderr, "", "{text}");
    assert!(text.is_ascii() && text.len() <= REPORT_LIMIT_BYTES, "{} bytes: {text}", text.len());
    text
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
