//! Reads policy files and checks them together.

use std::path::{Path, PathBuf};

use super::error::CliError;
use crate::policy::{Diagnostic, PolicySet, Severity, SourceFile, load};
use crate::report::{Screen, diagnostics_text};

/// What a command got for its paths.
pub(super) struct LoadedPolicies {
    pub(super) set: PolicySet,
    pub(super) files: Vec<SourceFile>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl LoadedPolicies {
    /// Whether a diagnostic is an error.
    pub(super) fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads policies for a command that acts on them: mistakes end it, warnings are said.
pub(super) fn read_for_a_run(paths: &[PathBuf], json: bool, screen: Screen) -> Result<PolicySet, CliError> {
    let loaded = read(paths)?;
    if loaded.has_errors() {
        return Err(CliError::Policies { files: loaded.files, diagnostics: loaded.diagnostics });
    }
    if !json && !loaded.diagnostics.is_empty() {
        screen.say(&diagnostics_text(&loaded.files, &loaded.diagnostics, screen.width));
    }
    Ok(loaded.set)
}

/// Reads files, and folders with their subfolders in the order of their names, and checks everything as one set.
pub(super) fn read(paths: &[PathBuf]) -> Result<LoadedPolicies, CliError> {
    let mut files = Vec::new();
    for path in paths {
        let before = files.len();
        let metadata = std::fs::metadata(path).map_err(|source| CliError::Read { path: path.clone(), source })?;
        if metadata.is_dir() {
            read_folder(path, &mut files)?;
            if files.len() == before {
                return Err(CliError::NoPolicies { path: path.clone() });
            }
        } else {
            read_file(path, &mut files)?;
        }
    }
    let loaded = load(&files);
    Ok(LoadedPolicies { set: loaded.set, files, diagnostics: loaded.diagnostics })
}

fn read_folder(folder: &Path, files: &mut Vec<SourceFile>) -> Result<(), CliError> {
    let error = |source| CliError::Read { path: folder.to_owned(), source };
    let mut entries = std::fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(error)?
        .into_iter()
        .map(|entry| entry.path())
        .collect::<Vec<_>>();
    entries.sort();
    for path in entries {
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let policy = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        if hidden {
            continue;
        }
        // A link to a folder is not followed: it could lead round in a circle.
        if path.is_dir() && !path.is_symlink() {
            read_folder(&path, files)?;
        } else if policy {
            read_file(&path, files)?;
        }
    }
    Ok(())
}

fn read_file(path: &Path, files: &mut Vec<SourceFile>) -> Result<(), CliError> {
    let name = path.display().to_string();
    if files.iter().any(|file| file.name == name) {
        return Ok(());
    }
    let text = std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    files.push(SourceFile { name, text });
    Ok(())
}
