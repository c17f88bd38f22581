//! `Environment=` in the `[Service]` sections of a drop-in.
//!
//! Quotes belong around the whole assignment: around the value alone, systemd 219 keeps them and later versions do not. A
//! `%` starts a specifier and must be doubled, otherwise the whole assignment is dropped (proxy-by-os 12.1). An empty
//! `Environment=` makes everything before it void.

use super::Unsupported;
use super::line::{Line, contains, has_any, trim, trim_start};
use super::survey::{Form, Survey};
use super::words::{Words, within_quotes};

pub(super) const SECTION: &str = "[Service]";

pub(super) fn survey(lines: &[Line], key: &str) -> Result<Survey, Unsupported> {
    let assign = format!("{key}=");
    let mut survey = Survey::default();
    let mut inside = false;
    for (number, line) in lines.iter().enumerate() {
        if line.text.ends_with(b"\\") {
            return Err(Unsupported::ContinuedLine);
        }
        let text = trim(&line.text);
        if text.starts_with(b"[") {
            inside = text == SECTION.as_bytes();
        }
        if !inside || text.is_empty() {
            continue;
        }
        survey.place = Some(number + 1);
        let Some(name) = text.strip_prefix(b"Environment") else { continue };
        let Some(assignments) = trim_start(name).strip_prefix(b"=") else { continue };
        let assignments = trim_start(assignments);
        if assignments.is_empty() {
            survey.reset();
        } else if let Some((form, value)) = look(assignments, &assign) {
            survey.push(number, form, &value);
        }
    }
    Ok(survey)
}

/// What the right side of an `Environment=` is to the key.
fn look(assignments: &[u8], assign: &str) -> Option<(Form, Vec<u8>)> {
    if !contains(assignments, assign.as_bytes()) {
        return None;
    }
    let words = Words::split(assignments, b" \t", false);
    let found = words.assigned(assign)?;
    let quoted = within_quotes(assignments);
    let assignment = quoted.unwrap_or(assignments);
    let value = assignment.strip_prefix(assign.as_bytes());
    let alone = words.list.len() == 1 && !words.open && (quoted.is_some() || !has_any(assignment, b" \t"));
    let Some(value) = value.filter(|_| alone) else {
        return Some((Form::Complex, found.to_vec()));
    };
    let quotes_inside = quoted.is_none() && has_any(assignment, b"\"'");
    Some(match unescape(value) {
        Some(value) if !quotes_inside && !assignment.contains(&b'\\') => (Form::WellFormed, value),
        _ => (Form::Malformed, value.to_vec()),
    })
}

/// The value with `%%` made `%`; `None` when there is a single `%`.
fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = value.iter();
    while let Some(&byte) = bytes.next() {
        if byte == b'%' && bytes.next() != Some(&b'%') {
            return None;
        }
        plain.push(byte);
    }
    Some(plain)
}
