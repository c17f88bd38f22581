//! Lines that fit: wrapping, plurals and lists that say when they were cut.

use anstyle::Style;

/// `text` in `style`.
pub(super) fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// `1 instance`, `2 instances`.
pub(super) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// Appends `first` and then `pieces`, separated by blanks, and breaks lines before a piece that would pass `width`.
/// Continued lines are indented by `indent`. Pieces are never broken. ANSI sequences do not count.
pub(super) fn wrap(out: &mut String, first: &str, pieces: &[String], indent: usize, width: usize) {
    out.push_str(first);
    let mut column = visible_width(first);
    let mut line_is_empty = first.trim().is_empty();
    for piece in pieces {
        let length = visible_width(piece);
        if !line_is_empty && column + 1 + length > width {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent));
            column = indent;
        } else if !line_is_empty {
            out.push(' ');
            column += 1;
        }
        out.push_str(piece);
        column += length;
        line_is_empty = false;
    }
    out.push('\n');
}

/// Appends a sentence, broken at its blanks.
pub(super) fn wrap_words(out: &mut String, first: &str, sentence: &str, indent: usize, width: usize) {
    let words: Vec<String> = sentence.split_whitespace().map(str::to_owned).collect();
    wrap(out, first, &words, indent, width);
}

/// The number of columns `text` takes, without its ANSI sequences.
pub(super) fn visible_width(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().chars().count()
}

/// The first `limit` items separated by commas, and how many more there are.
pub(super) fn some_of(items: &[String], limit: usize) -> Vec<String> {
    let hidden = items.len().saturating_sub(limit);
    // "and 1 more" takes as much room as the one.
    let shown = if hidden == 1 { items.len() } else { items.len() - hidden };
    let mut pieces: Vec<String> = items[..shown].iter().map(|item| format!("{item},")).collect();
    if shown < items.len() {
        pieces.push(format!("and {} more", items.len() - shown));
    } else if let Some(last) = pieces.last_mut() {
        last.pop();
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_say_how_much_they_leave_out() {
        let list = |items: &[&str], limit| {
            some_of(&items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>(), limit).join(" ")
        };
        assert_eq!(list(&["a", "b"], 3), "a, b");
        assert_eq!(list(&["a", "b", "c"], 2), "a, b, c");
        assert_eq!(list(&["a", "b", "c", "d"], 2), "a, b, and 2 more");
        assert_eq!(list(&[], 2), "");
    }

    proptest! {
        #[test]
        fn wrapped_lines_fit_unless_one_piece_alone_does_not(words in proptest::collection::vec("[a-z]{1,12}", 0..40), width in 20usize..60) {
            let mut out = String::new();
            wrap(&mut out, "  first", &words, 4, width);
            prop_assert!(out.lines().all(|line| line.chars().count() <= width));
            let again: Vec<&str> = out.split_whitespace().skip(1).collect();
            prop_assert_eq!(again, words.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
