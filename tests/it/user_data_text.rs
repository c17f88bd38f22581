//! User data as text: its size, its forms, its quoting, and what shellcheck says of it.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and say what they leave out")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use proxyfleet::catalog::carrier::{self, Reading};
use proxyfleet::catalog::{Component, MAX_BYPASS_CHARS, Platform, ProxyValues};
use proxyfleet::document::{
    ClusterName, MAX_USER_DATA_BYTES, UserDataError, UserDataForm, UserDataRequest, rendered_files, user_data,
};
use proxyfleet::policy::{DockerRestart, PolicyName};

fn values(entries: usize) -> ProxyValues {
    let entries: Vec<String> = (0..entries).map(|number| format!("host-{number:05}.example.com")).collect();
    let url = "http://10.0.0.131:3128".to_owned();
    ProxyValues::new(url.clone(), url, entries.iter().map(String::as_str))
}

fn request() -> UserDataRequest {
    UserDataRequest {
        values: values(2),
        components: Component::IN_POLICIES.to_vec(),
        docker_restart: DockerRestart::Defer,
        policy: PolicyName::parse("ecs-production").unwrap(),
        cluster: ClusterName::parse("production"),
    }
}

fn text(platform: Platform, form: UserDataForm) -> String {
    user_data(platform, &request(), form).unwrap()
}

/// `UPDATE_GOLDEN=1 cargo test user_data_text` writes the copies anew.
#[test]
fn the_scripts_equal_their_golden_copies() {
    for platform in Platform::ALL {
        let extension = if platform == Platform::Windows { "ps1" } else { "sh" };
        let path = format!("{}/tests/golden/user-data/{platform}.{extension}", env!("CARGO_MANIFEST_DIR"));
        let script = text(platform, UserDataForm::Script);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(Path::new(&path).parent().unwrap()).unwrap();
            std::fs::write(&path, &script).unwrap();
        }
        let golden = std::fs::read_to_string(&path).unwrap_or_default();
        let different = golden.lines().zip(script.lines()).position(|(left, right)| left != right);
        assert!(
            golden == script,
            "{path} differs from line {:?}; if that is meant, run with UPDATE_GOLDEN=1 and read the diff",
            different.map(|line| line + 1)
        );
    }
}

#[test]
fn it_is_small_and_the_same_program_makes_the_same() {
    for platform in Platform::LINUX {
        let whole = text(platform, UserDataForm::Whole);
        assert!(whole.starts_with("#cloud-boothook\n#!/bin/sh\n") && whole.is_ascii() && whole.ends_with('\n'));
        // The longest bypass list that a policy may have takes another 2,000.
        assert!(whole.len() <= 12 * 1024 + 256, "{platform}: {} bytes", whole.len());
        assert!(whole.lines().all(|line| line.len() < 900), "mail parts have lines of at most 998 characters");
        assert_eq!(whole, text(platform, UserDataForm::Whole));
        let part = text(platform, UserDataForm::MimePart);
        let (headers, body) = part.split_once("\n\n").unwrap();
        assert!(headers.starts_with("Content-Type: text/cloud-boothook; charset=\"us-ascii\"\n"), "{headers}");
        assert_eq!(body, whole);
    }
}

#[test]
fn for_windows_it_is_small_as_well() {
    let everything = vec![Component::EcsAgent, Component::Docker, Component::MachineEnvironment];
    // The longest list that a policy may have.
    let entries: Vec<String> = (0..85).map(|number| format!("host-{number:05}.example.com")).collect();
    let url = "http://proxy.internal.example.com:3128".to_owned();
    let longest = ProxyValues::new(url.clone(), url, entries.iter().map(String::as_str));
    assert!((MAX_BYPASS_CHARS - 40..=MAX_BYPASS_CHARS).contains(&longest.bypass.len()), "{}", longest.bypass.len());
    let request = UserDataRequest { components: everything, values: longest, ..request() };
    let whole = user_data(Platform::Windows, &request, UserDataForm::Whole).unwrap();
    assert!(whole.len() <= MAX_USER_DATA_BYTES - 100, "{} bytes", whole.len());
    let script = user_data(Platform::Windows, &request, UserDataForm::Script).unwrap();
    for text in [&whole, &script] {
        assert!(text.is_ascii() && !text.contains('\r') && text.ends_with('\n'));
        // What EC2Launch looks for.
        assert_eq!(text.matches("powershell>").count(), if text == &whole { 2 } else { 0 });
    }
    assert!(whole.starts_with("<powershell>\n") && whole.ends_with("\n</powershell>\n<persist>true</persist>\n"));
    let refused = user_data(Platform::Windows, &request, UserDataForm::MimePart);
    assert_eq!(refused, Err(UserDataError::NoParts { platform: Platform::Windows }));
}

/// What stands between the tags of user data for Windows.
fn inside(whole: &str) -> &str {
    let inside = whole.strip_prefix("<powershell>\n").unwrap();
    inside.strip_suffix("</powershell>\n<persist>true</persist>\n").unwrap()
}

/// What is packed in it.
fn unpacked(whole: &str) -> String {
    let packed = whole.split_once("$Packed = @'\n").unwrap().1.split_once("'@\n").unwrap().0;
    let compressed = piped("base64", &["-d"], packed.as_bytes()).unwrap();
    String::from_utf8(piped("gzip", &["-dc"], &compressed).unwrap()).unwrap()
}

#[test]
fn for_windows_only_names_are_shorter_in_what_is_packed() {
    let readable = text(Platform::Windows, UserDataForm::Script);
    let whole = text(Platform::Windows, UserDataForm::Whole);
    let head = inside(&whole).split_once("# What is packed").unwrap().0;
    let readable = readable.strip_prefix(head).unwrap();
    let unpacked = unpacked(&whole);
    assert_eq!(unpacked.lines().count(), readable.lines().count(), "an error in a line is found there");
    // Names are what follows a dollar sign, and words with a dash between letters.
    let name = regex::Regex::new(r"\$(script:)?[A-Za-z_]\w*|\bf[0-9]+\b|\b[A-Z][A-Za-z]+-[A-Z][A-Za-z]+\b").unwrap();
    let rest = |line: &str| name.replace_all(line.trim_start(), "").into_owned();
    for (short, long) in unpacked.lines().zip(readable.lines()) {
        assert_eq!(rest(short), rest(long));
    }
}

#[test]
fn for_windows_it_can_be_parsed_without_windows() {
    let whole = text(Platform::Windows, UserDataForm::Whole);
    for script in [inside(&whole).to_owned(), unpacked(&whole), text(Platform::Windows, UserDataForm::Script)] {
        let errors = poshtree::v2::parse(&script).errors;
        assert!(errors.is_empty(), "{errors:?}");
    }
}

#[test]
fn what_ec2_would_refuse_is_refused_here() {
    let long = UserDataRequest { values: values(400), ..request() };
    for form in [UserDataForm::Whole, UserDataForm::MimePart] {
        let Err(UserDataError::TooLarge { bytes }) = user_data(Platform::AmazonLinux2, &long, form) else {
            panic!("accepted");
        };
        assert!(bytes > MAX_USER_DATA_BYTES);
    }
    user_data(Platform::AmazonLinux2, &long, UserDataForm::Script).unwrap();
    let nothing = UserDataRequest { components: vec![Component::MachineEnvironment], ..request() };
    let refused = user_data(Platform::AmazonLinux2, &nothing, UserDataForm::Whole);
    assert_eq!(refused, Err(UserDataError::NoComponent { platform: Platform::AmazonLinux2 }));
}

#[test]
fn the_name_of_a_cluster_is_checked() {
    for name in ["a", "A-b_9", &"x".repeat(255)] {
        assert_eq!(ClusterName::parse(name).unwrap().as_str(), name);
    }
    for name in ["", "a b", "a'b", "$a", "a\n", "ü", "a/b", &"x".repeat(256)] {
        assert_eq!(ClusterName::parse(name), None, "{name:?}");
    }
}

/// Runs a program with `input`; `None` where it is not installed.
fn piped(program: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    child.stdin.take().unwrap().write_all(input).unwrap();
    Some(child.wait_with_output().unwrap().stdout)
}

#[test]
fn what_is_packed_is_the_script_that_can_be_read() {
    for platform in Platform::LINUX {
        let whole = text(platform, UserDataForm::Whole);
        let packed = whole.split_once("| gzip -dc\n").unwrap().1.split_once("END\n").unwrap().0;
        let compressed = piped("base64", &["-d"], packed.as_bytes()).unwrap();
        let unpacked = String::from_utf8(piped("gzip", &["-dc"], &compressed).unwrap()).unwrap();
        assert!(unpacked.len() > 10_000);
        let head = whole.strip_prefix("#cloud-boothook\n").unwrap().split_once("# To read what is packed").unwrap().0;
        assert_eq!(format!("{head}{unpacked}"), text(platform, UserDataForm::Script), "{platform}");
    }
}

#[test]
fn where_it_cannot_be_unpacked_it_says_so() {
    let whole = text(Platform::AmazonLinux2, UserDataForm::Whole);
    let broken = whole.replacen("\nH4sI", "\nH4sJ", 1).replace("#cloud-boothook\n", "");
    let output = Command::new("sh").arg("-c").arg(&broken).env("PROXYFLEET_ROOT", "/nowhere").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("proxyfleet: nothing changed: the script could not be unpacked"), "{said}");
}

#[test]
fn shellcheck_has_nothing_to_say_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for platform in Platform::LINUX {
        for (form, more) in [
            (UserDataForm::Whole, [].as_slice()),
            // It does not see that functions are called through `each_component` and from traps.
            (UserDataForm::Script, &["--exclude=SC2317"]),
        ] {
            let path = folder.path().join("user-data.sh");
            std::fs::write(&path, text(platform, form).replace("#cloud-boothook\n", "")).unwrap();
            let call = Command::new("shellcheck").args(["--shell=sh", "--format=gcc"]).args(more).arg(&path).output();
            let Ok(output) = call else {
                println!("shellcheck is not installed: the user data was not checked");
                return;
            };
            assert!(output.status.success(), "{platform} {form:?}\n{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

#[test]
fn rendered_files_have_every_setting_in_the_order_of_the_catalogue() {
    for platform in Platform::ALL {
        let files = rendered_files(platform, &values(1), &Component::IN_POLICIES);
        let components: Vec<Component> = files.iter().map(|file| file.component).collect();
        let mut sorted = components.clone();
        sorted.sort_unstable();
        assert_eq!(components, sorted, "{platform}");
        for file in &files {
            let carrier = platform.component(file.component).unwrap().carrier_at(file.path).unwrap();
            for setting in carrier.settings {
                let reading = carrier::read(carrier.syntax, file.content.as_bytes(), setting.key).unwrap();
                let wanted = values(1).value(setting.rule).into_bytes();
                assert_eq!(reading, Reading::Value(wanted), "{platform} {} {}", file.path, setting.key);
            }
            assert_eq!(file.content.starts_with(carrier::HEADER), carrier.header, "{}", file.path);
        }
    }
}
