//! Hiding credentials. A policy must not hold any (they are refused), but the message that says so, and the source line
//! shown with it, must not spread them either.

use granit_parser::{Event, Parser};

use super::SourceFile;

/// The text of `file` with the user and password of everything that looks like a URL replaced, for showing.
///
/// It has as many characters and as many bytes as the original, so that every [`super::Span`] still fits. It hides too
/// much rather than too little: whatever stands before an `@` is hidden.
pub fn masked_text(file: &SourceFile) -> String {
    let mut hidden = userinfo(&file.text);
    // A double-quoted scalar can spell its `@` as an escape, and a scalar can go on in the next line.
    let possible = file.text.contains('\\') || file.text.contains('@') && file.text.contains("://");
    if !possible {
        return mask(&file.text, &hidden);
    }
    for (event, span) in Parser::new_from_str_with_options(&file.text, super::tree::options()).map_while(Result::ok) {
        if let (Event::Scalar(text, ..), Some(range)) = (event, span.byte_range()) {
            let source = &file.text[range.clone()];
            let lines = source.contains('\n') && text.contains("://");
            if text.contains('@') && (lines || source.contains('\\')) {
                let start = source.find("://").map_or(0, |colon| colon + 3);
                hidden.push((range.start + start, range.end));
            }
        }
    }
    mask(&file.text, &hidden)
}

/// `text` with everything that looks like the user and password of a URL replaced.
pub(super) fn masked(text: &str) -> String {
    mask(text, &userinfo(text))
}

/// [`excerpt`] in backticks, for messages.
pub(super) fn quoted(text: &str) -> String {
    if text.is_empty() { "`\"\"`".to_owned() } else { format!("`{}`", excerpt(text)) }
}

/// `text` from a policy for messages: masked, on one line, not too long.
pub(super) fn excerpt(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut line = String::new();
    for character in text.chars() {
        match character {
            '\\' | '"' | '\'' => line.push(character),
            _ => line.extend(character.escape_debug()),
        }
    }
    // Masked before it is cut: a cut could take away the `@` that tells what to hide.
    let line = masked(&line);
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// The byte ranges to hide, line by line: from the first `://` (or the start of the word) to each `@`. The last of several
/// `@` counts, because a password may have one.
fn userinfo(text: &str) -> Vec<(usize, usize)> {
    let mut hidden = Vec::new();
    let mut line_start = 0;
    for line in text.split_inclusive('\n') {
        let mut from = 0;
        while let Some((at, width)) = at_sign(&line[from..]).map(|(position, width)| (from + position, width)) {
            let before = &line[from..at];
            let start = match before.find("://") {
                Some(colon) => colon + 3,
                None => before
                    .char_indices()
                    .rev()
                    .find(|(_, character)| character.is_whitespace() || "'\"[]{},`".contains(*character))
                    .map_or(0, |(position, character)| position + character.len_utf8()),
            };
            hidden.push((line_start + from + start, line_start + at));
            from = at + width;
        }
        line_start += line.len();
    }
    hidden
}

/// The place and the length of the next `@`, also where it is spelt as an escape of a double-quoted text. (In a file that
/// is not YAML as a whole, the line is all there is to go by.)
fn at_sign(text: &str) -> Option<(usize, usize)> {
    const SPELLINGS: [&str; 4] = ["@", "\\x40", "\\u0040", "\\U00000040"];
    text.match_indices(['@', '\\']).find_map(|(position, _)| {
        let spelling = SPELLINGS.iter().find(|spelling| text[position..].starts_with(**spelling))?;
        Some((position, spelling.len()))
    })
}

fn mask(text: &str, hidden: &[(usize, usize)]) -> String {
    let mut ranges = hidden.to_vec();
    ranges.sort_unstable();
    let mut ranges = ranges.into_iter().peekable();
    let mut end = 0;
    let mut result = String::with_capacity(text.len());
    for (position, character) in text.char_indices() {
        while let Some((_, range_end)) = ranges.next_if(|(start, _)| *start <= position) {
            end = end.max(range_end);
        }
        result.push(if position < end && !matches!(character, '\n' | '\r') { star(character) } else { character });
    }
    result
}

/// A character to put in the place of another: one of as many bytes.
const fn star(character: char) -> char {
    match character.len_utf8() {
        1 => '*',
        2 => '×',
        3 => '•',
        _ => '𝄪',
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_stands_before_an_at_sign_is_hidden() {
        for (text, shown) in [
            ("http: http://u:secret@proxy:3128", "http: http://********@proxy:3128"),
            ("http: http://u:se@cret@proxy:3128", "http: http://****@****@proxy:3128"),
            ("http: http://u:se/cr?et#@proxy:3128", "http: http://***********@proxy:3128"),
            ("http: http://u:se cret@proxy:3128", "http: http://*********@proxy:3128"),
            ("http: 'u:secret@proxy:3128'", "http: '********@proxy:3128'"),
            ("http: http://ü:€𝄞@proxy:3128", "http: http://×*•𝄪@proxy:3128"),
            ("http: http://proxy:3128", "http: http://proxy:3128"),
            ("[a, u:p@h]", "[a, ***@h]"),
            (r#"http: "http://u:secret\x40proxy:3128"#, r#"http: "http://********\x40proxy:3128"#),
            (r#"http: "http://u:secret\u0040proxy"#, r#"http: "http://********\u0040proxy"#),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn escapes_and_line_breaks_hide_nothing_from_the_mask() {
        for text in [
            "http: \"http://user:secret\\x40proxy:3128\"\n",
            "http: \"user:secret\\u0040proxy:3128\"\n",
            "http: \"http://user:sec@ret\\x40proxy:3128\"\n",
            "http: \"http://user:secret\\\n  more@proxy:3128\"\n",
            "http: http://user:secret\n  more@proxy:3128\n",
            "http: >-\n  http://user:secret\n  more@proxy:3128\n",
        ] {
            let shown = masked_text(&SourceFile { name: String::new(), text: text.to_owned() });
            assert!(!shown.contains("secret") && !shown.contains("ret\\"), "{shown}");
            assert_eq!(shown.len(), text.len());
        }
    }

    #[test]
    fn long_and_odd_text_is_quoted_on_one_line_without_credentials() {
        assert_eq!(quoted("a\nb"), "`a\\nb`");
        assert_eq!(quoted("http://u:secret\nmore@h"), "`http://**************@h`");
        let long = format!("http://{}@h", "secret".repeat(30));
        assert!(!quoted(&long).contains("secret"));
    }

    proptest! {
        #[test]
        fn masking_keeps_bytes_and_characters_and_can_be_repeated(text in "[a-zü€𝄞@:/ '\"\\\\\n-]{0,60}") {
            let file = SourceFile { name: String::new(), text };
            let shown = masked_text(&file);
            prop_assert_eq!(shown.len(), file.text.len());
            let places = |text: &str| text.char_indices().map(|(position, _)| position).collect::<Vec<_>>();
            prop_assert_eq!(places(&shown), places(&file.text));
            let again = masked(&shown);
            prop_assert_eq!(again, shown);
        }
    }
}
