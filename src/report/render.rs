//! What a policy makes of an instance, as it is shown before there is one.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::layout::{count, paint};
use super::screen::role;
use crate::catalog::Platform;
use crate::document::RenderedFile;

/// Every file under its path, indented.
pub fn files_text(policy: &str, platform: Platform, files: &[RenderedFile]) -> String {
    let title = platform.table().title;
    let mut out = format!("Policy {policy} on {title}, {}.\n", count(files.len(), "file"));
    let width = files.iter().map(|file| file.component.name().len()).max().unwrap_or_default();
    for file in files {
        let name = file.component.name();
        let _ = write!(out, "\n{name:width$}  {}", paint(role::HEADING, file.path));
        out.push_str(if file.for_old_docker { "  (Docker older than 23)\n" } else { "\n" });
        for line in file.content.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    out
}

/// The same for machines, version 1.
pub fn files_json(policy: &str, platform: Platform, files: &[RenderedFile]) -> Value {
    let one = |file: &RenderedFile| {
        json!({
            "component": file.component.name(),
            "path": file.path,
            "for_old_docker": file.for_old_docker,
            "content": file.content,
        })
    };
    json!({
        "format": "proxyfleet-files/1",
        "policy": policy,
        "platform": platform.name(),
        "files": files.iter().map(one).collect::<Vec<_>>(),
    })
}

/// User data for machines, version 1.
pub fn user_data_json(policy: &str, platform: Platform, text: &str) -> Value {
    json!({
        "format": "proxyfleet-user-data/1",
        "policy": policy,
        "platform": platform.name(),
        "bytes": text.len(),
        "user_data": text,
    })
}
