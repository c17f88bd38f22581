//! `KEY=value` lines, as in `ecs.config`.
//!
//! Two parsers read the file, and a well-formed line means the same to both (proxy-by-os 4.2): ecs-init knows neither
//! comments nor quotes and keeps blanks around `=`, systemd strips those and continues a line that ends in a backslash.
//! Quotes are part of the value here, because the agent, which matters most, gets them. A quote that systemd finds open at
//! the end of a line makes it join lines that the agent reads one by one; that file is taken as the agent takes it.

use super::Unsupported;
use super::line::{Line, trim, trim_start};
use super::survey::{Form, Survey};

pub(super) fn survey(lines: &[Line], key: &str) -> Result<Survey, Unsupported> {
    let mut survey = Survey::without_sections(lines.len());
    for (number, line) in lines.iter().enumerate() {
        if line.text.ends_with(b"\\") {
            return Err(Unsupported::ContinuedLine);
        }
        let Some(rest) = trim(&line.text).strip_prefix(key.as_bytes()) else { continue };
        let Some(written) = trim_start(rest).strip_prefix(b"=") else { continue };
        let value = trim(written);
        let blanks = !rest.starts_with(b"=") || value != written;
        survey.push(number, if blanks { Form::Malformed } else { Form::WellFormed }, value);
    }
    Ok(survey)
}
