//! An embedded fleet and the binary as its client: what the end-to-end tests share.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use proxyfleet::sim::{Sim, SimOptions};
use tempfile::TempDir;

/// A served fleet, and a folder for policies and plans.
pub(crate) struct Fleet {
    pub(crate) sim: Sim,
    folder: TempDir,
}

/// What a run of the binary came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Fleet {
    /// A fleet of `instances` from `seed`.
    pub(crate) fn start(instances: usize, seed: u64) -> Self {
        Self::with(SimOptions { instances, seed, ..SimOptions::default() })
    }

    /// A fleet with these options.
    pub(crate) fn with(options: SimOptions) -> Self {
        let sim = Sim::start(options).expect("the embedded fleet starts");
        Self { sim, folder: TempDir::new().expect("a temporary folder") }
    }

    /// Writes a policy file and gives its path.
    pub(crate) fn policy(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path.display().to_string()
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary, ready to talk to this fleet and to nothing else.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = binary(arguments);
        command.args(["--endpoint-url", &self.sim.endpoint_url()]).env("PROXYFLEET_STATE_DIR", self.path("state"));
        command
    }

    /// Tells the journals of the runs against this fleet.
    pub(crate) fn history(&self, arguments: &[&str]) -> Ran {
        let mut command = binary(&["history"]);
        command.args(arguments).env("PROXYFLEET_STATE_DIR", self.path("state"));
        Ran::of(&command.output().expect("the binary runs"))
    }

    /// Runs the binary against this fleet.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().expect("the binary runs"))
    }
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("output is text");
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// Fails, showing everything, unless it ended with `code`.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// The result as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{}", self.stdout))
    }
}

/// The binary without anything of this process's AWS settings, journals or terminal.
pub(crate) fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_proxyfleet"));
    command.args(arguments).stdin(Stdio::null()).current_dir(env!("CARGO_MANIFEST_DIR")).env_clear();
    for kept in ["PATH", "TMPDIR", "HOME"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    // Not among the journals of whoever runs the tests.
    command.env("PROXYFLEET_STATE_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/state"));
    command
}
