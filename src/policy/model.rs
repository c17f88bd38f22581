//! The checked model of a policy. A value of these types cannot be wrong: everything is parsed once, at the border.

use std::collections::BTreeMap;
use std::fmt;

use crate::catalog::{Component, Platform, ProxyValues};

/// All policies of one run, checked together.
#[derive(Clone, Debug, Default)]
pub struct PolicySet {
    /// In the order of files and documents.
    pub policies: Vec<Policy>,
}

impl PolicySet {
    /// The policy called `name`.
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.name.as_str() == name)
    }
}

/// One policy.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name, unique in the set.
    pub name: PolicyName,
    /// A sentence for people.
    pub description: Option<String>,
    /// Where it was written.
    pub origin: Origin,
    /// Which instances it is for.
    pub targets: Targets,
    /// What it wants there.
    pub state: DesiredState,
    /// Which components it governs. Never empty.
    pub components: Components,
    /// What to do when Docker must start again to read a change.
    pub docker_restart: DockerRestart,
    /// Whether an instance tries the proxy before anything is written.
    pub preflight: Preflight,
    /// Limits of a rollout.
    pub rollout: Rollout,
    /// The higher number wins where several policies match one instance. [`Policy::DEFAULT_PRIORITY`] where none is given.
    pub priority: i64,
}

impl Policy {
    /// The priority of a policy that names none. In the middle, so that there is room below and above.
    pub const DEFAULT_PRIORITY: i64 = 100;
}

/// A set of components, in catalogue order, never empty, each once.
pub type Components = Vec<Component>;

/// The name of a policy: 1 to 64 lower-case letters, digits and dashes, starting with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(String);

impl PolicyName {
    /// Checks and wraps a name.
    pub fn parse(text: &str) -> Option<Self> {
        let starts_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let all_well = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (starts_well && all_well && text.len() <= 64).then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// The place where a policy is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file, as it was named to us.
    pub file: String,
    /// The line of the policy's first key, from 1.
    pub line: usize,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// Which instances a policy is for.
#[derive(Clone, Debug)]
pub struct Targets {
    /// All of these must match.
    pub tags: Selector,
    /// None of these may match: an instance is excluded when any one key of it matches.
    pub exclude: Selector,
    /// The platforms, in catalogue order, never empty.
    pub platforms: Vec<Platform>,
}

impl Targets {
    /// Whether the tags of an instance are those of a target; the platform is not looked at.
    pub fn matches_tags(&self, tags: &BTreeMap<String, String>) -> bool {
        let matches =
            |(key, matcher): (&String, &TagMatcher)| tags.get(key).is_some_and(|value| matcher.matches(value));
        self.tags.0.iter().all(matches) && !self.exclude.0.iter().any(matches)
    }
}

/// Tag keys and what their values must be.
#[derive(Clone, Debug, Default)]
pub struct Selector(pub BTreeMap<String, TagMatcher>);

/// What the value of one tag must be: any one of several patterns in which `*` stands for any text and `?` for one character.
#[derive(Clone, Debug)]
pub struct TagMatcher {
    patterns: Vec<Pattern>,
}

/// One value of a tag matcher.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Without wildcards.
    Literal(String),
    /// With wildcards; the text as it was written, and compiled.
    Wildcard(String, globset::GlobMatcher),
}

impl TagMatcher {
    /// Builds a matcher from the values as written. `*` and `?` are the only special characters.
    pub fn new<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { patterns: values.into_iter().map(Pattern::new).collect() }
    }

    /// Whether a tag with this value is meant.
    pub fn matches(&self, value: &str) -> bool {
        self.patterns.iter().any(|pattern| match pattern {
            Pattern::Literal(literal) => literal == value,
            Pattern::Wildcard(_, glob) => glob.is_match(value),
        })
    }

    /// The patterns, as written.
    pub fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        if !text.contains(['*', '?']) {
            return Self::Literal(text.to_owned());
        }
        let mut escaped = String::with_capacity(text.len() + 8);
        for character in text.chars() {
            if matches!(character, '[' | ']' | '{' | '}' | '\\' | '!') {
                escaped.push('\\');
            }
            escaped.push(character);
        }
        let glob = globset::GlobBuilder::new(&escaped)
            .literal_separator(false)
            .backslash_escape(true)
            .build()
            .expect("invariant: every special character but * and ? was escaped");
        Self::Wildcard(text.to_owned(), glob.compile_matcher())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Literal(text) | Self::Wildcard(text, _) => text,
        }
    }
}

/// What a policy wants of its instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredState {
    /// The settings are there.
    Present(Proxy),
    /// The settings that proxyfleet wrote are taken away again.
    Absent,
}

impl DesiredState {
    /// The values to write, where there are any.
    pub fn values(&self) -> Option<ProxyValues> {
        match self {
            Self::Present(proxy) => Some(ProxyValues::new(
                proxy.http.as_str().to_owned(),
                proxy.https.as_str().to_owned(),
                proxy.no_proxy.iter().map(String::as_str),
            )),
            Self::Absent => None,
        }
    }
}

/// The proxy a policy wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// For http targets.
    pub http: ProxyUrl,
    /// For https targets.
    pub https: ProxyUrl,
    /// What bypasses it, besides [`crate::catalog::ALWAYS_BYPASSED`]. Each entry is one that every consumer honours.
    pub no_proxy: Vec<String>,
}

/// A proxy URL: scheme `http` (or `https` where the policy says `tls_to_proxy: true`), host and port, nothing else.
/// It cannot hold credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProxyUrl(String);

impl ProxyUrl {
    /// Wraps a URL that the checks have passed, without its final slash.
    pub(super) fn checked(text: &str) -> Self {
        Self(text.strip_suffix('/').unwrap_or(text).to_owned())
    }

    /// The URL as it is written to instances.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// What to do when Docker must start again. A restart of Docker stops every task on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub enum DockerRestart {
    /// Restart it.
    Allow,
    /// Write the files, report the restart as pending.
    #[default]
    Defer,
}

impl DockerRestart {
    /// Every choice, in the order in which helps list them.
    pub const ALL: [Self; 2] = [Self::Allow, Self::Defer];

    /// The word used in policies and document parameters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Defer => "defer",
        }
    }
}

/// Whether an instance tries the new proxy before anything is written (decision D7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub enum Preflight {
    /// Unreachable: nothing is changed.
    #[default]
    Require,
    /// Not tried.
    Skip,
}

impl Preflight {
    /// Every choice, in the order in which helps list them.
    pub const ALL: [Self; 2] = [Self::Require, Self::Skip];

    /// The word used in policies and document parameters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Skip => "skip",
        }
    }
}

/// Limits of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// How many instances may be worked on at the same time. Never zero.
    pub max_concurrency: Count,
    /// How many instances may fail before no further one is started.
    pub max_errors: Count,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { max_concurrency: Count::Percent(10), max_errors: Count::Absolute(0) }
    }
}

/// A number of instances, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// So many.
    Absolute(u32),
    /// So many of a hundred, 0 to 100.
    Percent(u8),
}

impl Count {
    /// The number of instances out of `total`, rounded down.
    pub fn of(self, total: usize) -> usize {
        match self {
            Self::Absolute(count) => count as usize,
            Self::Percent(percent) => total * usize::from(percent) / 100,
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(count) => write!(formatter, "{count}"),
            Self::Percent(percent) => write!(formatter, "{percent}%"),
        }
    }
}
