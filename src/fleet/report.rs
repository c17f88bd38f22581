//! The text that a document prints on an instance, and its parser (decision D9).
//!
//! A report is ASCII, at most [`REPORT_LIMIT_BYTES`] long, one fact a line, words separated by one blank. The first line
//! names the format, the kind and the platform; the last line is `end`, so that a cut report is noticed.
//!
//! ```text
//! proxyfleet/1 observe amazon-linux-2
//! s docker active                       service: active | inactive | due (stopped, but set to start by itself) | failed | absent
//! c docker PATH                         the carrier in use of a component that has a choice
//! = 1 http://10.0.0.131:3128            the value table; values may hold blanks, userinfo is masked as ***
//! = 2 #<32 hex digits>                  a value too long for a report: head of the SHA-256 of its normal form
//! k docker HTTP_PROXY 1 1 -             setting: carrier, loaded, running; N value, ~N malformed, - unset,
//!                                       . not applicable, ? unknown, + unproven until the service starts again
//! m docker HTTP_PROXY intact -          written by us: intact | changed, prior value N or - for none
//! f docker HTTP_PROXY overrides 1 PATH  another source: overrides | inert
//! b docker not-text PATH                the carrier cannot be edited, and why
//! end
//! ```
//!
//! A system that is not in the catalogue answers `proxyfleet/1 observe unsupported ID VERSION` and `end`.
//!
//! ```text
//! proxyfleet/1 apply amazon-linux-2 changed
//! w /etc/ecs/ecs.config HTTP_PROXY,NO_PROXY     keys written
//! x /etc/ecs/ecs.config HTTPS_PROXY             keys removed, or put back to what they were
//! r docker                                      service restarted
//! p docker                                      service whose restart is pending because the policy defers it
//! e text                                        detail of a refusal or failure
//! end
//! ```
//!
//! With `Action=put-back` the lines `w` say what was put back, and the keys are those that the run had touched.
//!
//! The word after the platform is `unchanged`, `changed`, or `refused`, `rolled-back` or `failed` and a reason.

use std::sync::Arc;

use crate::catalog::{Component, Key, Platform, Service};
use crate::fleet::{
    Blocker, ForeignEffect, ForeignSource, ManagedSetting, Observed, ObservedSetting, Prior, Seen, ServiceState, Truth,
};

/// The longest report a document may print, in bytes. The API keeps the first 2,500 of a step's output, stderr included
/// (aws-ssm-facts 4.9).
pub const REPORT_LIMIT_BYTES: usize = 2_400;

/// A text that is not a report.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReportError {
    /// Nothing was printed.
    #[error("the instance printed no report")]
    Empty,
    /// The first line is not one of ours.
    #[error("the output does not begin with a report line but with `{first_line}`")]
    NotAReport {
        /// The first line, shortened.
        first_line: String,
    },
    /// The last line is missing.
    #[error("the report was cut off after {bytes} bytes")]
    Truncated {
        /// Length of what arrived.
        bytes: usize,
    },
    /// The host runs a system that the catalogue does not have.
    #[error("the host runs {id} {version}, which proxyfleet does not manage")]
    UnsupportedSystem {
        /// `ID` of `/etc/os-release`.
        id: String,
        /// `VERSION_ID` of `/etc/os-release`.
        version: String,
    },
    /// A line breaks the grammar.
    #[error("line {line} of the report is not understood: `{text}`")]
    Malformed {
        /// Line number, from 1.
        line: usize,
        /// The line, shortened.
        text: String,
    },
}

/// What an apply document says it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplyReport {
    /// The platform the host found itself to be.
    pub platform: Platform,
    /// How it ended.
    pub result: ApplyResult,
    /// Files in which keys were written, with the keys.
    pub written: Vec<(String, Vec<Key>)>,
    /// Files from which keys were removed or put back to what they were, with the keys.
    pub removed: Vec<(String, Vec<Key>)>,
    /// Services that were restarted.
    pub restarted: Vec<Service>,
    /// Services whose restart is pending because the policy defers it.
    pub pending: Vec<Service>,
    /// Details of a refusal or failure.
    pub details: Vec<String>,
}

/// How an apply ended on the instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyResult {
    /// Everything was right already.
    Unchanged,
    /// Something was written or restarted, and verified.
    Changed,
    /// Nothing was touched, for this reason.
    Refused(String),
    /// A change did not work and was taken back, for this reason.
    RolledBack(String),
    /// It went wrong and could not be taken back, for this reason.
    Failed(String),
}

/// Parses the output of the observe document.
pub fn parse_observe(output: &str) -> Result<Observed, ReportError> {
    let report = Lines::open(output, "observe")?;
    let values = report.value_table()?;
    let mut observed = Observed {
        fingerprint: fingerprint(output),
        platform: report.platform,
        services: Vec::new(),
        carriers: Vec::new(),
        settings: Vec::new(),
        managed: Vec::new(),
        foreign: Vec::new(),
        blockers: Vec::new(),
    };
    for (number, line) in report.facts() {
        observe_line(&mut observed, &values, line).ok_or_else(|| malformed(number, line))?;
    }
    Ok(observed)
}

/// Parses the output of an apply document.
pub fn parse_apply(output: &str) -> Result<ApplyReport, ReportError> {
    let report = Lines::open(output, "apply")?;
    let result = report.apply_result().ok_or_else(|| malformed(1, report.first))?;
    let mut apply = ApplyReport {
        platform: report.platform,
        result,
        written: Vec::new(),
        removed: Vec::new(),
        restarted: Vec::new(),
        pending: Vec::new(),
        details: Vec::new(),
    };
    for (number, line) in report.facts() {
        apply_line(&mut apply, line).ok_or_else(|| malformed(number, line))?;
    }
    Ok(apply)
}

/// The first 32 hex digits of the SHA-256 of a report.
fn fingerprint(output: &str) -> String {
    digest_head(output.trim_end().as_bytes())
}

/// The first 32 hex digits of the SHA-256 of `bytes`: the digest that reports use for long values.
pub(super) fn digest_head(bytes: &[u8]) -> String {
    use sha2::{Digest as _, Sha256};
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().take(16).fold(String::with_capacity(32), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("invariant: writing to a string cannot fail");
        hex
    })
}

/// A report whose frame, the first and the last line, is right.
struct Lines<'a> {
    first: &'a str,
    platform: Platform,
    body: Vec<&'a str>,
}

impl<'a> Lines<'a> {
    fn open(output: &'a str, kind: &str) -> Result<Self, ReportError> {
        let text = output.trim_end();
        let mut lines = text.lines();
        let Some(first) = lines.next().filter(|line| !line.is_empty()) else {
            return Err(ReportError::Empty);
        };
        let not_a_report = || ReportError::NotAReport { first_line: shorten(first) };
        let rest =
            first.strip_prefix("proxyfleet/1 ").and_then(|rest| rest.strip_prefix(kind)).ok_or_else(not_a_report)?;
        let rest = rest.strip_prefix(' ').ok_or_else(not_a_report)?;
        if let Some(system) = rest.strip_prefix("unsupported ") {
            let (id, version) = system.split_once(' ').unwrap_or((system, "of unknown version"));
            return Err(ReportError::UnsupportedSystem { id: shorten(id), version: shorten(version) });
        }
        let word = rest.split(' ').next().unwrap_or_default();
        let platform = Platform::from_name(word).ok_or_else(not_a_report)?;
        let mut body: Vec<&str> = lines.collect();
        if body.pop() != Some("end") {
            return Err(ReportError::Truncated { bytes: output.len() });
        }
        Ok(Self { first, platform, body })
    }

    /// The lines between the first and the last, with their numbers, without the value table.
    fn facts(&self) -> impl Iterator<Item = (usize, &'a str)> + '_ {
        self.body.iter().enumerate().filter(|(_, line)| !line.starts_with("= ")).map(|(index, line)| (index + 2, *line))
    }

    fn value_table(&self) -> Result<Vec<Seen>, ReportError> {
        let mut values = Vec::new();
        for (index, line) in self.body.iter().enumerate() {
            let Some(rest) = line.strip_prefix("= ") else { continue };
            let number_and_value = rest.split_once(' ').filter(|(number, _)| number.parse() == Ok(values.len() + 1));
            let (_, value) = number_and_value.ok_or_else(|| malformed(index + 2, line))?;
            values.push(match value.strip_prefix('#') {
                Some(digest) if digest.len() == 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                    Seen::Digest(Arc::from(digest))
                }
                _ => Seen::Value(Arc::from(value)),
            });
        }
        Ok(values)
    }

    fn apply_result(&self) -> Option<ApplyResult> {
        let mut words = self.first.splitn(5, ' ').skip(3);
        let result = words.next()?;
        let reason = words.next().map(str::to_owned);
        match (result, reason) {
            ("unchanged", None) => Some(ApplyResult::Unchanged),
            ("changed", None) => Some(ApplyResult::Changed),
            ("refused", Some(reason)) => Some(ApplyResult::Refused(reason)),
            ("rolled-back", Some(reason)) => Some(ApplyResult::RolledBack(reason)),
            ("failed", Some(reason)) => Some(ApplyResult::Failed(reason)),
            _ => None,
        }
    }
}

fn observe_line(observed: &mut Observed, values: &[Seen], line: &str) -> Option<()> {
    let (tag, rest) = line.split_once(' ')?;
    match tag {
        "s" => {
            let (service, state) = rest.split_once(' ')?;
            observed.services.push((Service::from_name(service)?, service_state(state)?));
        }
        "c" => {
            let [component, path] = words(rest)?;
            let row = observed.platform.component(Component::from_name(component)?)?;
            observed.carriers.push((row.component, row.carrier_at(path)?));
        }
        "k" => {
            let [component, key, carrier, loaded, running] = words(rest)?;
            observed.settings.push(ObservedSetting {
                component: Component::from_name(component)?,
                key: Key::from_name(key)?,
                carrier: truth(carrier, values)?,
                loaded: truth(loaded, values)?,
                running: truth(running, values)?,
            });
        }
        "m" => {
            let [component, key, state, prior] = words(rest)?;
            observed.managed.push(ManagedSetting {
                component: Component::from_name(component)?,
                key: Key::from_name(key)?,
                prior: if prior == "-" { Prior::Absent } else { Prior::Value(seen(prior, values)?) },
                intact: match state {
                    "intact" => true,
                    "changed" => false,
                    _ => return None,
                },
            });
        }
        "f" => {
            let [component, key, effect, value, path] = words(rest)?;
            observed.foreign.push(ForeignSource {
                component: Component::from_name(component)?,
                key: Key::from_name(key)?,
                effect: match effect {
                    "overrides" => ForeignEffect::Overrides,
                    "inert" => ForeignEffect::Inert,
                    _ => return None,
                },
                value: seen(value, values)?,
                path: path.to_owned(),
            });
        }
        "b" => {
            let [component, reason, path] = words(rest)?;
            let component = Component::from_name(component)?;
            observed.blockers.push(Blocker { component, reason: reason.to_owned(), path: path.to_owned() });
        }
        _ => return None,
    }
    Some(())
}

fn apply_line(apply: &mut ApplyReport, line: &str) -> Option<()> {
    let (tag, rest) = line.split_once(' ')?;
    match tag {
        "w" => apply.written.push(file_and_keys(rest)?),
        "x" => apply.removed.push(file_and_keys(rest)?),
        "r" => apply.restarted.push(Service::from_name(rest)?),
        "p" => apply.pending.push(Service::from_name(rest)?),
        "e" => apply.details.push(rest.to_owned()),
        _ => return None,
    }
    Some(())
}

/// Splits at blanks into exactly `N` words; the last one keeps its blanks.
fn words<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.splitn(N, ' ').collect::<Vec<_>>().try_into().ok()
}

fn file_and_keys(text: &str) -> Option<(String, Vec<Key>)> {
    let (path, keys) = text.rsplit_once(' ')?;
    let keys = keys.split(',').map(Key::from_name).collect::<Option<Vec<_>>>()?;
    Some((path.to_owned(), keys))
}

fn service_state(word: &str) -> Option<ServiceState> {
    match word {
        "active" => Some(ServiceState::Active),
        "inactive" => Some(ServiceState::Inactive),
        "due" => Some(ServiceState::Due),
        "failed" => Some(ServiceState::Failed),
        "absent" => Some(ServiceState::Absent),
        _ => None,
    }
}

fn truth(word: &str, values: &[Seen]) -> Option<Truth> {
    match word {
        "-" => Some(Truth::Unset),
        "." => Some(Truth::NotApplicable),
        "?" => Some(Truth::Unknown),
        "+" => Some(Truth::Unproven),
        _ => seen(word, values).map(Truth::Is),
    }
}

fn seen(word: &str, values: &[Seen]) -> Option<Seen> {
    let (malformed, number) = match word.strip_prefix('~') {
        Some(number) => (true, number),
        None => (false, word),
    };
    let value = values.get(number.parse::<usize>().ok()?.checked_sub(1)?)?;
    Some(match (malformed, value) {
        (true, Seen::Value(text) | Seen::Digest(text)) => Seen::Malformed(Arc::clone(text)),
        (_, value) => value.clone(),
    })
}

fn malformed(line: usize, text: &str) -> ReportError {
    ReportError::Malformed { line, text: shorten(text) }
}

/// At most 80 characters, so that hostile output cannot fill a screen.
fn shorten(text: &str) -> String {
    let mut short: String =
        text.chars().take(80).map(|character| if character.is_control() { '?' } else { character }).collect();
    if text.chars().nth(80).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SAMPLE: &str = "proxyfleet/1 observe amazon-linux-2\n\
        s docker active\ns ecs failed\n\
        = 1 http://10.0.0.131:3128\n= 2 #0123456789abcdef0123456789abcdef\n= 3 a, b\n\
        k docker HTTP_PROXY 1 ? -\nk docker NO_PROXY ~3 2 .\n\
        m docker HTTP_PROXY changed 3\nm docker NO_PROXY intact -\n\
        f docker NO_PROXY overrides 3 /etc/a file.conf\n\
        b ecs-agent not-text /etc/ecs/ecs.config\nend\n";

    fn value(text: &str) -> Seen {
        Seen::Value(Arc::from(text))
    }

    #[test]
    fn a_report_of_windows_names_the_carrier_in_use() {
        let fallback = Platform::Windows.component(Component::Docker).and_then(|row| row.fallback.as_ref());
        let fallback = fallback.expect("docker on Windows has a choice");
        let report = |carrier: &str| {
            parse_observe(&format!(
                "proxyfleet/1 observe windows\ns docker active\ns ecs due\nc docker {carrier}\n= 1 http://10.0.0.131:3128\n\
                 k docker HTTP_PROXY 1 . 1\nk ecs-agent HTTP_PROXY 1 . +\nend\n"
            ))
        };
        let observed = report(fallback.path).expect("a report");
        let row = observed.platform.component(Component::Docker).expect("docker");
        assert_eq!(observed.carrier(row).path, fallback.path);
        assert_eq!(observed.service(Service::Ecs), Some(ServiceState::Due));
        let http = observed.setting(Component::EcsAgent, Key::HttpProxy).expect("setting");
        assert_eq!(http.running, Truth::Unproven);
        assert!(report(r"C:\somewhere\else.json").is_err(), "the catalogue knows where carriers are");
    }

    #[test]
    fn a_full_observe_report_is_understood() {
        let observed = parse_observe(SAMPLE).expect("sample");
        assert_eq!(observed.platform, Platform::AmazonLinux2);
        assert_eq!(observed.service(Service::Ecs), Some(ServiceState::Failed));
        let http = observed.setting(Component::Docker, Key::HttpProxy).expect("setting");
        assert_eq!(
            (&http.carrier, &http.loaded, &http.running),
            (&Truth::Is(value("http://10.0.0.131:3128")), &Truth::Unknown, &Truth::Unset)
        );
        let bypass = observed.setting(Component::Docker, Key::NoProxy).expect("setting");
        assert_eq!(bypass.carrier, Truth::Is(Seen::Malformed(Arc::from("a, b"))));
        assert_eq!(bypass.loaded, Truth::Is(Seen::Digest(Arc::from("0123456789abcdef0123456789abcdef"))));
        assert_eq!(observed.managed[0].prior, Prior::Value(value("a, b")));
        assert!(!observed.managed[0].intact && observed.managed[1].intact);
        assert_eq!(observed.foreign[0].path, "/etc/a file.conf");
        assert_eq!(observed.blockers[0].reason, "not-text");
    }

    #[test]
    fn a_full_apply_report_is_understood() {
        let text = "proxyfleet/1 apply amazon-linux-1 rolled-back service-not-up\n\
            w /etc/ecs/ecs.config HTTP_PROXY,NO_PROXY\nx /a b HTTPS_PROXY\nr docker\np ecs\ne docker: exit 1\nend\n";
        let report = parse_apply(text).expect("sample");
        assert_eq!(report.result, ApplyResult::RolledBack("service-not-up".to_owned()));
        assert_eq!(report.written, [("/etc/ecs/ecs.config".to_owned(), vec![Key::HttpProxy, Key::NoProxy])]);
        assert_eq!(report.removed, [("/a b".to_owned(), vec![Key::HttpsProxy])]);
        assert_eq!((report.restarted, report.pending), (vec![Service::Docker], vec![Service::Ecs]));
        assert_eq!(report.details, ["docker: exit 1"]);
    }

    #[test]
    fn what_is_not_a_whole_report_is_refused_by_name() {
        let error = |text: &str| parse_observe(text).expect_err("must be refused");
        assert_eq!(error(""), ReportError::Empty);
        assert_eq!(error("hello\n"), ReportError::NotAReport { first_line: "hello".to_owned() });
        assert!(matches!(error("proxyfleet/1 apply amazon-linux-2 changed\nend\n"), ReportError::NotAReport { .. }));
        assert!(matches!(error("proxyfleet/2 observe amazon-linux-2\nend\n"), ReportError::NotAReport { .. }));
        assert_eq!(
            error("proxyfleet/1 observe amazon-linux-2\ns docker active\n"),
            ReportError::Truncated { bytes: 52 }
        );
        assert!(matches!(
            error("proxyfleet/1 observe unsupported ubuntu 22.04\nend\n"),
            ReportError::UnsupportedSystem { id, version } if id == "ubuntu" && version == "22.04"
        ));
        for line in
            ["k docker HTTP_PROXY 1 - -", "s docker asleep", "= 2 x", "m docker proxy intact 9", "zz", "k a b c"]
        {
            let text = format!("proxyfleet/1 observe amazon-linux-2\n{line}\nend\n");
            assert_eq!(error(&text), ReportError::Malformed { line: 2, text: line.to_owned() });
        }
    }

    proptest! {
        #[test]
        fn no_output_makes_the_parsers_panic(text in "\\PC{0,200}", cut in 0usize..400, insert in "[ -~\n]{0,40}") {
            let _ = (parse_observe(&text), parse_apply(&text));
            let mut mutated: String = SAMPLE.chars().take(cut).collect();
            mutated.push_str(&insert);
            mutated.extend(SAMPLE.chars().skip(cut + 3));
            let _ = (parse_observe(&mutated), parse_apply(&mutated));
        }

        #[test]
        fn a_report_cut_anywhere_is_noticed(cut in 0usize..SAMPLE.len() - 4) {
            prop_assert!(parse_observe(&SAMPLE[..cut]).is_err());
        }
    }
}
