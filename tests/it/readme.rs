//! What the README says is so.

use std::collections::BTreeSet;

use proxyfleet::catalog::{Component, Platform};
use proxyfleet::policy::{Policy, SourceFile, load};

const README: &str = include_str!("../../README.md");

/// The text of the first code block in `language` after `heading`.
fn block(heading: &str, language: &str) -> &'static str {
    let start = README.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("the README has a heading {heading}"));
    let fence = format!("```{language}\n");
    let after = README[start..].split_once(&fence).unwrap_or_else(|| panic!("a {language} block after {heading}")).1;
    after.split_once("```").expect("the block ends").0
}

/// The cells of the table rows after `heading`, without the header.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let start = README.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("the README has a heading {heading}"));
    let rows = README[start..].lines().skip_while(|line| !line.trim_start().starts_with('|'));
    let rows = rows.take_while(|line| line.trim_start().starts_with('|')).skip(2);
    rows.map(|row| row.trim().trim_matches('|').split(" | ").map(str::trim).collect()).collect()
}

/// The words in backquotes.
fn quoted(text: &str) -> BTreeSet<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

#[test]
fn its_policy_loads_without_a_word() {
    let text = block("## A policy", "yaml");
    let loaded = load(&[SourceFile { name: "README.md".to_owned(), text: text.to_owned() }]);
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(loaded.set.policies.len(), 1);
}

#[test]
fn its_table_of_keys_is_the_schema() {
    let schema = proxyfleet::policy::schema().to_string();
    let rows = table("## A policy");
    for row in &rows {
        for key in quoted(row[0]).into_iter().flat_map(|path| path.split('.')) {
            assert!(schema.contains(&format!("\"{key}\"")), "`{key}` is a key");
        }
    }
    let listed: BTreeSet<&str> =
        rows.iter().flat_map(|row| quoted(row[0])).map(|path| path.split('.').next().unwrap_or(path)).collect();
    let schema = proxyfleet::policy::schema();
    let known: BTreeSet<&str> =
        schema["properties"].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(listed, known, "every top-level key is listed");
    let priority = rows.iter().find(|row| row[0] == "`priority`").expect("a row");
    assert_eq!(quoted(priority[2]), BTreeSet::from([Policy::DEFAULT_PRIORITY.to_string().as_str()]));
}

#[test]
fn its_table_of_files_is_the_catalogue() {
    let rows = table("## What it changes on a host");
    let components =
        Component::ALL.into_iter().filter(|component| Platform::AmazonLinux2.component(*component).is_some());
    assert_eq!(rows.len(), components.clone().count());
    for (row, component) in rows.iter().zip(components) {
        assert_eq!(quoted(row[0]), BTreeSet::from([component.name()]));
        let mut path = "";
        for (cell, platform) in row[1..=3].iter().zip(Platform::LINUX) {
            // "the same" repeats the cell before it.
            path = quoted(cell).into_iter().next().unwrap_or(path);
            let carrier = &platform.component(component).expect("every platform has it").carrier;
            assert_eq!(path, carrier.path, "{component} on {platform}");
        }
    }
}

#[test]
fn its_table_of_windows_is_the_catalogue() {
    let rows = table("On Windows Server (2016, 2019, 2022, 2025):");
    let components = Platform::Windows.table().components;
    assert_eq!(rows.len(), components.len());
    for (row, known) in rows.iter().zip(components) {
        assert_eq!(quoted(row[0]), BTreeSet::from([known.component.name()]));
        let carriers = std::iter::once(&known.carrier).chain(&known.fallback).map(|carrier| carrier.path);
        assert_eq!(quoted(row[1]), carriers.collect(), "{}", known.component);
    }
}

#[cfg(all(feature = "aws", feature = "sim"))]
#[test]
fn its_permissions_are_the_operations_that_are_called() {
    use proxyfleet::aws::Operation;
    let listed: BTreeSet<&str> = table("## On a real fleet")
        .iter()
        .flat_map(|row| quoted(row[1]))
        .filter(|word| word.starts_with("ec2:") || word.starts_with("ssm:"))
        .collect();
    let called: BTreeSet<&str> = Operation::ALL
        .iter()
        .map(|operation| operation.action())
        .filter(|action| !action.starts_with("sts:"))
        .collect();
    // Publishing a document with tags needs the right to tag, which is no operation of its own.
    let listed: BTreeSet<&str> = listed.into_iter().filter(|action| *action != "ssm:AddTagsToResource").collect();
    assert_eq!(listed, called);
}

#[cfg(all(feature = "aws", feature = "sim"))]
#[test]
fn its_commands_and_options_exist() {
    use crate::fleet::binary;
    // The words of a call up to its arguments.
    let is_command = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let commands: BTreeSet<Vec<&str>> = table("## Commands")
        .iter()
        .flat_map(|row| quoted(row[0]))
        .map(|call| call.split(' ').take_while(is_command).collect())
        .collect();
    let mut help = String::new();
    for command in &commands {
        let output = binary(&[command, &["--help"][..]].concat()).output().expect("the binary runs");
        assert!(output.status.success(), "`{}` is a command", command.join(" "));
        help += &String::from_utf8(output.stdout).expect("help is text");
    }
    let options = README.split(|character: char| !(character.is_ascii_alphanumeric() || character == '-'));
    let options: BTreeSet<&str> =
        options.filter(|word| word.starts_with("--") && !word.starts_with("---") && word.len() > 2).collect();
    for option in options.into_iter().filter(|option| *option != "--no-default-features") {
        assert!(help.contains(option), "{option} is an option");
    }
}
