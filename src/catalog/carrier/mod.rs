//! The carrier syntaxes: how a setting is read from, put into and taken out of a file.
//!
//! This code is the specification that the shell code in the documents (`src/document/sh/carrier.sh`) must equal; a
//! property test holds the two together on random files, and another one the PowerShell code (`src/document/ps1/carrier.ps1`).
//! Everything works on bytes: what is not ours stays as it is,
//! whatever its encoding (proxy-by-os 18).
//!
//! # Occurrences
//! A line that gives a key a value is an *occurrence* of the key. It is *simple* when it holds exactly this one assignment,
//! in a form that can be replaced or deleted without losing anything else. It is *complex* when there is more to it: other
//! assignments, a comment behind it, an expansion, a block of shell code around it. Complex lines are never touched. In
//! every syntax the last occurrence wins, so a setting that meets a complex line is written on a line of its own behind it.
//!
//! A simple occurrence is *malformed* when its readers do not agree on its value, or take none from it.
//!
//! # Lines
//! A line ends with `\n` or `\r\n`. A replaced line keeps its ending. A new line ends like the first line of the file, and a
//! last line without an ending gets one when a line is put behind it; otherwise the missing ending stays missing.
//!
//! # What is refused
//! A file in which a line does not stand for itself is [`Unsupported`]: where lines continue on the next, or quotes, scripts
//! and blocks stay open, one cannot tell what a line means without the reader's own parser, and deleting one could break
//! the rest. Refused as well are files with a NUL byte or a carriage return inside a line (some systemd versions end
//! the line there, others drop the rest), and with the byte 1, by which the shell code marks NUL.
//!
//! # Windows
//! The carriers of Windows are texts as well. A registry value is taken as lines, which all end with `\n`; an absent value
//! is the empty text, and the empty text is written as an absent value. A carriage return is refused there. The file
//! `daemon.json` is not made of lines: what an occurrence is there, and what is refused, is told in its module.

mod daemon_json;
mod env_file;
mod ini;
mod line;
mod registry;
mod shell_export;
mod survey;
mod systemd;
mod upstart;
mod words;

use super::Key;
use line::{Line, Lines, trim};
use survey::{Form, Occurrence, Survey};

/// The first line of a file that proxyfleet creates.
///
/// No `=` in it: some readers have no comments and would take it for an assignment (proxy-by-os 4.2).
pub const HEADER: &str =
    "# Managed by proxyfleet. Its settings are kept equal to a policy; other lines are left alone.";

/// The largest carrier that is looked at, in bytes.
pub const SIZE_LIMIT_BYTES: usize = 256 * 1024;

const NOT_LINES: &str = "invariant: the functions for lines are not called for daemon.json";

/// How a carrier is written.
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
    /// The strings `KEY=value` of a service's registry value `Environment` (`REG_MULTI_SZ`).
    ServiceEnvironment,
    /// Machine variables of Windows: a line `REG_SZ NAME=value` or `REG_EXPAND_SZ NAME=value` for each registry value whose
    /// name is one of our keys, in the order of the keys.
    MachineEnvironment,
    /// The object `proxies` of docker's `daemon.json`.
    DaemonJson,
}

impl Syntax {
    /// The syntaxes of Linux carriers, which the shell code edits.
    pub const LINUX: [Self; 5] =
        [Self::EnvFile, Self::SystemdDropIn, Self::UpstartOverride, Self::ShellExport, Self::Ini];

    /// The syntaxes of Windows carriers, which the PowerShell code edits.
    pub const WINDOWS: [Self; 3] = [Self::ServiceEnvironment, Self::MachineEnvironment, Self::DaemonJson];

    /// The word used in the generated tables of the scripts.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EnvFile => "env-file",
            Self::SystemdDropIn => "systemd",
            Self::UpstartOverride => "upstart",
            Self::ShellExport => "shell-export",
            Self::Ini => "ini",
            Self::ServiceEnvironment => "multi-sz",
            Self::MachineEnvironment => "machine",
            Self::DaemonJson => "daemon-json",
        }
    }

    /// The line that gives `key` the value `value`, without its ending. The value is from the safe set
    /// `[A-Za-z0-9._:/,\[\]%-]`, which needs no quotes in any syntax, with a backslash on Windows.
    fn render(self, key: Key, value: &str) -> String {
        match self {
            Self::EnvFile | Self::Ini | Self::ServiceEnvironment => format!("{key}={value}"),
            Self::MachineEnvironment => format!("REG_SZ {key}={value}"),
            Self::SystemdDropIn => format!("Environment=\"{key}={}\"", value.replace('%', "%%")),
            Self::UpstartOverride => format!("env {key}={value}"),
            Self::ShellExport => format!("export {key}={value}"),
            Self::DaemonJson => unreachable!("{NOT_LINES}"),
        }
    }

    /// Takes a carrier that is made of lines apart.
    fn parse(self, content: &[u8]) -> Result<Lines, Unsupported> {
        match self {
            Self::ServiceEnvironment | Self::MachineEnvironment => Lines::parse_registry(content),
            _ => Lines::parse(content),
        }
    }

    fn survey(self, lines: &[Line], key: Key) -> Result<Survey, Unsupported> {
        match self {
            Self::EnvFile => env_file::survey(lines, key.name()),
            Self::SystemdDropIn => systemd::survey(lines, key.name()),
            Self::UpstartOverride => upstart::survey(lines, key.name()),
            Self::ShellExport => shell_export::survey(lines, key.name()),
            Self::Ini => ini::survey(lines, key.name()),
            Self::ServiceEnvironment => registry::survey_multi_sz(lines, key.name()),
            Self::MachineEnvironment => registry::survey_machine(lines, key),
            Self::DaemonJson => unreachable!("{NOT_LINES}"),
        }
    }
}

/// What a carrier says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nothing.
    Unset,
    /// The value that the carrier's readers take from it.
    Value(Vec<u8>),
    /// The key is set, but in a form that proxyfleet would not write and that its readers may not agree on. With it the
    /// value as far as it can be told.
    Malformed(Vec<u8>),
}

/// One wish for the content of a carrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// The key has this value. Where it has already, by [`ValueKind::same`](super::ValueKind::same), its line stays as it
    /// is. Other simple occurrences are deleted.
    Set {
        /// The key.
        key: Key,
        /// The value, from the safe set of [`ProxyValues`](super::ProxyValues).
        value: &'a str,
    },
    /// No simple occurrence of the key is left.
    Remove {
        /// The key.
        key: Key,
    },
    /// The last simple occurrence of the key is this line again, which [`raw_line`] gave before it was set.
    Restore {
        /// The key.
        key: Key,
        /// The line without its ending.
        line: &'a [u8],
    },
}

/// Why a carrier is neither read nor edited: what its content tells, and what only a host can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unsupported {
    /// There is a NUL byte, a byte 1, or a carriage return inside a line; on Windows also any carriage return or
    /// an empty string in a registry value, and text that is not UTF-8.
    #[error("it is not text, or holds an empty string, a NUL byte or a line end where none may be")]
    NotText,
    /// It has more than [`SIZE_LIMIT_BYTES`].
    #[error("it is larger than {SIZE_LIMIT_BYTES} bytes")]
    TooLarge,
    /// A line continues on the next one.
    #[error("a line ends in a backslash and continues on the next one")]
    ContinuedLine,
    /// A shell file holds a here-document.
    #[error("it holds a here-document")]
    HereDocument,
    /// A value in quotes, a script or a block runs over lines and cannot be told apart from settings, or the value of
    /// the key itself does.
    #[error("a value, script or block does not end where it should, or the value of the key has several lines")]
    ContinuedValue,
    /// An INI file has a setting before its first section.
    #[error("it has a setting before its first section, so its readers refuse it")]
    NoSection,
    /// `daemon.json` is not JSON, not an object, or nested too deep.
    #[error("it is not a JSON object, so docker would not start with it")]
    NotJson,
    /// `daemon.json` starts with a byte order mark.
    #[error("it starts with a byte order mark, with which docker does not start")]
    ByteOrderMark,
    /// `proxies` in `daemon.json` is no object, or has a member of ours that is no plain text, or one of these names is there
    /// twice or in another case.
    #[error("its `proxies` is not an object of texts, or a name is there twice or in another case")]
    OddProxies,
    /// The path is a link to nothing.
    #[error("it is a link to nothing")]
    DanglingLink,
    /// The path is a folder or a device.
    #[error("it is not a file")]
    NotAFile,
    /// The system does not let us read it.
    #[error("it cannot be read")]
    Unreadable,
    /// A registry value has another kind than its readers expect.
    #[error("the registry value has another kind than its readers expect")]
    WrongKind,
    /// The command line of the docker service sets a proxy, so docker refuses the same setting in `daemon.json`.
    #[error("the command line of the docker service sets a proxy, and docker does not start with both")]
    Flag,
    /// The command line of the docker service names another file than `daemon.json`.
    #[error("the command line of the docker service names another file with --config-file")]
    OtherConfigFile,
    /// The version of docker, which decides on the carrier, cannot be told.
    #[error("docker's version, which decides where its proxy is set, cannot be told")]
    DockerVersion,
    /// A Windows file is a reparse point.
    #[error("it is a link, which a new file would replace")]
    Link,
}

impl Unsupported {
    /// Every reason.
    pub const ALL: [Self; 17] = [
        Self::NotText,
        Self::TooLarge,
        Self::ContinuedLine,
        Self::HereDocument,
        Self::ContinuedValue,
        Self::NoSection,
        Self::NotJson,
        Self::ByteOrderMark,
        Self::OddProxies,
        Self::DanglingLink,
        Self::NotAFile,
        Self::Unreadable,
        Self::WrongKind,
        Self::Flag,
        Self::OtherConfigFile,
        Self::DockerVersion,
        Self::Link,
    ];

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotText => "not-text",
            Self::TooLarge => "too-large",
            Self::ContinuedLine => "continued-line",
            Self::HereDocument => "here-document",
            Self::ContinuedValue => "continued-value",
            Self::NoSection => "no-section",
            Self::NotJson => "not-json",
            Self::ByteOrderMark => "byte-order-mark",
            Self::OddProxies => "odd-proxies",
            Self::DanglingLink => "dangling-link",
            Self::NotAFile => "not-a-file",
            Self::Unreadable => "unreadable",
            Self::WrongKind => "wrong-kind",
            Self::Flag => "flag",
            Self::OtherConfigFile => "other-config-file",
            Self::DockerVersion => "docker-version",
            Self::Link => "link",
        }
    }

    /// What a person does about it.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::TooLarge => "make it smaller by hand, then run again",
            Self::ContinuedLine => "join the lines by hand, then run again",
            Self::DanglingLink => "remove the link or make the file that it names, then run again",
            Self::NotAFile => "put a file in its place, then run again",
            Self::Unreadable => "look at the host; proxyfleet does not act on guesses",
            Self::WrongKind => "make the value anew with the kind that the service manager documents, then run again",
            Self::Flag => "take the proxy options out of the service's ImagePath, then run again",
            Self::OtherConfigFile => "take --config-file out of the service's ImagePath, then run again",
            Self::DockerVersion => "see that `docker --version` answers on the host, then run again",
            Self::Link => "put the file itself in the place of the link, then run again",
            Self::ByteOrderMark => "save the file as UTF-8 without a mark, then run again",
            Self::NotText
            | Self::HereDocument
            | Self::ContinuedValue
            | Self::NoSection
            | Self::NotJson
            | Self::OddProxies => "mend it by hand, then run again",
        }
    }

    /// The reason called `name` in a report.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What `content` says of `key`. A missing file is an empty `content`.
pub fn read(syntax: Syntax, content: &[u8], key: Key) -> Result<Reading, Unsupported> {
    if syntax == Syntax::DaemonJson {
        return daemon_json::read(content, key);
    }
    let lines = syntax.parse(content)?;
    let survey = syntax.survey(&lines.lines, key)?;
    Ok(match survey.effective() {
        None => Reading::Unset,
        Some(Occurrence { form: Form::WellFormed, value, .. }) => Reading::Value(value.clone()),
        Some(Occurrence { value, .. }) => Reading::Malformed(value.clone()),
    })
}

/// The line that sets `key`, as it is but without its ending, for [`Edit::Restore`]; `None` when the key is unset, or when
/// what counts is a complex line, which no edit touches and which counts again once our own is gone. Of `daemon.json` it is
/// the value as it is written, with its quotes.
pub fn raw_line(syntax: Syntax, content: &[u8], key: Key) -> Result<Option<Vec<u8>>, Unsupported> {
    if syntax == Syntax::DaemonJson {
        return daemon_json::raw_line(content, key);
    }
    let lines = syntax.parse(content)?;
    let survey = syntax.survey(&lines.lines, key)?;
    let simple = survey.effective().filter(|occurrence| occurrence.is_simple());
    Ok(simple.map(|occurrence| lines.lines[occurrence.line].text.clone()))
}

/// `content` after `edits`, which are applied in order; equal to `content` when everything is as wished already.
pub fn edit(syntax: Syntax, content: &[u8], edits: &[Edit<'_>]) -> Result<Vec<u8>, Unsupported> {
    if syntax == Syntax::DaemonJson {
        return daemon_json::edit(content, edits);
    }
    let mut lines = syntax.parse(content)?;
    for edit in edits {
        match *edit {
            Edit::Set { key, value } => set(syntax, &mut lines, key, value)?,
            Edit::Remove { key } => {
                let survey = syntax.survey(&lines.lines, key)?;
                lines.delete(survey.simple());
            }
            Edit::Restore { key, line } => {
                let last = syntax.survey(&lines.lines, key)?.simple().last();
                match last {
                    Some(last) => lines.lines[last].text = line.to_vec(),
                    None => add(syntax, &mut lines, key, line)?,
                }
            }
        }
    }
    Ok(lines.join())
}

/// Whether nothing but `header`, `[Service]` and blank lines is left in `content`, so that a file which proxyfleet created
/// can go; of `daemon.json`, whether it has no member.
pub fn is_only_ours(syntax: Syntax, content: &[u8], header: &str) -> bool {
    if syntax == Syntax::DaemonJson {
        return daemon_json::is_empty(content);
    }
    syntax.parse(content).is_ok_and(|lines| {
        lines
            .lines
            .iter()
            .map(|line| trim(&line.text))
            .all(|text| text.is_empty() || text == b"[Service]" || text == header.as_bytes())
    })
}

fn set(syntax: Syntax, lines: &mut Lines, key: Key, value: &str) -> Result<(), Unsupported> {
    let survey = syntax.survey(&lines.lines, key)?;
    let rendered = syntax.render(key, value);
    let Some(kept) = survey.effective().filter(|occurrence| occurrence.is_simple()) else {
        lines.delete(survey.simple());
        return add(syntax, lines, key, rendered.as_bytes());
    };
    let same = std::str::from_utf8(&kept.value).is_ok_and(|current| key.kind().same(current, value));
    if kept.form != Form::WellFormed || !same {
        lines.lines[kept.line].text = rendered.into_bytes();
    }
    lines.delete(survey.simple().filter(|&line| line != kept.line));
    Ok(())
}

/// Puts a line where it beats every other occurrence, with the section around it where the syntax wants one.
fn add(syntax: Syntax, lines: &mut Lines, key: Key, text: &[u8]) -> Result<(), Unsupported> {
    let mut place = syntax.survey(&lines.lines, key)?.place;
    if place.is_none() {
        // A drop-in has no other section to disturb. In yum.conf the sections behind may be repositories.
        let (at, section) = match syntax {
            Syntax::Ini => (0, ini::SECTION),
            _ => (lines.lines.len(), systemd::SECTION),
        };
        lines.insert(at, section.as_bytes());
        place = Some(at + 1);
    }
    lines.insert(place.unwrap_or_default(), text);
    Ok(())
}

#[cfg(test)]
mod tests;
