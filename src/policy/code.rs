//! The kinds of mistakes, each with a number that never changes its meaning.

use std::fmt;

/// How bad a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs until it is mended.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
}

impl Severity {
    /// The word used on screen and in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Which kind of mistake. `PF01..` is about the file, `PF02..` about its shape, `PF03..` about the policy, `PF04..` about
/// proxy URLs, `PF05..` about bypass entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Not YAML.
    Syntax,
    /// More bytes or values than a policy file may have.
    FileTooLarge,
    /// Nested deeper than a policy can be.
    TooDeep,
    /// More aliases, or larger ones, than a policy can need.
    TooManyAliases,
    /// More documents than a file may have.
    TooManyDocuments,
    /// No document in the file.
    EmptyFile,
    /// Two readers of YAML disagree.
    ReadDifferently,
    /// A YAML tag or a merge key.
    UnsupportedYaml,
    /// The rest is not shown.
    TooManyMistakes,

    /// A document that is not a mapping.
    NotAMapping,
    /// A key that the format does not have.
    UnknownKey,
    /// A key that is there twice.
    DuplicateKey,
    /// A key that must be there.
    MissingKey,
    /// A key without a value.
    EmptyValue,
    /// A value of the wrong kind.
    WrongType,
    /// A value that is not one of a closed set.
    UnknownValue,
    /// A list that needs an entry.
    EmptyList,
    /// A limit of a rollout that is not a number or share.
    BadCount,
    /// The same value twice in a list.
    RepeatedValue,
    /// A duration that is none, or too short or too long.
    BadDuration,

    /// A name that cannot be one.
    BadPolicyName,
    /// A name that is taken.
    DuplicatePolicyName,
    /// Targets that name no tag.
    NoTargetTags,
    /// A tag key that AWS does not allow.
    BadTagKey,
    /// A tag value that AWS does not allow.
    BadTagValue,
    /// A tag or name that other YAML tools read as something else than text.
    Unquoted,
    /// Two policies that are for the same instances and neither goes first.
    SameTargets,
    /// Proxy settings in a policy that takes them away.
    ProxyNotWanted,
    /// A component that no platform of the targets has.
    ComponentNowhere,
    /// Waves that do not rise, or do not end with everybody.
    BadWaves,
    /// The command of a gate that nobody can start.
    BadGateCommand,
    /// A name that no CloudWatch alarm has.
    BadAlarmName,

    /// Not a URL.
    NotAUrl,
    /// A proxy URL with another scheme, or none.
    ProxyScheme,
    /// A user name or password in a URL.
    Credentials,
    /// A proxy URL without a port.
    MissingPort,
    /// A port that is no port.
    BadPort,
    /// A proxy URL with more after the port.
    UrlPath,
    /// A host that is no host.
    BadHost,
    /// TLS to the proxy that was not asked for.
    TlsToProxy,
    /// TLS to the proxy that was asked for and is not used.
    TlsUnused,
    /// The proxy is on the instance itself.
    LoopbackProxy,
    /// The proxy has a link-local address.
    LinkLocalProxy,

    /// A bypass entry that is a network.
    BypassNetwork,
    /// The bypass entry `*`.
    BypassEverything,
    /// A bypass entry with a wildcard.
    BypassWildcard,
    /// A bypass entry in brackets.
    BypassBrackets,
    /// A bypass entry with a port.
    BypassPort,
    /// Several bypass entries in one.
    BypassSeparator,
    /// A bypass entry that is a URL.
    BypassScheme,
    /// The docker socket as bypass entry.
    BypassSocket,
    /// A bypass entry that is no host, suffix or address.
    BypassNotAHost,
    /// More bypass entries than fit.
    BypassTooLong,
}

impl Code {
    /// Every kind, in the order of their numbers.
    pub const ALL: [Self; 53] = [
        Self::Syntax,
        Self::FileTooLarge,
        Self::TooDeep,
        Self::TooManyAliases,
        Self::TooManyDocuments,
        Self::EmptyFile,
        Self::ReadDifferently,
        Self::UnsupportedYaml,
        Self::TooManyMistakes,
        Self::NotAMapping,
        Self::UnknownKey,
        Self::DuplicateKey,
        Self::MissingKey,
        Self::EmptyValue,
        Self::WrongType,
        Self::UnknownValue,
        Self::EmptyList,
        Self::BadCount,
        Self::RepeatedValue,
        Self::BadDuration,
        Self::BadPolicyName,
        Self::DuplicatePolicyName,
        Self::NoTargetTags,
        Self::BadTagKey,
        Self::BadTagValue,
        Self::Unquoted,
        Self::SameTargets,
        Self::ProxyNotWanted,
        Self::ComponentNowhere,
        Self::BadWaves,
        Self::BadGateCommand,
        Self::BadAlarmName,
        Self::NotAUrl,
        Self::ProxyScheme,
        Self::Credentials,
        Self::MissingPort,
        Self::BadPort,
        Self::UrlPath,
        Self::BadHost,
        Self::TlsToProxy,
        Self::TlsUnused,
        Self::LoopbackProxy,
        Self::LinkLocalProxy,
        Self::BypassNetwork,
        Self::BypassEverything,
        Self::BypassWildcard,
        Self::BypassBrackets,
        Self::BypassPort,
        Self::BypassSeparator,
        Self::BypassScheme,
        Self::BypassSocket,
        Self::BypassNotAHost,
        Self::BypassTooLong,
    ];

    /// The number, such as `PF0202`.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// How bad this kind of mistake is.
    pub const fn severity(self) -> Severity {
        match self {
            Self::EmptyFile | Self::RepeatedValue | Self::TlsUnused | Self::LoopbackProxy | Self::BypassSocket => {
                Severity::Warning
            }
            _ => Severity::Error,
        }
    }

    /// What the number stands for and why it matters, in one line.
    pub const fn explanation(self) -> &'static str {
        self.row().1
    }

    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Syntax => ("PF0101", "the file is not YAML"),
            Self::FileTooLarge => ("PF0102", "a policy file has at most 1 MiB and 100,000 values"),
            Self::TooDeep => ("PF0103", "a policy is nested at most 16 levels deep"),
            Self::TooManyAliases => {
                ("PF0104", "YAML aliases are bounded, because a few of them can stand for billions of values")
            }
            Self::TooManyDocuments => ("PF0105", "a policy file has at most 1,000 documents"),
            Self::EmptyFile => ("PF0106", "the file holds no policy"),
            Self::ReadDifferently => ("PF0107", "tools of YAML 1.1 and of YAML 1.2 read this text differently"),
            Self::UnsupportedYaml => ("PF0108", "policies use neither YAML tags nor merge keys"),
            Self::TooManyMistakes => ("PF0109", "only the first mistakes of a file are shown"),
            Self::NotAMapping => ("PF0201", "a policy is a mapping of keys to values"),
            Self::UnknownKey => ("PF0202", "the format has no such key"),
            Self::DuplicateKey => ("PF0203", "a key may be given once; readers of YAML disagree on which one counts"),
            Self::MissingKey => ("PF0204", "the key is required"),
            Self::EmptyValue => ("PF0205", "the key has no value"),
            Self::WrongType => ("PF0206", "the value is of the wrong kind"),
            Self::UnknownValue => ("PF0207", "the value is not one of those that are known"),
            Self::EmptyList => ("PF0208", "the list needs at least one entry"),
            Self::BadCount => ("PF0209", "the limit is neither a number of instances nor a share of them"),
            Self::RepeatedValue => ("PF0210", "the list has the same entry twice"),
            Self::BadDuration => {
                ("PF0211", "a duration is a whole number with `s`, `m` or `h`, within the limits of its key")
            }
            Self::BadPolicyName => ("PF0301", "a policy name is 1 to 64 lower-case letters, digits and dashes"),
            Self::DuplicatePolicyName => ("PF0302", "policy names are unique among all files of a run"),
            Self::NoTargetTags => ("PF0303", "a selector without tags would match every instance of the account"),
            Self::BadTagKey => ("PF0304", "AWS tag keys have 1 to 128 characters"),
            Self::BadTagValue => ("PF0305", "AWS tag values have at most 256 characters"),
            Self::Unquoted => ("PF0306", "text that looks like a number, date or truth value is quoted"),
            Self::SameTargets => ("PF0307", "two policies for the same instances need different priorities"),
            Self::ProxyNotWanted => ("PF0308", "a policy with `state: absent` has no proxy"),
            Self::ComponentNowhere => ("PF0309", "no platform of the targets has the component"),
            Self::BadWaves => {
                ("PF0310", "each wave ends with more instances than the one before, and the last with 100%")
            }
            Self::BadGateCommand => ("PF0311", "the command of a gate is a program and its arguments"),
            Self::BadAlarmName => ("PF0312", "CloudWatch alarm names have 1 to 255 characters"),
            Self::NotAUrl => ("PF0401", "the proxy is not a URL"),
            Self::ProxyScheme => ("PF0402", "a proxy URL starts with http://"),
            Self::Credentials => ("PF0403", "credentials in a URL would end in command history and in readable files"),
            Self::MissingPort => ("PF0404", "a missing port means 80 to some programs and 1080 to others"),
            Self::BadPort => ("PF0405", "a port is a number from 1 to 65535"),
            Self::UrlPath => ("PF0406", "a proxy URL ends after the port"),
            Self::BadHost => {
                ("PF0407", "the host is neither a name nor an address in characters that are safe everywhere")
            }
            Self::TlsToProxy => ("PF0408", "an https:// proxy URL asks for TLS to the proxy itself"),
            Self::TlsUnused => ("PF0409", "`tls_to_proxy` has no effect without an https:// proxy URL"),
            Self::LoopbackProxy => ("PF0410", "every instance would ask itself"),
            Self::LinkLocalProxy => ("PF0411", "link-local addresses belong to the instance's own services"),
            Self::BypassNetwork => ("PF0501", "networks in no_proxy are not honoured by every program"),
            Self::BypassEverything => ("PF0502", "`*` in no_proxy switches the proxy off"),
            Self::BypassWildcard => ("PF0503", "wildcards in no_proxy are not honoured"),
            Self::BypassBrackets => ("PF0504", "IPv6 addresses in no_proxy have no brackets"),
            Self::BypassPort => ("PF0505", "ports in no_proxy are not honoured by every program"),
            Self::BypassSeparator => ("PF0506", "each entry of no_proxy is an item of the list"),
            Self::BypassScheme => ("PF0507", "no_proxy names hosts, not URLs"),
            Self::BypassSocket => ("PF0508", "the docker socket is always added"),
            Self::BypassNotAHost => {
                ("PF0509", "the entry of no_proxy is neither a host, nor a domain suffix, nor an address")
            }
            Self::BypassTooLong => ("PF0510", "the list does not fit into a document parameter"),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_kind_once_in_the_order_of_the_numbers() {
        assert!(Code::ALL.iter().enumerate().all(|(index, code)| *code as usize == index));
        assert!(Code::ALL.is_sorted_by(|left, right| left.as_str() < right.as_str()));
        assert_eq!(Code::ALL.len(), Code::BypassTooLong as usize + 1, "the last kind of the enum is in the list");
    }
}
