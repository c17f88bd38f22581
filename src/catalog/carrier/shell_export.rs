//! `export KEY=value` lines of a file that a shell sources.
//!
//! Without `export` the daemon does not get the variable, so such a line is malformed. A line within a block (`if`, a loop,
//! `case`, braces) is complex: deleting the only command of a block is a syntax error, and then the service does not start.
//! Words such as `if` count wherever they stand; a file in which the blocks do not add up is refused.

use super::Unsupported;
use super::line::{Line, contains, is_blank, trim, trim_start};
use super::survey::{Form, Survey};
use super::words::{Words, plain_assignment};

const SEPARATORS: &[u8] = b" \t;&|(){}";

pub(super) fn survey(lines: &[Line], key: &str) -> Result<Survey, Unsupported> {
    let assign = format!("{key}=");
    let mut survey = Survey::without_sections(lines.len());
    let mut depth = 0;
    for (number, line) in lines.iter().enumerate() {
        let text = trim(&line.text);
        if text.starts_with(b"#") {
            continue;
        }
        if line.text.ends_with(b"\\") || text.ends_with(b"&&") || text.ends_with(b"|") {
            return Err(Unsupported::ContinuedLine);
        }
        if contains(text, b"<<") {
            return Err(Unsupported::HereDocument);
        }
        let words = Words::split(text, SEPARATORS, true);
        let before = depth;
        depth += words.braces + words.list.iter().map(|word| nesting(word)).sum::<i32>();
        if depth < 0 || words.open {
            return Err(Unsupported::ContinuedValue);
        }
        if !contains(text, assign.as_bytes()) {
            continue;
        }
        match simple(text, &assign).filter(|_| before == 0 && depth == 0) {
            Some((form, value)) => survey.push(number, form, value),
            None => {
                if let Some(value) = words.assigned(&assign) {
                    survey.push(number, Form::Complex, value);
                }
            }
        }
    }
    if depth == 0 { Ok(survey) } else { Err(Unsupported::ContinuedValue) }
}

/// The assignment that a line is, if it is nothing else.
fn simple<'a>(text: &'a [u8], assign: &str) -> Option<(Form, &'a [u8])> {
    if let Some(argument) = text.strip_prefix(b"export")
        && argument.first().copied().is_some_and(is_blank)
    {
        return plain_assignment(trim_start(argument), assign).map(|value| (Form::WellFormed, value));
    }
    // Quotes around the whole would make it a command.
    let bare = text.starts_with(assign.as_bytes());
    plain_assignment(text, assign).filter(|_| bare).map(|value| (Form::Malformed, value))
}

/// What a word adds to the depth of blocks.
fn nesting(word: &[u8]) -> i32 {
    match word {
        b"if" | b"do" | b"case" => 1,
        b"fi" | b"done" | b"esac" => -1,
        _ => 0,
    }
}
