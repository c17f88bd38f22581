//! The object `proxies` of docker's `daemon.json` (proxy-by-os 6.1).
//!
//! The text is scanned as JSON of RFC 8259, at most [`DEPTH_LIMIT`] deep, and edited at the places that the scan found:
//! every byte outside of our members stays. Names are compared after their escapes are undone. Docker reads names without
//! regard to case, and the later one wins, so `Proxies` counts as a second `proxies`: who reads what can no longer be told,
//! and the file is refused.
//!
//! # Layout
//! A new member goes behind the last one of its object: on a line of its own, indented like the first member, where that one
//! is on a line of its own, else on the same line. So taking it out again gives back the same bytes. Three texts do not
//! come back, because nothing in the result tells of them: an empty or blank file and an object without members (it becomes
//! `{}` with the blanks around it, or the `\n` of the new file), and an empty `proxies` (it goes with our last member).

use std::ops::Range;

use super::{Edit, Reading, SIZE_LIMIT_BYTES, Unsupported};
use crate::catalog::Key;

/// How deep arrays and objects may lie within each other; `serde_json` has the same limit.
const DEPTH_LIMIT: usize = 127;

const PROXIES: &str = "proxies";

const MARK: &str = "\u{feff}";

/// What the file says of `key`.
pub(super) fn read(content: &[u8], key: Key) -> Result<Reading, Unsupported> {
    let text = text(content)?;
    let member = find(text, key)?;
    Ok(member.map_or(Reading::Unset, |member| Reading::Value(unescape(&text[member.value]).into_bytes())))
}

/// The member's value as it is written, quotes and escapes included.
pub(super) fn raw_line(content: &[u8], key: Key) -> Result<Option<Vec<u8>>, Unsupported> {
    let text = text(content)?;
    Ok(find(text, key)?.map(|member| text[member.value].as_bytes().to_vec()))
}

/// The file after `edits`.
pub(super) fn edit(content: &[u8], edits: &[Edit<'_>]) -> Result<Vec<u8>, Unsupported> {
    let mut text = text(content)?.to_owned();
    survey(&text)?;
    for edit in edits {
        text = apply(text, edit)?;
    }
    Ok(text.into_bytes())
}

/// Whether there is no member.
pub(super) fn is_empty(content: &[u8]) -> bool {
    text(content).is_ok_and(|text| survey(text).is_ok_and(|survey| survey.is_none_or(|top| top.top.members.is_empty())))
}

/// The member of `proxies` that carries a key; `None` for a key that docker does not have.
const fn member_name(key: Key) -> Option<&'static str> {
    match key {
        Key::HttpProxy => Some("http-proxy"),
        Key::HttpsProxy => Some("https-proxy"),
        Key::NoProxy => Some("no-proxy"),
        Key::Proxy => None,
    }
}

fn text(content: &[u8]) -> Result<&str, Unsupported> {
    check_size(content)?;
    std::str::from_utf8(content).map_err(|_| Unsupported::NotText)
}

fn check_size(content: &[u8]) -> Result<(), Unsupported> {
    if content.len() > SIZE_LIMIT_BYTES { Err(Unsupported::TooLarge) } else { Ok(()) }
}

fn find(text: &str, key: Key) -> Result<Option<Member>, Unsupported> {
    let survey = survey(text)?;
    let proxies = survey.and_then(|survey| survey.proxies);
    Ok(proxies.zip(member_name(key)).and_then(|((_, proxies), name)| proxies.only(name)))
}

/// What an edit needs to know of a file that is not blank.
struct Documents {
    top: Object,
    /// The object `proxies`, and its place among the members of the top.
    proxies: Option<(usize, Object)>,
}

/// Scans the text and refuses what is not JSON or not clear; `None` for a blank text.
fn survey(text: &str) -> Result<Option<Documents>, Unsupported> {
    // An edit must not make a file that the next one refuses.
    check_size(text.as_bytes())?;
    if text.starts_with(MARK) {
        return Err(Unsupported::ByteOrderMark);
    }
    let mut scanner = Scanner { text, at: 0 };
    scanner.blanks();
    if scanner.at == text.len() {
        return Ok(None);
    }
    if scanner.peek() != Some(b'{') {
        return Err(Unsupported::NotJson);
    }
    let top = scanner.object(1).ok_or(Unsupported::NotJson)?;
    scanner.blanks();
    if scanner.at != text.len() {
        return Err(Unsupported::NotJson);
    }
    let Some(place) = top.place(PROXIES)? else { return Ok(Some(Documents { top, proxies: None })) };
    let start = top.members[place].value.start;
    if !text[start..].starts_with('{') {
        return Err(Unsupported::OddProxies);
    }
    let proxies = Scanner { text, at: start }.object(1).ok_or(Unsupported::NotJson)?;
    for name in Key::ALL.into_iter().filter_map(member_name) {
        if let Some(place) = proxies.place(name)? {
            let value = &text[proxies.members[place].value.clone()];
            // No proxy and no list has a control character, and none may reach a report.
            if !value.starts_with('"') || unescape(value).chars().any(|char| char.is_ascii_control()) {
                return Err(Unsupported::OddProxies);
            }
        }
    }
    Ok(Some(Documents { top, proxies: Some((place, proxies)) }))
}

fn apply(mut text: String, edit: &Edit<'_>) -> Result<String, Unsupported> {
    let (key, value) = match *edit {
        Edit::Set { key, value } => (key, Some(format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))),
        Edit::Remove { key } => (key, None),
        Edit::Restore { key, line } => (key, Some(literal(line).ok_or(Unsupported::OddProxies)?.to_owned())),
    };
    let Some(name) = member_name(key) else { return Ok(text) };
    let documents = survey(&text)?;
    let member =
        documents.as_ref().and_then(|documents| documents.proxies.as_ref()).and_then(|(_, proxies)| proxies.only(name));
    match (value, member, documents) {
        (None, None, _) => {}
        (None, Some(member), documents) => remove(&mut text, &member, documents),
        (Some(value), Some(member), _) => {
            let keep = matches!(*edit, Edit::Set { value, .. } if key.kind().same(&unescape(&text[member.value.clone()]), value));
            if !keep {
                text.replace_range(member.value, &value);
            }
        }
        (Some(value), None, documents) => add(&mut text, &format!("\"{name}\": {value}"), documents),
    }
    survey(&text)?;
    Ok(text)
}

/// Takes a member of `proxies` out, and `proxies` with its last one.
fn remove(text: &mut String, member: &Member, documents: Option<Documents>) {
    let Some(Documents { top, proxies: Some((place, proxies)) }) = documents else { return };
    let object = if proxies.members.len() == 1 { &top } else { &proxies };
    let at = proxies.members.iter().position(|other| other.start == member.start);
    let at = if proxies.members.len() == 1 { place } else { at.unwrap_or_default() };
    let range = match (at.checked_sub(1).map(|before| &object.members[before]), object.members.get(at + 1)) {
        (Some(before), _) => before.value.end..object.members[at].value.end,
        (None, Some(after)) => object.members[at].start..after.start,
        (None, None) => object.inside.clone(),
    };
    text.replace_range(range, "");
}

/// Puts `member` behind the others of `proxies`, which is made where it is missing.
fn add(text: &mut String, member: &str, documents: Option<Documents>) {
    let Some(Documents { top, proxies }) = documents.filter(|documents| !documents.top.members.is_empty()) else {
        *text = format!("{{\n  \"{PROXIES}\": {{\n    {member}\n  }}\n}}\n");
        return;
    };
    let outer = top.separator(text);
    let (inner, end) = match outer.rfind('\n') {
        Some(newline) => (format!("{outer}{}", &outer[newline + 1..]), outer.as_str()),
        None => (String::new(), ""),
    };
    match proxies {
        None => {
            let at = top.end_of_last();
            text.insert_str(at, &format!(",{outer}\"{PROXIES}\": {{{inner}{member}{end}}}"));
        }
        Some((_, proxies)) if proxies.members.is_empty() => {
            text.replace_range(proxies.inside, &format!("{inner}{member}{end}"));
        }
        Some((_, proxies)) => {
            let separator = proxies.separator(text);
            text.insert_str(proxies.end_of_last(), &format!(",{separator}{member}"));
        }
    }
}

/// A member of an object, by its places in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    /// Without escapes.
    name: String,
    /// Where the quote before its name is.
    start: usize,
    value: Range<usize>,
}

#[derive(Debug)]
struct Object {
    /// What is between the braces.
    inside: Range<usize>,
    members: Vec<Member>,
}

impl Object {
    /// The place of the member called `name`; an error when it is there twice or in another case.
    fn place(&self, name: &str) -> Result<Option<usize>, Unsupported> {
        let mut places = self.members.iter().enumerate().filter(|(_, member)| member.name.eq_ignore_ascii_case(name));
        match (places.next(), places.next()) {
            (None, _) => Ok(None),
            (Some((place, member)), None) if member.name == name => Ok(Some(place)),
            _ => Err(Unsupported::OddProxies),
        }
    }

    /// The member called `name`, in a text that was surveyed.
    fn only(&self, name: &str) -> Option<Member> {
        self.members.iter().find(|member| member.name == name).cloned()
    }

    fn end_of_last(&self) -> usize {
        self.members.last().map_or(self.inside.start, |last| last.value.end)
    }

    /// What stands between two members: a line break and the indentation of the first member, or a blank.
    fn separator(&self, text: &str) -> String {
        let before = self.members.first().map_or("", |first| &text[self.inside.start..first.start]);
        match before.rfind('\n') {
            Some(newline) => {
                let ending = if before[..newline].ends_with('\r') { "\r\n" } else { "\n" };
                format!("{ending}{}", &before[newline + 1..])
            }
            None => " ".to_owned(),
        }
    }
}

/// A place in the text. Its functions answer `None` where the text is not JSON.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) -> usize {
        let start = self.at;
        while self.peek().is_some_and(&wanted) {
            self.at += 1;
        }
        self.at - start
    }

    fn blanks(&mut self) {
        self.skip_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'{' => self.object(depth).map(drop),
            b'[' => self.array(depth),
            b'"' => self.string(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Object> {
        let mut members = Vec::new();
        let inside = self.sequence(b'{', b'}', depth, |scanner| {
            let start = scanner.at;
            scanner.string()?;
            let name = unescape(&scanner.text[start..scanner.at]);
            scanner.blanks();
            scanner.expect(b':')?;
            scanner.blanks();
            let value = scanner.at;
            scanner.value(depth + 1)?;
            members.push(Member { name, start, value: value..scanner.at });
            Some(())
        })?;
        Some(Object { inside, members })
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.sequence(b'[', b']', depth, |scanner| scanner.value(depth + 1)).map(drop)
    }

    /// Elements with commas between them, from `open` to `close`; gives back what is between these two.
    fn sequence(
        &mut self,
        open: u8,
        close: u8,
        depth: usize,
        mut element: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<Range<usize>> {
        self.expect(open)?;
        if depth > DEPTH_LIMIT {
            return None;
        }
        let start = self.at;
        self.blanks();
        if self.peek()? == close {
            self.at += 1;
            return Some(start..self.at - 1);
        }
        loop {
            self.blanks();
            element(self)?;
            self.blanks();
            match self.next()? {
                b',' => {}
                byte if byte == close => return Some(start..self.at - 1),
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<()> {
        self.expect(b'"')?;
        loop {
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                    b'u' => {
                        for _ in 0..4 {
                            self.next().filter(u8::is_ascii_hexdigit)?;
                        }
                    }
                    _ => return None,
                },
                0..0x20 => return None,
                _ => {}
            }
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.next()? {
            b'0' => {}
            b'1'..=b'9' => drop(self.digits()),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        (self.skip_while(|byte| byte.is_ascii_digit()) > 0).then_some(())
    }
}

/// A value to restore as text, if it is one JSON string and nothing else.
fn literal(raw: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(raw).ok()?;
    let mut scanner = Scanner { text, at: 0 };
    scanner.string()?;
    (scanner.at == text.len()).then_some(text)
}

/// What a scanned string stands for. Half a surrogate pair becomes U+FFFD, as in docker.
fn unescape(literal: &str) -> String {
    let mut units = Vec::with_capacity(literal.len());
    let mut chars = literal[1..literal.len() - 1].chars();
    while let Some(char) = chars.next() {
        let char = if char == '\\' {
            chars.next().unwrap_or_default()
        } else {
            units.extend(char.encode_utf16(&mut [0; 2]).iter());
            continue;
        };
        units.push(match char {
            'b' => 0x8,
            'f' => 0xc,
            'n' => 0xa,
            'r' => 0xd,
            't' => 0x9,
            'u' => chars.by_ref().take(4).fold(0, |unit, digit| {
                unit << 4 | u16::try_from(digit.to_digit(16).unwrap_or_default()).unwrap_or_default()
            }),
            other => u16::try_from(u32::from(other)).unwrap_or_default(),
        });
    }
    char::decode_utf16(units).map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests;
