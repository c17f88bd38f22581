//! What a policy makes of an instance, as it is shown before there is one.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::layout::{count, paint};
use super::screen::role;
use crate::catalog::{Dialect, Platform, ProxyValues};
use crate::document::{RenderedFile, winhttp_command};

/// Every file under its path, indented; on Windows with a hint at what proxyfleet does not write.
pub fn files_text(policy: &str, platform: Platform, values: &ProxyValues, files: &[RenderedFile]) -> String {
    let title = platform.table().title;
    let mut out = format!("Policy {policy} on {title}, {}.\n", count(files.len(), "carrier"));
    let width = files.iter().map(|file| file.component.name().len()).max().unwrap_or_default();
    for file in files {
        let name = file.component.name();
        let _ = write!(out, "\n{name:width$}  {}", paint(role::HEADING, file.path));
        out.push_str(if file.for_old_docker { "  (Docker older than 23)\n" } else { "\n" });
        for line in file.content.lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
    if platform == Platform::Windows {
        let _ = write!(
            out,
            "\nNot written: Windows itself (WinHTTP), which takes the same by\n  {}\n",
            winhttp_command(values)
        );
        let lost = Dialect::WinHttp.lost(&values.bypass);
        if !lost.is_empty() {
            let _ = writeln!(out, "without {}, for which it has no form", lost.join(", "));
        }
    }
    out
}

/// The same for machines, version 1.
pub fn files_json(policy: &str, platform: Platform, values: &ProxyValues, files: &[RenderedFile]) -> Value {
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
        "winhttp": (platform == Platform::Windows).then(|| winhttp_command(values)),
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
