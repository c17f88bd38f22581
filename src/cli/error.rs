//! Why a command could not be carried out.

use std::path::PathBuf;

use crate::catalog::Platform;
use crate::document::UserDataError;
use crate::policy::{Diagnostic, PolicyName, SourceFile};
use crate::report::{diagnostics_text, error_text};

/// Why a command could not be carried out. Each has a remedy.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// A policy path cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    /// A file cannot be written.
    #[cfg(feature = "aws")]
    #[error("cannot write {}: {source}", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    /// A folder without policies.
    #[error("no policy files in {}", path.display())]
    NoPolicies { path: PathBuf },
    /// Mistakes in policies.
    #[error("the policies have mistakes")]
    Policies { files: Vec<SourceFile>, diagnostics: Vec<Diagnostic> },
    /// No such policy.
    #[error("no policy `{name}`")]
    NoPolicy { name: String, known: Vec<String> },
    /// A policy that is for other systems.
    #[error("policy `{policy}` is not for {platform}")]
    NotTargeted { policy: PolicyName, platform: Platform, targets: Vec<Platform> },
    /// A policy that writes nothing.
    #[error("policy `{policy}` has `state: absent`: there is nothing to write")]
    NothingToWrite { policy: PolicyName },
    /// User data that cannot be had.
    #[error(transparent)]
    UserData(#[from] UserDataError),
    /// A document that is not there yet.
    #[error("there is no document for {} yet", platform.table().title)]
    NoDocument { platform: Platform },
    /// Two policies for the same instances.
    #[cfg(feature = "aws")]
    #[error("policies conflict:\n{}", conflicts.join("\n"))]
    Conflicts { conflicts: Vec<String> },
    /// Another account than the one that was expected.
    #[cfg(feature = "aws")]
    #[error("these credentials are for account {found}, not for {expected}; nothing was done")]
    WrongAccount { expected: String, found: String },
    /// A saved plan that cannot be read.
    #[cfg(feature = "aws")]
    #[error("{}: {source}", path.display())]
    SavedPlan { path: PathBuf, source: crate::plan::saved::SavedPlanError },
    /// A saved plan for another place.
    #[cfg(feature = "aws")]
    #[error("the plan is for {planned}, this is {here}; nothing was done")]
    WrongScope { planned: String, here: String },
    /// No such instance.
    #[cfg(feature = "aws")]
    #[error("no instance `{name}` in {scope}")]
    NoInstance { name: String, scope: String },
    /// Several instances with that name.
    #[cfg(feature = "aws")]
    #[error("several instances are called `{name}`: {}", ids.join(", "))]
    SeveralInstances { name: String, ids: Vec<String> },
    /// A question that nobody can answer.
    #[cfg(feature = "aws")]
    #[error("nobody is there to confirm: standard input is not a terminal")]
    CannotAsk,
    /// The embedded fleet is for this machine only.
    #[cfg(feature = "sim")]
    #[error("the embedded fleet does not listen on {address}: it is for this machine only")]
    NotLoopback { address: std::net::SocketAddr },
    /// Real Windows hosts were asked for.
    #[cfg(feature = "sim")]
    #[error("there are no real Windows hosts here: {0}")]
    NoWinhost(#[from] crate::sim::windows::WhyNot),
    /// Ctrl-C.
    #[cfg(feature = "aws")]
    #[error("interrupted; nothing was changed")]
    Interrupted,
    /// The demo tells a story, which has no JSON.
    #[cfg(all(feature = "aws", feature = "sim"))]
    #[error("`demo` has no JSON form")]
    DemoHasNoJson,
    /// The embedded fleet did not do what the demo expects of it.
    #[cfg(all(feature = "aws", feature = "sim"))]
    #[error("the embedded fleet did not converge; this is a defect of proxyfleet")]
    DemoDidNotConverge,
    /// Everybody came to where the plan wanted them.
    #[cfg(feature = "aws")]
    #[error("nobody is left to be tried again: everybody whom run {run} meant to change converged")]
    NothingToRetry { run: String },
    /// Journals.
    #[error(transparent)]
    Journal(#[from] crate::journal::JournalError),
    /// Something with the operating system.
    #[cfg(any(feature = "aws", feature = "sim"))]
    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },
    /// AWS.
    #[cfg(feature = "aws")]
    #[error(transparent)]
    Aws(#[from] crate::aws::AwsError),
}

impl CliError {
    /// What to do about it.
    fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Read { .. } => "give the path of a policy file or of a folder with policies",
            Self::NoPolicies { .. } => "policies are files named *.yaml or *.yml",
            Self::NoPolicy { known, .. } => return Some(format!("there are {}", known.join(", "))),
            Self::NotTargeted { targets, .. } => {
                let names: Vec<&str> = targets.iter().map(|platform| platform.name()).collect();
                return Some(format!("it is for {}; `targets.platforms` says so", names.join(", ")));
            }
            Self::NothingToWrite { .. } => "an instance that was never given settings has none to take away",
            Self::UserData(UserDataError::TooLarge { .. }) => "make the bypass list of the policy shorter",
            Self::UserData(UserDataError::NoComponent { .. }) => "name others under `components`",
            Self::UserData(UserDataError::NoParts { .. }) => "leave out `--as mime-part`",
            Self::Policies { .. } | Self::NoDocument { .. } => return None,
            Self::Journal(error) => return Some(error.remedy()),
            #[cfg(any(feature = "aws", feature = "sim"))]
            Self::Io { .. } => return None,
            #[cfg(feature = "aws")]
            Self::Write { .. } | Self::Interrupted => return None,
            #[cfg(feature = "aws")]
            Self::NothingToRetry { .. } => "run `proxyfleet plan` to see whether anything has changed since",
            #[cfg(feature = "aws")]
            Self::Conflicts { .. } => "give one of them another `priority`, or narrow its `targets`",
            #[cfg(feature = "aws")]
            Self::WrongAccount { .. } | Self::WrongScope { .. } => "check AWS_PROFILE, --profile and --region",
            #[cfg(feature = "aws")]
            Self::SavedPlan { .. } => "make the plan again with `proxyfleet plan --out FILE`",
            #[cfg(feature = "aws")]
            Self::NoInstance { .. } => "give an instance id or the value of a Name tag",
            #[cfg(feature = "aws")]
            Self::SeveralInstances { .. } => "give one of the ids",
            #[cfg(feature = "aws")]
            Self::CannotAsk => "read the plan, then run again with --yes",
            #[cfg(feature = "sim")]
            Self::NoWinhost(_) => {
                "install wine (Debian: apt-get install --no-install-recommends wine64 wine), name the tool's folder in \
                 PROXYFLEET_WINHOST, or leave out --winhost for modelled hosts"
            }
            #[cfg(feature = "sim")]
            Self::NotLoopback { .. } => "give a loopback address, such as 127.0.0.1:4570",
            #[cfg(all(feature = "aws", feature = "sim"))]
            Self::DemoHasNoJson => "use `plan --sim --format json` or `apply --sim --format json`",
            #[cfg(all(feature = "aws", feature = "sim"))]
            Self::DemoDidNotConverge => "please report it with the output above",
            #[cfg(feature = "aws")]
            Self::Aws(error) => return Some(error.remedy()),
        };
        Some(text.to_owned())
    }

    /// The error as it is shown.
    pub(super) fn text(&self, width: usize) -> String {
        if let Self::Policies { files, diagnostics } = self {
            return diagnostics_text(files, diagnostics, width);
        }
        error_text(&self.to_string(), self.remedy().as_deref(), width)
    }
}
