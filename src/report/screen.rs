//! Where text goes and what it may look like there.

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Effects, Style};

/// The width that is assumed where there is no terminal, in columns.
const DEFAULT_WIDTH: usize = 80;

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The two streams of a command.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Columns of standard output.
    pub width: usize,
    /// Whether a person watches standard error, so that progress may move.
    pub live: bool,
}

impl Screen {
    /// Looks at the terminal once and sets the colour for the whole process.
    pub fn open(color: ColorChoice) -> Self {
        match color {
            ColorChoice::Auto => anstream::ColorChoice::Auto,
            ColorChoice::Always => anstream::ColorChoice::Always,
            ColorChoice::Never => anstream::ColorChoice::Never,
        }
        .write_global();
        let width = if std::io::stdout().is_terminal() { terminal_width() } else { DEFAULT_WIDTH };
        Self { width, live: std::io::stderr().is_terminal() }
    }

    /// Prints a result to standard output. A reader that went away is not an error.
    pub fn result(&self, text: &str) {
        let _ = writeln!(anstream::stdout(), "{}", text.trim_end_matches('\n'));
    }

    /// Says something to standard error while working.
    pub fn say(&self, text: &str) {
        let _ = writeln!(anstream::stderr(), "{}", text.trim_end_matches('\n'));
    }

    /// Prints a question to standard error and leaves the cursor behind it.
    pub fn ask(&self, text: &str) {
        let mut stream = anstream::stderr();
        let _ = write!(stream, "{text}");
        let _ = stream.flush();
    }
}

fn terminal_width() -> usize {
    let (_, columns) = console::Term::stdout().size();
    usize::from(columns).clamp(40, 160)
}

/// Roles of text. One place decides how each looks.
pub(super) mod role {
    use super::{AnsiColor, Effects, Style};

    /// A heading.
    pub(in crate::report) const HEADING: Style = Style::new().effects(Effects::BOLD);
    /// All is well.
    pub(in crate::report) const GOOD: Style = AnsiColor::Green.on_default();
    /// Something will be or was changed.
    pub(in crate::report) const CHANGE: Style = AnsiColor::Cyan.on_default();
    /// Somebody should look at it.
    pub(in crate::report) const ATTENTION: Style = AnsiColor::Yellow.on_default();
    /// Something failed.
    pub(in crate::report) const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
}
