//! `key=value` in the `[main]` sections of `yum.conf` and `dnf.conf` (proxy-by-os 7).
//!
//! A line that starts with a blank continues the value before it, also across blank lines and comments. yum takes the key in any
//! case and dnf does not, so another case is malformed. yum ends a value at ` ;`, dnf does not, so a value with blanks
//! inside is complex. Neither of them reads a file with a setting before the first section.

use super::Unsupported;
use super::line::{Line, is_blank, trim, trim_start};
use super::survey::{Form, Survey};

pub(super) const SECTION: &str = "[main]";

pub(super) fn survey(lines: &[Line], key: &str) -> Result<Survey, Unsupported> {
    let mut survey = Survey::default();
    let mut inside = false;
    let mut sections = false;
    // Whether the last key was ours, so that a continuation belongs to it.
    let mut ours = false;
    for (number, line) in lines.iter().enumerate() {
        let text = line.text.as_slice();
        if text.starts_with(b"[") {
            inside = text.starts_with(SECTION.as_bytes());
            (sections, ours) = (true, false);
            if inside {
                survey.place = Some(number + 1);
            }
            continue;
        }
        if trim(text).is_empty() {
            continue;
        }
        if inside {
            survey.place = Some(number + 1);
        }
        if text.starts_with(b"#") || text.starts_with(b";") {
            continue;
        }
        if !sections {
            return Err(Unsupported::NoSection);
        }
        if text.first().copied().is_some_and(is_blank) {
            if ours {
                return Err(Unsupported::ContinuedValue);
            }
            continue;
        }
        if inside {
            let found = look(text, key);
            ours = found.is_some();
            if let Some((form, value)) = found {
                survey.push(number, form, value);
            }
        }
    }
    Ok(survey)
}

/// What a line that starts a value is to the key.
fn look<'a>(text: &'a [u8], key: &str) -> Option<(Form, &'a [u8])> {
    let (name, rest) = text.split_at_checked(key.len())?;
    if !name.eq_ignore_ascii_case(key.as_bytes()) {
        return None;
    }
    let [b'=' | b':', value @ ..] = trim_start(rest) else { return None };
    let value = trim(value);
    Some(match value.iter().position(|&byte| is_blank(byte)) {
        Some(blank) => (Form::Complex, &value[..blank]),
        None if name == key.as_bytes() => (Form::WellFormed, value),
        None => (Form::Malformed, value),
    })
}
