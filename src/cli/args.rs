//! The command line.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};

#[cfg(feature = "aws")]
use crate::aws::LONGEST_REASON;
use crate::catalog::Platform;
use crate::document::ClusterName;
#[cfg(feature = "aws")]
use crate::policy::PolicyName;
use crate::report::ColorChoice;
#[cfg(feature = "sim")]
use crate::sim::Faults;

/// Keeps the HTTP proxy settings of a fleet of container instances equal to YAML policies, through AWS Systems Manager.
#[derive(Debug, Parser)]
#[command(name = "proxyfleet", version, about, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 all is well, 1 error, 2 `plan` found changes, 3 some instance did not converge.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(super) format: Format,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(super) color: ColorChoice,
    /// Say more while working: which API calls were made, and how often they were throttled.
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Format {
    /// For people.
    #[default]
    Text,
    /// For machines; the `format` key names the version.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Check policies. Needs no AWS access.
    Validate(Validate),
    /// Print the JSON Schema of policy files.
    Schema,
    /// Print what a policy makes of an instance, without one: user data, files, documents. Needs no AWS access.
    #[command(subcommand)]
    Render(Render),
    /// Observe the fleet and show what would change. Changes nothing.
    #[cfg(feature = "aws")]
    Plan(Plan),
    /// Show what would change, ask, carry it out and observe again.
    #[cfg(feature = "aws")]
    Apply(Apply),
    /// Explain one instance: which policy, why, and every setting.
    #[cfg(feature = "aws")]
    Explain(Explain),
    /// Stop every run, or those of one policy, wherever they are: no further change is sent until `resume`.
    #[cfg(feature = "aws")]
    Halt(Halt),
    /// Take a `halt` back.
    #[cfg(feature = "aws")]
    Resume(Resume),
    /// List the runs that changed something, or tell one of them again.
    History(History),
    /// Serve an embedded fleet on a loopback port, for trying things out.
    #[cfg(feature = "sim")]
    Sim(Sim),
    /// Tell the whole story on an embedded fleet, in less than a minute.
    #[cfg(all(feature = "aws", feature = "sim"))]
    Demo(Demo),
}

#[derive(Debug, Args)]
pub(super) struct Policies {
    /// Policy files, and folders that are searched for `*.yaml` and `*.yml`.
    #[arg(value_name = "PATH", default_value = "policies")]
    pub(super) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Validate {
    #[command(flatten)]
    pub(super) policies: Policies,
}

#[derive(Debug, Subcommand)]
pub(super) enum Render {
    /// The user data with which a new instance is born with the settings of a policy.
    UserData(RenderUserData),
    /// Every file with proxy settings as it would look on an empty host.
    Files(RenderFiles),
    /// An SSM document as it is published.
    Document(RenderDocument),
}

/// Which policy, on which platform.
#[derive(Debug, Args)]
pub(super) struct PolicyOnPlatform {
    #[command(flatten)]
    pub(super) policies: Policies,
    /// The name of the policy.
    #[arg(long, value_name = "NAME")]
    pub(super) policy: String,
    /// The system of the instances.
    #[arg(long, value_parser = platforms())]
    pub(super) platform: Platform,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The user data may run at every boot: it repairs what was changed since, and restarts only what already \
    runs. On Linux it waits for nothing."
)]
pub(super) struct RenderUserData {
    #[command(flatten)]
    pub(super) what: PolicyOnPlatform,
    /// The ECS cluster to join, where the instance does not name one itself.
    #[arg(long, value_name = "NAME", value_parser = cluster)]
    pub(super) cluster: Option<ClusterName>,
    /// What the user data is wanted as.
    #[arg(long = "as", value_enum, default_value_t, value_name = "FORM")]
    pub(super) form: UserDataForm,
}

/// What user data is wanted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum UserDataForm {
    /// The whole user data of an instance.
    #[default]
    Whole,
    /// One part of a MIME multi-part message, its headers included; not on Windows.
    MimePart,
    /// The script inside, for reading.
    Script,
}

#[derive(Debug, Args)]
pub(super) struct RenderFiles {
    #[command(flatten)]
    pub(super) what: PolicyOnPlatform,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct RenderDocument {
    /// The document that changes instances with this system.
    #[arg(long, value_parser = platforms())]
    pub(super) platform: Option<Platform>,
    /// The document that looks.
    #[arg(long)]
    pub(super) observe: bool,
}

/// A platform by its name.
fn platforms() -> impl TypedValueParser<Value = Platform> {
    PossibleValuesParser::new(Platform::ALL.map(Platform::name))
        .map(|name| Platform::from_name(&name).expect("invariant: clap lets only these names through"))
}

fn cluster(text: &str) -> Result<ClusterName, &'static str> {
    ClusterName::parse(text).ok_or("the name of a cluster has 1 to 255 letters, digits, `-` and `_`")
}

/// Which fleet.
#[cfg(feature = "aws")]
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// The region [default: as the AWS SDK finds it].
    #[arg(long, value_name = "REGION")]
    pub(super) region: Option<String>,
    /// The profile of the shared AWS configuration.
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// Talk to a server on a loopback address instead of AWS, such as one started with `proxyfleet sim`.
    #[arg(long, value_name = "URL")]
    pub(super) endpoint_url: Option<String>,
    /// Refuse to run in any other account.
    #[arg(long, value_name = "ACCOUNT")]
    pub(super) expect_account: Option<String>,
    /// Use an embedded fleet of N instances inside this process instead of AWS.
    #[cfg(feature = "sim")]
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "24",
        conflicts_with_all = ["endpoint_url", "profile", "region"]
    )]
    pub(super) sim: Option<usize>,
    /// Which embedded fleet.
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "S", default_value_t = 7, requires = "sim")]
    pub(super) seed: u64,
    /// How many Windows instances of the embedded fleet are real hosts under wine.
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "M", default_value_t = 0, requires = "sim")]
    pub(super) winhost: usize,
    /// What goes wrong in the embedded fleet, such as `throttle=10%,reboots=1%`; `sim --help` lists what can.
    #[cfg(feature = "sim")]
    #[arg(long, value_name = "LIST", requires = "sim")]
    pub(super) faults: Option<Faults>,
}

#[cfg(feature = "aws")]
#[derive(Debug, Args)]
pub(super) struct Plan {
    #[command(flatten)]
    pub(super) policies: Policies,
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Save the plan to a file, for `apply --plan`.
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
}

#[cfg(feature = "aws")]
#[derive(Debug, Args)]
pub(super) struct Apply {
    /// Policy files, and folders that are searched for `*.yaml` and `*.yml` [default: policies].
    #[arg(value_name = "PATH", conflicts_with = "plan")]
    pub(super) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) connection: Connection,
    /// Carry out a saved plan. Instances that are no longer what it saw are refused.
    #[arg(long, value_name = "FILE")]
    pub(super) plan: Option<PathBuf>,
    /// Change only whom an earlier run did not bring to where its plan wanted them: its id, the beginning of it, or `last`.
    #[arg(long, value_name = "RUN", conflicts_with = "plan")]
    pub(super) retry_failed: Option<String>,
    /// Do not ask.
    #[arg(short, long)]
    pub(super) yes: bool,
    /// End with 3 as well when an instance that a policy is for was left out.
    #[arg(long)]
    pub(super) require_all: bool,
    #[command(flatten)]
    pub(super) state: State,
}

#[cfg(feature = "aws")]
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The id of the instance, or its Name tag.
    #[arg(value_name = "INSTANCE")]
    pub(super) instance: String,
    #[command(flatten)]
    pub(super) policies: Policies,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[cfg(feature = "aws")]
#[derive(Debug, Args)]
#[command(
    after_help = "The halt is a parameter in Parameter Store, so it holds for every run in this account and region. Without \
    proxyfleet at hand: aws ssm put-parameter --name /proxyfleet/halt/all --type String --value REASON"
)]
pub(super) struct Halt {
    /// Halt the runs of this policy only [default: all].
    #[arg(long, value_name = "NAME", value_parser = policy_name)]
    pub(super) policy: Option<PolicyName>,
    /// Why, for whoever finds a run stopped.
    #[arg(long, value_name = "TEXT", value_parser = reason, required_unless_present = "list")]
    pub(super) reason: Option<String>,
    /// Put this halt in the place of one that is there already.
    #[arg(long)]
    pub(super) replace: bool,
    /// Halt nothing; show what is halted.
    #[arg(long, conflicts_with_all = ["policy", "reason", "replace"])]
    pub(super) list: bool,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[cfg(feature = "aws")]
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// Take back the halt of this policy [default: the halt of all].
    #[arg(long, value_name = "NAME", value_parser = policy_name)]
    pub(super) policy: Option<PolicyName>,
    #[command(flatten)]
    pub(super) connection: Connection,
}

#[cfg(feature = "aws")]
fn policy_name(text: &str) -> Result<PolicyName, &'static str> {
    PolicyName::parse(text).ok_or("the name of a policy has 1 to 64 lower-case letters, digits and dashes")
}

#[cfg(feature = "aws")]
fn reason(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("say in one line why".to_owned());
    }
    if text.chars().count() > LONGEST_REASON {
        return Err(format!("at most {LONGEST_REASON} characters"));
    }
    Ok(text.to_owned())
}

/// Where journals are.
#[derive(Debug, Args)]
pub(super) struct State {
    /// The folder for journals [default: `$XDG_STATE_HOME/proxyfleet` or `~/.local/state/proxyfleet`].
    #[arg(long, value_name = "FOLDER", env = "PROXYFLEET_STATE_DIR", hide_env_values = true)]
    pub(super) state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// The id of a run, the beginning of one, or `last`. Without it runs are listed, the newest last.
    #[arg(value_name = "RUN")]
    pub(super) run: Option<String>,
    /// How many runs to list.
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "run")]
    pub(super) limit: usize,
    #[command(flatten)]
    pub(super) state: State,
}

/// What `--faults` takes, one fault a line.
#[cfg(feature = "sim")]
fn faults_help() -> String {
    format!(
        "What goes wrong, such as `throttle=10%,lost-replies=2%,reboots=1%`. The seed decides where and when:\n{}",
        Faults::help()
    )
}

#[cfg(feature = "sim")]
#[derive(Debug, Args)]
pub(super) struct Sim {
    /// How many instances.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub(super) instances: usize,
    /// Which fleet: the same seed gives the same fleet.
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub(super) seed: u64,
    /// How many Windows instances are real hosts under wine, which takes the tool `winhost`.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) winhost: usize,
    /// What goes wrong, such as `throttle=10%,lost-replies=2%,reboots=1%`.
    #[arg(long, value_name = "LIST", long_help = faults_help())]
    pub(super) faults: Option<Faults>,
    /// The loopback address to serve on.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4570")]
    pub(super) listen: std::net::SocketAddr,
}

#[cfg(all(feature = "aws", feature = "sim"))]
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How many instances.
    #[arg(long, value_name = "N", default_value_t = 24)]
    pub(super) instances: usize,
    /// Which fleet: the same seed gives the same fleet.
    #[arg(long, value_name = "S", default_value_t = 7)]
    pub(super) seed: u64,
}
