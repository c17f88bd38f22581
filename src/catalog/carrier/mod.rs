//! The carrier syntaxes: how a setting is read from, put into and taken out of a file.
//!
//! This code is the specification that the shell code in the documents (`src/document/sh/carrier.sh`) must equal; a
//! property test holds the two together on random files. Everything works on bytes: what is not ours stays as it is,
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

mod env_file;
mod ini;
mod line;
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
    /// `KEY=value` strings of a REG_MULTI_SZ value, each on a line (the `Environment` of a Windows service).
    ServiceEnvironment,
    /// `REG_SZ KEY=value` for each value of a registry key (the variables of a Windows machine).
    MachineEnvironment,
    /// The object `proxies` of Docker's `daemon.json`.
    DaemonJson,
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
            Self::ServiceEnvironment => "multi-sz",
            Self::MachineEnvironment => "machine",
            Self::DaemonJson => "daemon-json",
        }
    }

    /// The line that gives `key` the value `value`, without its ending. The value is from the safe set
    /// `[A-Za-z0-9._:/,\[\]%-]`, which needs no quotes in any syntax.
    fn render(self, key: Key, value: &str) -> String {
        match self {
            Self::EnvFile | Self::Ini | Self::ServiceEnvironment | Self::MachineEnvironment | Self::DaemonJson => {
                format!("{key}={value}")
            }
            Self::SystemdDropIn => format!("Environment=\"{key}={}\"", value.replace('%', "%%")),
            Self::UpstartOverride => format!("env {key}={value}"),
            Self::ShellExport => format!("export {key}={value}"),
        }
    }

    fn survey(self, lines: &[Line], key: Key) -> Result<Survey, Unsupported> {
        let key = key.name();
        match self {
            Self::EnvFile | Self::ServiceEnvironment | Self::MachineEnvironment | Self::DaemonJson => {
                env_file::survey(lines, key)
            }
            Self::SystemdDropIn => systemd::survey(lines, key),
            Self::UpstartOverride => upstart::survey(lines, key),
            Self::ShellExport => shell_export::survey(lines, key),
            Self::Ini => ini::survey(lines, key),
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

/// Why a carrier is neither read nor edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unsupported {
    /// There is a NUL byte, a byte 1, or a carriage return inside a line.
    #[error("the file is not text: it holds a NUL byte, a byte 1 or a carriage return inside a line")]
    NotText,
    /// It has more than [`SIZE_LIMIT_BYTES`].
    #[error("the file is larger than {SIZE_LIMIT_BYTES} bytes")]
    TooLarge,
    /// A line continues on the next one.
    #[error("a line of the file continues on the next one; join them")]
    ContinuedLine,
    /// A shell file holds a here-document.
    #[error("the file holds a here-document")]
    HereDocument,
    /// A value in quotes, a script or a block runs over lines and cannot be told apart from settings, or the value of
    /// the key itself does.
    #[error(
        "a value, script or block of the file does not end where it should, or the value of the key has several lines"
    )]
    ContinuedValue,
    /// An INI file has a setting before its first section.
    #[error("the file has a setting before its first section, so its readers refuse it")]
    NoSection,
}

impl Unsupported {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::NotText, Self::TooLarge, Self::ContinuedLine, Self::HereDocument, Self::ContinuedValue, Self::NoSection];

    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotText => "not-text",
            Self::TooLarge => "too-large",
            Self::ContinuedLine => "continued-line",
            Self::HereDocument => "here-document",
            Self::ContinuedValue => "continued-value",
            Self::NoSection => "no-section",
        }
    }

    /// The reason called `name` in a report.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}

/// What `content` says of `key`. A missing file is an empty `content`.
pub fn read(syntax: Syntax, content: &[u8], key: Key) -> Result<Reading, Unsupported> {
    let lines = Lines::parse(content)?;
    let survey = syntax.survey(&lines.lines, key)?;
    Ok(match survey.effective() {
        None => Reading::Unset,
        Some(Occurrence { form: Form::WellFormed, value, .. }) => Reading::Value(value.clone()),
        Some(Occurrence { value, .. }) => Reading::Malformed(value.clone()),
    })
}

/// The line that sets `key`, as it is but without its ending, for [`Edit::Restore`]; `None` when the key is unset, or when
/// what counts is a complex line, which no edit touches and which counts again once our own is gone.
pub fn raw_line(syntax: Syntax, content: &[u8], key: Key) -> Result<Option<Vec<u8>>, Unsupported> {
    let lines = Lines::parse(content)?;
    let survey = syntax.survey(&lines.lines, key)?;
    let simple = survey.effective().filter(|occurrence| occurrence.is_simple());
    Ok(simple.map(|occurrence| lines.lines[occurrence.line].text.clone()))
}

/// `content` after `edits`, which are applied in order; equal to `content` when everything is as wished already.
pub fn edit(syntax: Syntax, content: &[u8], edits: &[Edit<'_>]) -> Result<Vec<u8>, Unsupported> {
    let mut lines = Lines::parse(content)?;
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
/// can go.
pub fn is_only_ours(content: &[u8], header: &str) -> bool {
    Lines::parse(content).is_ok_and(|lines| {
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
