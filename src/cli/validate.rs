//! `validate`: load and check policies, without AWS.

use super::args::{Format, Global, Validate};
use super::error::CliError;
use super::{Exit, policies};
use crate::report::{Screen, diagnostics_json, diagnostics_text, validated_text};

pub(super) fn run(options: &Validate, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let loaded = policies::read(&options.policies.paths)?;
    let (files, count) = (loaded.files.len(), loaded.set.policies.len());
    match global.format {
        Format::Json => {
            screen.result(&format!("{:#}", diagnostics_json(files, count, &loaded.diagnostics)));
        }
        Format::Text if loaded.diagnostics.is_empty() => screen.result(&validated_text(files, count)),
        Format::Text => screen.result(&diagnostics_text(&loaded.files, &loaded.diagnostics, screen.width)),
    }
    Ok(if loaded.has_errors() { Exit::Error } else { Exit::Success })
}
