//! The carrier syntaxes: how a setting is read from, put into and taken out of a file.
//!
//! This code is the specification that the shell code in the documents must equal; a property test holds the two
//! together on random files. Everything works on bytes: what is not ours stays as it is, whatever its encoding
//! (proxy-by-os 18).

/// The first line of a file that proxyfleet creates.
pub const HEADER: &str =
    "# Managed by proxyfleet. Its settings are kept equal to a policy; other lines are left alone.";

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syntax {
    /// `KEY=value` lines without quotes (`ecs.config`).
    EnvFile,
    /// `[Service]` and `Environment="KEY=value"` lines.
    SystemdDropIn,
    /// `env KEY=value` lines (upstart).
    UpstartOverride,
    /// `export KEY=value` lines in a file that a shell sources.
    ShellExport,
    /// `key=value` in the `[main]` section (yum, dnf).
    Ini,
}

impl Syntax {
    /// Every syntax.
    pub const ALL: [Self; 5] =
        [Self::EnvFile, Self::SystemdDropIn, Self::UpstartOverride, Self::ShellExport, Self::Ini];

    /// The word used in the generated tables of the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EnvFile => "env-file",
            Self::SystemdDropIn => "systemd",
            Self::UpstartOverride => "upstart",
            Self::ShellExport => "shell-export",
            Self::Ini => "ini",
        }
    }
}
