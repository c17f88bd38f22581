//! `env KEY=value` lines of an upstart override.
//!
//! Without the word `env` a line is silently ignored (proxy-by-os 2.2). The lines of a script stanza are not settings.
//! Where upstart's own rules are not known for sure (proxy-by-os 12.1), a line counts as complex.

use super::Unsupported;
use super::line::{Line, contains, is_blank, trim, trim_start};
use super::survey::{Form, Survey};
use super::words::{Words, plain_assignment};

pub(super) fn survey(lines: &[Line], key: &str) -> Result<Survey, Unsupported> {
    let assign = format!("{key}=");
    let mut survey = Survey::without_sections(lines.len());
    let mut script = false;
    for (number, line) in lines.iter().enumerate() {
        let text = trim(&line.text);
        let stanza = stanza(text);
        if script {
            script = stanza != [b"end".as_slice(), b"script"];
            continue;
        }
        if starts_script(&stanza) {
            script = true;
            continue;
        }
        if text.starts_with(b"#") {
            continue;
        }
        if line.text.ends_with(b"\\") {
            return Err(Unsupported::ContinuedLine);
        }
        let words = Words::split(text, b" \t", true);
        if words.open {
            return Err(Unsupported::ContinuedValue);
        }
        let Some(argument) = text.strip_prefix(b"env") else { continue };
        if !argument.first().copied().is_some_and(is_blank) || !contains(text, assign.as_bytes()) {
            continue;
        }
        if let Some(value) = plain_assignment(trim_start(argument), &assign) {
            survey.push(number, Form::WellFormed, value);
        } else if let Some(value) = words.assigned(&assign) {
            survey.push(number, Form::Complex, value);
        }
    }
    if script { Err(Unsupported::ContinuedValue) } else { Ok(survey) }
}

/// The words of a line up to a comment.
fn stanza(text: &[u8]) -> Vec<&[u8]> {
    let code = text.split(|&byte| byte == b'#').next().unwrap_or_default();
    code.split(|&byte| is_blank(byte)).filter(|word| !word.is_empty()).collect()
}

fn starts_script(stanza: &[&[u8]]) -> bool {
    match stanza {
        [word] => *word == b"script",
        [when, word] => {
            *word == b"script" && [b"pre-start".as_slice(), b"post-start", b"pre-stop", b"post-stop"].contains(when)
        }
        _ => false,
    }
}
