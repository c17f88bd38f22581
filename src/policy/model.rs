//! The checked model of a policy. A value of these types cannot be wrong: everything is parsed once, at the border.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

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

/// Characters of a tag key in EC2.
pub(super) const MAX_TAG_KEY: usize = 128;

/// Whether a tag of AWS can have this key.
pub fn is_tag_key(text: &str) -> bool {
    !text.is_empty() && text.chars().count() <= MAX_TAG_KEY
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

/// How a rollout proceeds, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// How many instances are changed when each wave is over. The last is everybody.
    pub waves: Waves,
    /// How many instances may be worked on at the same time. Never zero.
    pub max_concurrency: Count,
    /// How many instances of one cluster, availability zone or Auto Scaling group a wave may take, at least one.
    pub max_unavailable: Count,
    /// The same for instances whose Docker restarts.
    pub docker_max_unavailable: Count,
    /// The tag whose values name the ECS clusters.
    pub spread_by: String,
    /// How many instances may end in each bad way before no further one is started.
    pub budgets: Budgets,
    /// How long a wave is left alone before it is looked at again and the next one begins.
    pub soak: Duration,
    /// What else is asked before the next wave begins.
    pub gate: Option<Gate>,
    /// A CloudWatch alarm that stops commands while it is in alarm.
    pub alarm: Option<String>,
    /// What happens when a rollout must not go on.
    pub on_failure: OnFailure,
}

impl Rollout {
    /// The tag that names the cluster, unless a policy says otherwise.
    pub const DEFAULT_SPREAD_BY: &str = "Cluster";
    /// The longest soak.
    pub const MAX_SOAK: Duration = Duration::from_hours(24);
    /// How long a soak may be.
    pub const SOAKS: RangeInclusive<Duration> = Duration::ZERO..=Self::MAX_SOAK;
    /// Characters of the name of a CloudWatch alarm.
    pub(super) const MAX_ALARM: usize = 255;

    /// Whether a CloudWatch alarm can have this name.
    pub fn is_alarm(name: &str) -> bool {
        (1..=Self::MAX_ALARM).contains(&name.chars().count()) && !name.contains(char::is_control)
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            waves: Waves::default(),
            max_concurrency: Count::Percent(10),
            max_unavailable: Count::Percent(25),
            docker_max_unavailable: Count::Percent(10),
            spread_by: Self::DEFAULT_SPREAD_BY.to_owned(),
            budgets: Budgets::all(Count::Absolute(0)),
            soak: Duration::ZERO,
            gate: None,
            alarm: None,
            on_failure: OnFailure::Halt,
        }
    }
}

/// How many instances are changed when each wave is over, counted from the start of the rollout. Never empty; the last is
/// [`Waves::EVERYBODY`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waves(Vec<Count>);

impl Waves {
    /// Where every rollout ends.
    pub const EVERYBODY: Count = Count::Percent(100);

    /// Wraps what the waves end with. `None` unless the last is everybody, none is nobody and, counts among counts and shares
    /// among shares, each is more than those before.
    pub fn new(ends: Vec<Count>) -> Option<Self> {
        let right = |(wave, end): (usize, &Count)| end.number() > 0 && Self::not_beyond(&ends[..wave], *end).is_none();
        (ends.iter().enumerate().all(right) && ends.last() == Some(&Self::EVERYBODY)).then_some(Self(ends))
    }

    /// The wave before that one which ends with `end` must go beyond and does not: the last that ends with a count as it does, or
    /// with a share as it does. Nobody can say whether 5 are more than 10% before the fleet is known.
    pub(super) fn not_beyond(before: &[Count], end: Count) -> Option<Count> {
        let is_share = |count: Count| matches!(count, Count::Percent(_));
        let earlier = before.iter().rev().copied().find(|earlier| is_share(*earlier) == is_share(end))?;
        (earlier.number() >= end.number()).then_some(earlier)
    }

    /// What each wave ends with.
    pub fn ends(&self) -> &[Count] {
        &self.0
    }
}

impl Default for Waves {
    fn default() -> Self {
        Self(vec![Count::Absolute(1), Count::Percent(10), Count::Percent(50), Self::EVERYBODY])
    }
}

/// How many instances of a rollout may end in each bad way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Refused, or not what they should be.
    pub failed: Count,
    /// Put back by themselves, because the change did not work.
    pub rolled_back: Count,
    /// Do not answer any more.
    pub unreachable: Count,
    /// Nobody can find out.
    pub unknown: Count,
}

impl Budgets {
    /// The same for every way.
    pub const fn all(count: Count) -> Self {
        Self { failed: count, rolled_back: count, unreachable: count, unknown: count }
    }
}

/// A command of the operator's, run where proxyfleet runs: exit code 0 lets the next wave begin, 1 fails the rollout, 2 holds
/// it, and so does no answer in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The program and its arguments. Never empty.
    pub command: Vec<String>,
    /// How long one run of it may take.
    pub timeout: Duration,
    /// How long the rollout is held altogether before it counts as failed.
    pub hold: Duration,
}

impl Gate {
    /// How long one run may take, unless a policy says otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_mins(1);
    /// How long a rollout is held, unless a policy says otherwise.
    pub const DEFAULT_HOLD: Duration = Duration::from_mins(30);
    /// How long one run may take.
    pub const TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(1);
    /// How long a rollout may be held.
    pub const HOLDS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(24);

    /// Whether something can be started with these words: there is a program, and nothing that no system passes on.
    pub fn is_command(words: &[String]) -> bool {
        words.first().is_some_and(|program| !program.is_empty()) && !words.iter().any(|word| word.contains('\0'))
    }
}

/// What happens when a rollout must not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Nothing further is changed; what was changed stays.
    #[default]
    Halt,
    /// What this rollout changed is put back.
    Rollback,
}

impl OnFailure {
    /// Every choice, in the order in which helps list them.
    pub const ALL: [Self; 2] = [Self::Halt, Self::Rollback];

    /// The word used in policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Rollback => "rollback",
        }
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
    /// Reads what `Display` writes: a number, or `0%` to `100%`, without sign, blank, fraction or leading zero.
    pub fn parse(text: &str) -> Option<Self> {
        let count = match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Absolute),
        };
        count.filter(|count| count.to_string() == text)
    }

    /// The number alone, whether of instances or of a hundred.
    pub const fn number(self) -> u32 {
        match self {
            Self::Absolute(count) => count,
            Self::Percent(percent) => percent as u32,
        }
    }

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts() -> impl Strategy<Value = Count> {
        prop_oneof![any::<u32>().prop_map(Count::Absolute), (0u8..=100).prop_map(Count::Percent)]
    }

    #[test]
    fn counts_are_whole_and_plain() {
        let count = |text| Count::parse(text);
        assert_eq!(["0%", "1%", "100%"].map(count), [0, 1, 100].map(|percent| Some(Count::Percent(percent))));
        assert_eq!(["0", "7", "4294967295"].map(count), [0, 7, u32::MAX].map(|number| Some(Count::Absolute(number))));
        for text in ["", "%", "101%", "010", "010%", "+1", "+1%", "-1%", "1.5%", "10 %", "300%", "4294967296"] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    #[test]
    fn waves_rise_to_everybody() {
        let waves = |text: &str| Waves::new(text.split(' ').map(|word| Count::parse(word).expect("a count")).collect());
        for text in ["100%", "1 10% 50% 100%", "5% 3 10% 4 100%", "1 2 3 100%", "1000 1% 100%"] {
            assert!(waves(text).is_some(), "{text}");
        }
        for text in
            ["1", "50%", "0 100%", "1 0% 100%", "1 1 100%", "2 10% 1 100%", "50% 1 50% 100%", "100% 5", "100% 100%"]
        {
            assert!(waves(text).is_none(), "{text}");
        }
        assert_eq!(Waves::new(Vec::new()), None);
    }

    #[test]
    fn defaults_are_what_may_be_written() {
        let default = Rollout::default();
        assert_eq!(Waves::new(default.waves.ends().to_vec()), Some(default.waves));
        assert!(is_tag_key(&default.spread_by) && Rollout::SOAKS.contains(&default.soak));
        assert!(Gate::TIMEOUTS.contains(&Gate::DEFAULT_TIMEOUT) && Gate::HOLDS.contains(&Gate::DEFAULT_HOLD));
    }

    proptest! {
        #[test]
        fn a_count_is_read_as_it_is_written(count in counts()) {
            prop_assert_eq!(Count::parse(&count.to_string()), Some(count));
        }
    }
}
