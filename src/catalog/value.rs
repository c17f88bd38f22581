//! The values a policy gives to settings, and when two values are the same.

use super::Key;

/// Addresses that must never go through a proxy, for every consumer: instance metadata and task credentials
/// (proxy-by-os G4, 4.5).
pub const ALWAYS_BYPASSED: [&str; 2] = ["169.254.169.254", "169.254.170.2"];

/// The entry that the ECS agent's documentation asks for on Linux (proxy-by-os S17).
pub const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// The entry that the ECS agent's documentation asks for on Windows (proxy-by-os S17).
pub const DOCKER_PIPE: &str = r"\\.\pipe\docker_engine";

/// What a document parameter with a proxy URL may be (decision D2, proxy-by-os 12.3). For the regular expressions of both
/// Java and Go, so without look-around and with no count above 1,000. [`is_proxy_url`] is the same in code.
pub const PROXY_URL_PATTERN: &str =
    r"^https?://([A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]):[0-9]{1,5}$";

/// What a document parameter with a bypass list may be: neither `*` nor the backslash of a Windows pipe, which the scripts add
/// themselves. Its length is limited by [`MAX_BYPASS_CHARS`]. [`is_no_proxy`] is the same in code.
pub const NO_PROXY_PATTERN: &str = r"^[A-Za-z0-9._:/,-]*$";

/// How many characters a bypass list may have, the docker socket included. SSM allows 64 KB for all parameters of a
/// command together; this is far more than any program needs and far less than an environment can hold.
pub const MAX_BYPASS_CHARS: usize = 2_000;

/// Whether `text` matches [`PROXY_URL_PATTERN`].
pub fn is_proxy_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else { return false };
    let Some((host, port)) = rest.rsplit_once(':') else { return false };
    let port_fits = (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit());
    let host_fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => {
            (2..=45).contains(&address.len())
                && address.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        None => is_host(host),
    };
    host_fits && port_fits
}

fn is_host(host: &str) -> bool {
    let ends_fit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = host.as_bytes();
    bytes.len() <= 254
        && ends_fit(bytes.first())
        && ends_fit(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

/// Whether `text` matches [`NO_PROXY_PATTERN`].
pub fn is_no_proxy(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'/' | b',' | b'-'))
}

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
    /// The same as [`ValueRule::Bypass`], and [`DOCKER_PIPE`].
    BypassWithPipe,
    /// The bypass list for programs of every kind, [`Dialect::DotNet`] included, and [`DOCKER_PIPE`].
    BypassForAll,
}

impl ValueRule {
    /// The word used in the generated tables of the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::HttpProxy => "http",
            Self::HttpsProxy => "https",
            Self::Bypass => "bypass",
            Self::BypassWithSocket => "bypass-socket",
            Self::BypassWithPipe => "bypass-pipe",
            Self::BypassForAll => "bypass-all",
        }
    }
}

impl ValueRule {
    /// The way in which the readers of a value that follows this rule understand a bypass list; `None` for a URL.
    pub const fn dialect(self) -> Option<Dialect> {
        match self {
            Self::HttpProxy | Self::HttpsProxy => None,
            Self::Bypass | Self::BypassWithSocket | Self::BypassWithPipe => Some(Dialect::Go),
            Self::BypassForAll => Some(Dialect::DotNet),
        }
    }
}

/// How a consumer reads a bypass list (proxy-by-os 8.7, 11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// Docker, the ECS agent, the SSM agent, yum, curl: `d.com` is the host and everything below it, `.d.com` what is below.
    Go,
    /// Programs on .NET: `d.com` is the host alone, so that what is below it takes an entry of its own.
    DotNet,
    /// Windows itself, as `netsh winhttp` takes it: separated by `;`, and `*.d.com` for what is below.
    WinHttp,
}

impl Dialect {
    /// The list `bypass`, which is separated by commas and in the dialect of Go, so that readers of this dialect bypass the
    /// proxy for the same hosts; without the entries in [`Dialect::lost`].
    pub fn render(self, bypass: &str) -> String {
        let entries = bypass.split(',').filter(|entry| !entry.is_empty());
        match self {
            Self::Go => bypass.to_owned(),
            // The same list is read by programs in Go, to which nothing may be lost.
            Self::DotNet => with_subdomains(entries, |domain| format!(".{domain}")).join(","),
            Self::WinHttp => {
                let lost = self.lost(bypass);
                let kept = entries.filter(|entry| !lost.contains(entry));
                let entries: Vec<String> = kept
                    .map(|entry| if entry.starts_with('.') { format!("*{entry}") } else { entry.to_owned() })
                    .collect();
                with_subdomains(entries.iter().map(String::as_str), |domain| format!("*.{domain}")).join(";")
            }
        }
    }

    /// The entries of `bypass` that readers of this dialect do not understand.
    pub fn lost(self, bypass: &str) -> Vec<&str> {
        let is_understood = |entry: &&str| match self {
            Self::Go => true,
            // An IPv6 address contains colons; a network a slash. Neither dialect has a form for them.
            Self::DotNet | Self::WinHttp => !entry.contains([':', '/']),
        };
        bypass.split(',').filter(|entry| !entry.is_empty() && !is_understood(entry)).collect()
    }

    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::Go, Self::DotNet, Self::WinHttp];

    /// The word in saved plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::DotNet => "dotnet",
            Self::WinHttp => "winhttp",
        }
    }

    /// The dialect called `name` in a saved plan.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// The readers, for people.
    pub const fn readers(self) -> &'static str {
        match self {
            Self::Go => "programs in Go",
            Self::DotNet => ".NET programs",
            Self::WinHttp => "WinHTTP",
        }
    }
}

/// `entries`, and after each that is a domain the entry for what is below it, unless the list has that already.
fn with_subdomains<'a>(entries: impl Iterator<Item = &'a str>, below: impl Fn(&str) -> String) -> Vec<String> {
    let entries: Vec<&str> = entries.collect();
    let mut rendered = Vec::with_capacity(2 * entries.len());
    for entry in &entries {
        rendered.push((*entry).to_owned());
        let is_domain = !entry.starts_with(['.', '*'])
            && !entry.contains([':', '/'])
            && entry.bytes().any(|byte| !byte.is_ascii_digit() && byte != b'.');
        let wider = below(entry);
        if is_domain && !entries.iter().any(|known| known.eq_ignore_ascii_case(&wider)) {
            rendered.push(wider);
        }
    }
    rendered
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
    /// The word used in the edits that the scripts pass to the carrier functions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Url => "url",
            Self::List => "list",
        }
    }

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
            if entry != DOCKER_SOCKET
                && entry != DOCKER_PIPE
                && !entries.iter().any(|known| known.eq_ignore_ascii_case(entry))
            {
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
            ValueRule::BypassWithPipe => format!("{},{DOCKER_PIPE}", self.bypass),
            ValueRule::BypassForAll => format!("{},{DOCKER_PIPE}", Dialect::DotNet.render(&self.bypass)),
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn pattern(text: &str) -> Regex {
        Regex::new(text).expect("the pattern compiles")
    }

    #[test]
    fn patterns_are_anchored_and_have_no_count_above_what_go_accepts() {
        for text in [PROXY_URL_PATTERN, NO_PROXY_PATTERN] {
            assert!(text.starts_with('^') && text.ends_with('$'), "{text}");
            assert!(!text.contains("(?"), "no groups with flags or look-around: {text}");
            let counts = pattern(r"\{(\d+)(?:,(\d+))?\}");
            for count in counts.captures_iter(text).flat_map(|found| [found.get(1), found.get(2)]).flatten() {
                assert!(count.as_str().parse::<u32>().expect("digits") <= 1000, "{text}");
            }
        }
    }

    #[test]
    fn injection_attempts_are_refused() {
        for attempt in [
            "",
            "http://h:1;id",
            "http://h:1\n",
            "http://h:1\nx",
            "http://$(id):1",
            "http://`id`:1",
            "http://h:1 ",
            " http://h:1",
            "http://h",
            "http://h:",
            "http://h:123456",
            "http://u@h:1",
            "http://u:p@h:1",
            "http://h:1/",
            "http://-h:1",
            "http://{{ssm:x}}:1",
            "http://h':1",
            "http://h\":1",
            "http://h|:1",
            "http://h&:1",
            "http://%24:1",
            "ftp://h:1",
            "http://[::1:1",
            "http://::1]:1",
            "http://[]:1",
            "http://h\u{e4}:1",
            "http://h\0:1",
        ] {
            assert!(!is_proxy_url(attempt), "{attempt:?}");
            assert!(!pattern(PROXY_URL_PATTERN).is_match(attempt), "{attempt:?}");
        }
        for attempt in
            ["a b", "a;b", "$a", "`a`", "a\nb", "a\n", "*", "{{a}}", "a\\b", "'a'", "\"a\"", "a|b", "a&b", "a%b"]
        {
            assert!(!is_no_proxy(attempt), "{attempt:?}");
            assert!(!pattern(NO_PROXY_PATTERN).is_match(attempt), "{attempt:?}");
        }
    }

    #[test]
    fn each_dialect_bypasses_the_same_hosts() {
        let bypass = "169.254.169.254,.corp.example.com,registry.example.com,nas,fd00:ec2::254";
        for (dialect, rendered, lost) in [
            (Dialect::Go, bypass, &[][..]),
            (
                Dialect::DotNet,
                "169.254.169.254,.corp.example.com,registry.example.com,.registry.example.com,nas,.nas,fd00:ec2::254",
                &["fd00:ec2::254"][..],
            ),
            (
                Dialect::WinHttp,
                "169.254.169.254;*.corp.example.com;registry.example.com;*.registry.example.com;nas;*.nas",
                &["fd00:ec2::254"][..],
            ),
        ] {
            assert_eq!(dialect.render(bypass), rendered);
            assert_eq!(dialect.lost(bypass), lost);
        }
        assert_eq!(Dialect::DotNet.render("a.com,.A.com"), "a.com,.A.com", "nothing is there twice");
        assert_eq!(Dialect::Go.render(""), "");
        assert_eq!(Dialect::WinHttp.render(""), "");
    }

    proptest! {
        #[test]
        fn the_checks_equal_the_patterns(
            url in "(https?://)?\\[?[a-zA-F0-9.:-]{0,9}\\]?(:[0-9]{0,6})?[ /\n]?",
            list in "[a-zA-Z0-9._:/,* ;-]{0,20}",
        ) {
            prop_assert_eq!(is_proxy_url(&url), pattern(PROXY_URL_PATTERN).is_match(&url), "{}", url);
            prop_assert_eq!(is_no_proxy(&list), pattern(NO_PROXY_PATTERN).is_match(&list), "{}", list);
        }

        #[test]
        fn the_length_of_a_host_is_limited_alike(length in 250usize..260) {
            let url = format!("http://{}:1", "a".repeat(length));
            prop_assert_eq!(is_proxy_url(&url), pattern(PROXY_URL_PATTERN).is_match(&url));
        }
    }
}
