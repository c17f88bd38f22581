//! The PowerShell sources one by one: what Windows PowerShell 5.1, the SSM agent and their readers must find in them. The
//! scripts made of them are held by `documents` and `windows_apply`.

use std::fs;
use std::path::Path;

/// A source file.
struct Script {
    name: String,
    text: String,
}

fn sources() -> Vec<Script> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/document/ps1");
    let mut sources = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("readable").path();
        assert_eq!(path.extension().and_then(|found| found.to_str()), Some("ps1"), "{}", path.display());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        sources.push(Script { name, text: fs::read_to_string(&path).expect("sources are text") });
    }
    assert!(!sources.is_empty());
    sources.sort_by(|left, right| left.name.cmp(&right.name));
    sources
}

#[test]
fn sources_are_plain_text() {
    for source in sources() {
        for (number, line) in (1..).zip(source.text.split('\n')) {
            let place = format!("{} line {number}", source.name);
            // Windows PowerShell takes a script for text of the machine's own code page.
            assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{place} holds more than printable ASCII");
            assert!(!line.ends_with(' '), "{place} ends with a blank");
            // The agent puts parameters there.
            assert!(!line.contains("{{") || is_parameter(line), "{place} holds {{{{");
        }
        assert!(source.text.ends_with('\n'), "{} does not end with a line end", source.name);
    }
}

/// Whether a line is `$Name = '{{ Parameter }}'`.
fn is_parameter(line: &str) -> bool {
    let parts = line.split_once(" = '{{ ").and_then(|(name, rest)| Some((name, rest.strip_suffix(" }}'")?)));
    parts.is_some_and(|(name, parameter)| {
        let word = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        name.strip_prefix('$').is_some_and(word) && word(parameter)
    })
}

/// Without wine this is all there is; it misses operators of PowerShell 7 and a closing bracket too many.
#[test]
fn a_parser_has_nothing_to_say() {
    for script in sources() {
        let errors: Vec<String> =
            poshtree::v2::parse(&script.text).errors.iter().map(|error| format!("{error:?}")).collect();
        assert!(errors.is_empty(), "{}: {}", script.name, errors.join("\n"));
    }
    assert!(!poshtree::v2::parse("if ($true) { 'a'").errors.is_empty());
}

#[test]
fn every_function_says_what_it_does_and_has_its_own_name() {
    let mut names: Vec<(String, String)> = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(rest) = line.strip_prefix("function ") else { continue };
            let name = rest.split(['(', ' ']).next().unwrap_or_default();
            assert!(number > 0 && lines[number - 1].starts_with("# "), "{}: {name} has no comment", source.name);
            let verb = name.split('-').next().unwrap_or_default();
            assert!(VERBS.contains(&verb), "{}: {name} has no approved verb", source.name);
            // Names have no case in PowerShell, and a second function would silently replace the first.
            let lower = name.to_ascii_lowercase();
            let known = names.iter().find(|(known, _)| *known == lower).map(|(_, place)| place.as_str());
            // User data has functions of its own in the place of some of an apply.
            let takes_its_place = source.name == "boot.ps1" && known == Some("apply.ps1");
            assert!(known.is_none() || takes_its_place, "{}: {name} is in {known:?} as well", source.name);
            names.push((lower, source.name.clone()));
        }
    }
}

/// The approved verbs (`Get-Verb`) that fit scripts such as these.
const VERBS: &[&str] = &[
    "Add",
    "Assert",
    "Backup",
    "Clear",
    "Close",
    "Compare",
    "Complete",
    "ConvertFrom",
    "ConvertTo",
    "Copy",
    "Edit",
    "Enter",
    "Exit",
    "Expand",
    "Find",
    "Format",
    "Get",
    "Hide",
    "Initialize",
    "Install",
    "Invoke",
    "Join",
    "Limit",
    "Lock",
    "Measure",
    "Merge",
    "Move",
    "New",
    "Open",
    "Pop",
    "Protect",
    "Push",
    "Read",
    "Register",
    "Remove",
    "Rename",
    "Repair",
    "Request",
    "Reset",
    "Resolve",
    "Restart",
    "Restore",
    "Resume",
    "Revoke",
    "Save",
    "Search",
    "Select",
    "Send",
    "Set",
    "Show",
    "Skip",
    "Split",
    "Start",
    "Step",
    "Stop",
    "Suspend",
    "Switch",
    "Test",
    "Trace",
    "Undo",
    "Unlock",
    "Update",
    "Use",
    "Wait",
    "Watch",
    "Write",
];

#[cfg(feature = "sim")]
#[test]
fn windows_powershell_can_run_them() {
    let Some(winhost) = crate::winhost::windows_hosts() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut paths = Vec::new();
    for script in sources() {
        let path = folder.path().join(&script.name);
        fs::write(&path, &script.text).expect("the folder is writable");
        paths.push(path);
    }
    let paths: Vec<&Path> = paths.iter().map(std::path::PathBuf::as_path).collect();
    let checked = winhost.check(&paths).expect("the tool runs");
    let said = String::from_utf8_lossy(&checked.stdout) + String::from_utf8_lossy(&checked.stderr);
    assert_eq!(checked.exit, Some(0), "{said}");
    let bad = folder.path().join("bad.ps1");
    fs::write(&bad, "$a ?? 1\n").expect("the folder is writable");
    assert_ne!(winhost.check(&[&bad]).expect("the tool runs").exit, Some(0));
}
