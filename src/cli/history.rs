//! `history`: what runs left in their journals.

use super::Exit;
use super::args::{Format, Global, History};
use super::error::CliError;
use crate::journal::{JournalError, Store};
use crate::report::{Screen, history_json, history_text, run_json, tell_run};

pub(super) fn run(options: &History, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let store = Store::find(options.state.state_dir.as_deref(), &|name| std::env::var_os(name))?;
    let json = global.format == Format::Json;
    let told = if let Some(name) = &options.run {
        let journal = store.open(name)?;
        if !json {
            tell_run(&journal, screen);
            return Ok(Exit::Success);
        }
        format!("{:#}", run_json(&journal))
    } else {
        let (runs, older) = store.newest(options.limit)?;
        if json {
            format!("{:#}", history_json(&runs, older))
        } else if runs.is_empty() {
            return Err(JournalError::Empty { folder: store.folder().to_owned() }.into());
        } else {
            history_text(&runs, older, screen.width)
        }
    };
    screen.result(&told);
    Ok(Exit::Success)
}
