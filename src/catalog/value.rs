//! The values a policy gives to settings, and when two values are the same.

use super::Key;

/// Addresses that must never go through a proxy, for every consumer: instance metadata and task credentials
/// (proxy-by-os G4, 4.5).
pub const ALWAYS_BYPASSED: [&str; 2] = ["169.254.169.254", "169.254.170.2"];

/// The entry that the ECS agent's documentation asks for on Linux (proxy-by-os S17).
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueRule {
    /// The proxy for http targets.
    HttpProxy,
    /// The proxy for https targets.
    HttpsProxy,
    /// The bypass list with [`ALWAYS_BYPASSED`].
    Bypass,
    /// The same, and [`DOCKER_SOCKET`].
    BypassWithSocket,
}

impl ValueRule {
    /// The word used in the generated tables of the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpProxy => "http",
            Self::HttpsProxy => "https",
            Self::Bypass => "bypass",
            Self::BypassWithSocket => "bypass-socket",
        }
    }
}

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueKind {
    /// Compared byte for byte.
    Url,
    /// A comma-separated list, compared as a set without regard to case (proxy-by-os 11.3).
    List,
}

impl ValueKind {
    /// Whether `left` and `right` mean the same to every consumer.
    pub fn same(self, left: &str, right: &str) -> bool {
        match self {
            Self::Url => left == right,
            Self::List => left == right || normalise_list(left) == normalise_list(right),
        }
    }
}

/// The canonical form of a bypass list: split at commas, blanks trimmed, empty entries dropped, lower case, sorted, each once.
pub fn normalise_list(list: &str) -> String {
    let mut entries: Vec<String> = list
        .split(',')
        .map(|entry| entry.trim_matches([' ', '\t']).to_ascii_lowercase())
        .filter(|entry| !entry.is_empty())
        .collect();
    entries.sort_unstable();
    entries.dedup();
    entries.join(",")
}

/// What a policy with `state: present` wants its instances to use, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProxyValues {
    /// Proxy URL for http targets: scheme, host and port, without credentials and without a final slash.
    pub http: String,
    /// Proxy URL for https targets.
    pub https: String,
    /// The bypass list without the docker socket, [`ALWAYS_BYPASSED`] first, no blanks.
    pub bypass: String,
}

impl ProxyValues {
    /// Builds the values from two checked URLs and the policy's own bypass entries; drops repeated entries.
    pub fn new<'a>(http: String, https: String, bypass: impl IntoIterator<Item = &'a str>) -> Self {
        let mut entries: Vec<&str> = ALWAYS_BYPASSED.to_vec();
        for entry in bypass {
            if entry != DOCKER_SOCKET && !entries.iter().any(|known| known.eq_ignore_ascii_case(entry)) {
                entries.push(entry);
            }
        }
        Self { http, https, bypass: entries.join(",") }
    }

    /// The value of a setting that follows `rule`.
    pub fn value(&self, rule: ValueRule) -> String {
        match rule {
            ValueRule::HttpProxy => self.http.clone(),
            ValueRule::HttpsProxy => self.https.clone(),
            ValueRule::Bypass => self.bypass.clone(),
            ValueRule::BypassWithSocket => format!("{},{DOCKER_SOCKET}", self.bypass),
        }
    }
}

/// The three environment variables with the value rules of a consumer that also wants the docker socket or not.
pub(super) const fn variables(bypass: ValueRule) -> [super::Setting; 3] {
    [
        super::Setting { key: Key::HttpProxy, rule: ValueRule::HttpProxy },
        super::Setting { key: Key::HttpsProxy, rule: ValueRule::HttpsProxy },
        super::Setting { key: Key::NoProxy, rule: bypass },
    ]
}
