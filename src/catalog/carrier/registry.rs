//! Values of the Windows registry as lines of text: the strings of a service's `Environment`, and Machine variables
//! (proxy-by-os 8.1).
//!
//! Every line stands for itself and ends with `\n`; names are compared without regard to ASCII case, as Windows does. Windows
//! allows a name that starts with `=` (`=C:=C:\folder`), so the sign that ends it is searched from the second character.

use super::Unsupported;
use super::line::Line;
use super::survey::{Form, Survey};
use crate::catalog::Key;

/// The order in which Machine variables are listed.
const MACHINE_ORDER: [Key; 3] = [Key::HttpProxy, Key::HttpsProxy, Key::NoProxy];

/// The strings of a `REG_MULTI_SZ`.
pub(super) fn survey_multi_sz(lines: &[Line], key: &str) -> Result<Survey, Unsupported> {
    let mut survey = Survey::without_sections(lines.len());
    for (number, line) in lines.iter().enumerate() {
        // The service manager reads no further than an empty string.
        if line.text.is_empty() {
            return Err(Unsupported::NotText);
        }
        if let Some((name, value)) = split(&line.text)
            && name.eq_ignore_ascii_case(key.as_bytes())
        {
            survey.push(number, Form::WellFormed, value);
        }
    }
    Ok(survey)
}

/// `REG_SZ NAME=value` or `REG_EXPAND_SZ NAME=value`. In the latter a `%` starts the name of another variable, so its value
/// cannot be told from it.
pub(super) fn survey_machine(lines: &[Line], key: Key) -> Result<Survey, Unsupported> {
    let mut survey = Survey::without_sections(lines.len());
    let mut place = None;
    for (number, line) in lines.iter().enumerate() {
        let text = line.text.as_slice();
        let (plain, expanded) = (text.strip_prefix(b"REG_SZ "), text.strip_prefix(b"REG_EXPAND_SZ "));
        // The rest of a value with a line feed inside is no such line.
        let (name, value) = plain.or(expanded).and_then(split).ok_or(Unsupported::NotText)?;
        if name.eq_ignore_ascii_case(key.name().as_bytes()) {
            let open = expanded.is_some() && value.contains(&b'%');
            survey.push(number, if open { Form::Malformed } else { Form::WellFormed }, value);
        } else if place.is_none() && rank(name) > rank(key.name().as_bytes()) {
            place = Some(number);
        }
    }
    survey.place = place.or(survey.place);
    Ok(survey)
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = 1 + text.get(1..)?.iter().position(|&byte| byte == b'=')?;
    Some((&text[..end], &text[end + 1..]))
}

fn rank(name: &[u8]) -> Option<usize> {
    MACHINE_ORDER.iter().position(|key| key.name().as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests;
