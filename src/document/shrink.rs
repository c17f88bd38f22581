//! PowerShell made short: names that only the script itself knows become as short as they can be.
//!
//! It takes the sources of this program, not any script: functions are called with positional arguments, no name of a variable
//! is ever part of a text that is looked up, and no text in single quotes has a dollar sign in front of a letter.

use std::collections::{BTreeMap, BTreeSet};

/// Variables that PowerShell gives or reads, in lower case.
const KNOWN: [&str; 10] = [
    "_",
    "args",
    "erroractionpreference",
    "false",
    "matches",
    "null",
    "pid",
    "progresspreference",
    "true",
    "warningpreference",
];

/// Other variables that PowerShell sets, as far as they could be the beginning of a name.
const AUTOMATIC: [&str; 11] =
    ["error", "event", "foreach", "home", "host", "input", "profile", "pwd", "sender", "switch", "this"];

/// The lines of a script without indentation, with short names for its functions and for all variables but those in `kept`,
/// which somebody else sets.
pub(super) fn shrunk(lines: &[String], kept: &[&str]) -> Vec<String> {
    let functions: BTreeMap<&str, String> = lines
        .iter()
        .filter_map(|line| line.trim_start().strip_prefix("function ")?.split([' ', '(']).next())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .enumerate()
        // No alias and no program has such a name.
        .map(|(number, name)| (name, format!("f{number}")))
        .collect();
    let variables = short_names(lines, kept);
    lines.iter().map(|line| rename(line.trim_start(), &functions, &variables)).collect()
}

/// The lines of a script with abbreviated names for all variables but those in `kept`. People read these: functions keep
/// their names, an abbreviation is the beginning of a name, and a change of the script hardly changes any of them.
pub(super) fn abbreviated(lines: &[String], kept: &[&str]) -> Vec<String> {
    let variables = abbreviations(counted(lines, kept).into_keys(), kept);
    lines.iter().map(|line| rename(line, &BTreeMap::new(), &variables)).collect()
}

/// For each name the shortest beginning of it that is not taken, in alphabetical order.
fn abbreviations(names: impl Iterator<Item = String>, kept: &[&str]) -> BTreeMap<String, String> {
    let mut taken: BTreeSet<String> = kept.iter().map(|name| name.to_ascii_lowercase()).collect();
    taken.extend(KNOWN.iter().chain(&AUTOMATIC).map(|name| (*name).to_owned()));
    let mut short = BTreeMap::new();
    for name in names {
        let beginnings = (1..=name.len()).map(|length| name[..length].to_owned());
        let numbered = (1..).map(|number: u32| format!("{name}{number}"));
        let found = beginnings.chain(numbered).find(|candidate| !taken.contains(candidate));
        let found = found.expect("invariant: numbers do not end");
        taken.insert(found.clone());
        short.insert(name, found);
    }
    short
}

/// A short name for each variable, by its name in lower case. What occurs most gets the shortest.
fn short_names(lines: &[String], kept: &[&str]) -> BTreeMap<String, String> {
    let mut names: Vec<(String, usize)> = counted(lines, kept).into_iter().collect();
    names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    names.into_iter().enumerate().map(|(number, (name, _))| (name, letters(number))).collect()
}

/// How often each variable that may be renamed occurs, by its name in lower case.
fn counted(lines: &[String], kept: &[&str]) -> BTreeMap<String, usize> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for piece in lines.iter().flat_map(|line| pieces(line)) {
        if let Piece::Variable(name) = piece {
            *counts.entry(name.to_ascii_lowercase()).or_default() += 1;
        }
    }
    counts.retain(|name, _| {
        !KNOWN.contains(&name.as_str()) && !kept.iter().any(|other| other.eq_ignore_ascii_case(name))
    });
    counts
}

/// `a` to `z`, then `aa`, `ab` and so on.
fn letters(number: usize) -> String {
    let last = char::from(b'a' + u8::try_from(number % 26).expect("invariant: below 26"));
    match number / 26 {
        0 => last.to_string(),
        more => letters(more - 1) + &last.to_string(),
    }
}

fn rename(line: &str, functions: &BTreeMap<&str, String>, variables: &BTreeMap<String, String>) -> String {
    pieces(line)
        .into_iter()
        .map(|piece| match piece {
            Piece::Variable(name) => variables.get(&name.to_ascii_lowercase()).map_or(name, String::as_str),
            Piece::Word(word) => functions.get(word).map_or(word, String::as_str),
            Piece::Other(text) => text,
        })
        .collect()
}

/// A piece of a line.
enum Piece<'a> {
    /// The name of a variable, without the dollar sign and the scope in front of it.
    Variable(&'a str),
    /// What may be the name of a function.
    Word(&'a str),
    /// Anything else, a dollar sign included.
    Other(&'a str),
}

fn pieces(line: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let after_dollar = matches!(pieces.last(), Some(Piece::Other("$" | "${" | "$script:")));
        let end = |is_inside: fn(char) -> bool| rest.find(|c| !is_inside(c)).unwrap_or(rest.len());
        let is_variable = after_dollar && (first.is_ascii_alphabetic() || first == '_');
        let is_word = first.is_ascii_alphanumeric() || first == '-';
        let length = match rest {
            _ if is_variable => end(|c| c.is_ascii_alphanumeric() || c == '_'),
            _ if is_word => end(|c| c.is_ascii_alphanumeric() || c == '-'),
            _ if rest.starts_with("$env:") => "$env:".len(),
            // A name in braces, which is that of a variable of the script itself.
            _ if rest.starts_with("${") => "${".len(),
            _ if rest.starts_with("$script:") => "$script:".len(),
            _ => first.len_utf8(),
        };
        let (text, after) = rest.split_at(length);
        pieces.push(match text {
            _ if is_variable => Piece::Variable(text),
            _ if is_word => Piece::Word(text),
            _ => Piece::Other(text),
        });
        rest = after;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shrink(text: &str) -> String {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        shrunk(&lines, &["Given"]).join("\n")
    }

    #[test]
    fn only_names_of_the_script_itself_change() {
        let cases = [
            ("$value = 1\n  \"$Value and $(Read-Own $value)\"", "$a = 1\n\"$a and $(Read-Own $a)\""),
            (
                "function Read-Own([string]$Text) { $Text.Value }\n-not (Read-Own 'Text')",
                "function f0([string]$a) { $a.Value }\n-not (f0 'Text')",
            ),
            ("$script:given = $env:value; $script:Lock = $null", "$script:given = $env:value; $script:a = $null"),
            (
                "$_.Name -cmatch 'a$|$1'; $Matches[1]; @{ Own = $own }",
                "$_.Name -cmatch 'a$|$1'; $Matches[1]; @{ Own = $a }",
            ),
            ("\"${value}:443 $value\"", "\"${a}:443 $a\""),
            ("\"\\A$shape(?<name>.)$\" Read-Own Read-OwnMore", "\"\\A$a(?<name>.)$\" Read-Own Read-OwnMore"),
        ];
        for (text, expected) in cases {
            assert_eq!(shrink(text), expected);
        }
    }

    #[test]
    fn abbreviations_are_the_beginnings_of_names() {
        let short = |names: &[&str]| -> Vec<String> {
            let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
            abbreviations(names.into_iter(), &["C"]).into_values().collect()
        };
        assert_eq!(short(&["carrier", "carriers", "name"]), ["ca", "car", "n"]);
        assert_eq!(short(&["p", "pi", "pid2"]), ["p", "pi", "pid2"], "a variable of PowerShell itself is nobody's");
        assert_eq!(short(&["xaa", "xab", "x"]), ["x", "xa", "xab"]);
        let lines = vec!["function Get-It([string]$Carrier) {".to_owned(), " \"${Carrier}: $C\"".to_owned()];
        assert_eq!(abbreviated(&lines, &["C"]), ["function Get-It([string]$ca) {", " \"${ca}: $C\""]);
    }

    #[test]
    fn names_are_short_and_different() {
        let all: BTreeSet<String> = (0..2000).map(letters).collect();
        assert_eq!(all.len(), 2000);
        assert_eq!(
            (letters(25), letters(26), letters(701), letters(702)),
            ("z".into(), "aa".into(), "zz".into(), "aaa".into())
        );
        assert!(KNOWN.iter().all(|name| name.len() > 2 || *name == "_"));
    }
}
