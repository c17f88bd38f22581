//! What is JSON, what is refused, and that edits keep everything else.

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::super::{HEADER, Syntax, is_only_ours};
use super::*;

const KEYS: [Key; 3] = [Key::HttpProxy, Key::HttpsProxy, Key::NoProxy];

const ALL_THREE: [Edit<'_>; 3] = [
    Edit::Set { key: Key::HttpProxy, value: "http://h:1" },
    Edit::Set { key: Key::HttpsProxy, value: "http://h:2" },
    Edit::Set { key: Key::NoProxy, value: "a,.b" },
];

fn edited(content: &str, edits: &[Edit<'_>]) -> String {
    let edited = edit(content.as_bytes(), edits).unwrap_or_else(|reason| panic!("{content:?}: {reason}"));
    String::from_utf8(edited).expect("text stays text")
}

fn value(text: &str) -> Reading {
    Reading::Value(text.as_bytes().to_vec())
}

#[test]
fn the_member_is_found_however_it_is_written() {
    for (content, expected) in [
        ("", Ok(Reading::Unset)),
        (" \r\n\t", Ok(Reading::Unset)),
        ("{}", Ok(Reading::Unset)),
        (r#"{"proxies":{}}"#, Ok(Reading::Unset)),
        (r#"{"http-proxy":"a","x":{"proxies":{"http-proxy":"b"}}}"#, Ok(Reading::Unset)),
        (r#"{"proxies":{"http-proxy":"http://h:1"}}"#, Ok(value("http://h:1"))),
        (
            r#"{"proxies":{"http-proxy":"http:\/\/h:1\u00e4\ud83d\ude00\ud800x\"\\"}}"#,
            Ok(value("http://h:1ä😀\u{fffd}x\"\\")),
        ),
        (r#"{"\u0070roxies":{"http\u002Dproxy":"a"}}"#, Ok(value("a"))),
        (r#"{"proxies":{"http-proxy":"a\n"}}"#, Err(Unsupported::OddProxies)),
        (r#"{"proxies":{"http-proxy":null}}"#, Err(Unsupported::OddProxies)),
        (r#"{"proxies":{"no-proxy":["a"]}}"#, Err(Unsupported::OddProxies)),
        (r#"{"proxies":{"HTTP-Proxy":"a"}}"#, Err(Unsupported::OddProxies)),
        (r#"{"proxies":{"no-proxy":"a","no-proxy":"a"}}"#, Err(Unsupported::OddProxies)),
        (r#"{"proxies":{"no-proxy":"a","no\u002dproxy":"a"}}"#, Err(Unsupported::OddProxies)),
        (r#"{"proxies":{},"Proxies":{}}"#, Err(Unsupported::OddProxies)),
        (r#"{"Proxies":{}}"#, Err(Unsupported::OddProxies)),
        (r#"{"proxies":null}"#, Err(Unsupported::OddProxies)),
        (r#"{"a":[1e999,"\udc00\ud800"]}"#, Ok(Reading::Unset)),
        ("[]", Err(Unsupported::NotJson)),
        ("{} {}", Err(Unsupported::NotJson)),
        ("{,}", Err(Unsupported::NotJson)),
        (r#"{"a":1,}"#, Err(Unsupported::NotJson)),
        (r#"{"a":01}"#, Err(Unsupported::NotJson)),
        ("{\"a\":\"\t\"}", Err(Unsupported::NotJson)),
        ("// c\n{}", Err(Unsupported::NotJson)),
        ("\u{a0}{}", Err(Unsupported::NotJson)),
        ("\u{feff}{}", Err(Unsupported::ByteOrderMark)),
    ] {
        assert_eq!(read(content.as_bytes(), Key::HttpProxy), expected, "{content}");
        let refused = expected.err();
        assert_eq!(edit(content.as_bytes(), &[]).err(), refused, "{content}");
        assert_eq!(raw_line(content.as_bytes(), Key::HttpProxy).err(), refused, "{content}");
    }
    assert_eq!(read(b"\xff\xfe{\0}\0", Key::HttpProxy), Err(Unsupported::NotText));
    assert_eq!(read(&vec![b' '; SIZE_LIMIT_BYTES + 1], Key::HttpProxy), Err(Unsupported::TooLarge));
    assert_eq!(read(&vec![b' '; SIZE_LIMIT_BYTES], Key::HttpProxy), Ok(Reading::Unset));
    let full = [b"{\"a\":1".as_slice(), &vec![b' '; SIZE_LIMIT_BYTES - 7], b"}"].concat();
    assert_eq!(read(&full, Key::HttpProxy), Ok(Reading::Unset));
    assert_eq!(edit(&full, &ALL_THREE), Err(Unsupported::TooLarge));
}

#[test]
fn the_layout_follows_the_file() {
    let made = "{\n  \"proxies\": {\n    \"http-proxy\": \"http://h:1\",\n    \"https-proxy\": \"http://h:2\",\n    \"no-proxy\": \"a,.b\"\n  }\n}\n";
    for (content, expected) in [
        ("", made),
        (" \n", made),
        ("{}", made),
        ("{ \r\n}\r\n", made),
        (
            r#"{"a": 1}"#,
            r#"{"a": 1, "proxies": {"http-proxy": "http://h:1", "https-proxy": "http://h:2", "no-proxy": "a,.b"}}"#,
        ),
        (
            "{\r\n\t\"a\": [\r\n\t]\r\n}",
            "{\r\n\t\"a\": [\r\n\t],\r\n\t\"proxies\": {\r\n\t\t\"http-proxy\": \"http://h:1\",\r\n\t\t\"https-proxy\": \"http://h:2\",\r\n\t\t\"no-proxy\": \"a,.b\"\r\n\t}\r\n}",
        ),
        (
            "{\n\n \"proxies\" : {  }\n}",
            "{\n\n \"proxies\" : {\n  \"http-proxy\": \"http://h:1\",\n  \"https-proxy\": \"http://h:2\",\n  \"no-proxy\": \"a,.b\"\n }\n}",
        ),
        (
            r#"{"proxies":{"no-proxy":".B, a","http-proxy":"x"},"z":0}"#,
            r#"{"proxies":{"no-proxy":".B, a","http-proxy":"http://h:1", "https-proxy": "http://h:2"},"z":0}"#,
        ),
    ] {
        assert_eq!(edited(content, &ALL_THREE), expected, "{content:?}");
    }
    assert_eq!(
        edited("", &[Edit::Set { key: Key::NoProxy, value: "\\\\.\\pipe" }]).lines().nth(2),
        Some(r#"    "no-proxy": "\\\\.\\pipe""#)
    );
}

#[test]
fn our_last_member_takes_the_object_along() {
    let remove = KEYS.map(|key| Edit::Remove { key });
    for (content, expected) in [
        ("", ""),
        ("{\"proxies\": {}}", "{\"proxies\": {}}"),
        ("{\n \"proxies\": { \"no-proxy\": \"a\" }\n}\n", "{}\n"),
        ("{\"proxies\":{\"no-proxy\":\"a\"}, \"b\":1}", "{\"b\":1}"),
        ("{\"a\":1 , \"proxies\":{\"no-proxy\":\"a\"} }", "{\"a\":1 }"),
        (
            "{\"proxies\":{\"http-proxy\":\"a\",\"x\":1, \"no-proxy\":\"a\" ,\"y\":2}}",
            "{\"proxies\":{\"x\":1 ,\"y\":2}}",
        ),
    ] {
        assert_eq!(edited(content, &remove), expected, "{content:?}");
    }
    let made = edited("", &ALL_THREE);
    assert!(!is_only_ours(Syntax::DaemonJson, made.as_bytes(), HEADER));
    let left = edited(&made, &remove);
    assert_eq!(left, "{}\n");
    assert!(is_only_ours(Syntax::DaemonJson, left.as_bytes(), HEADER));
    assert!(!is_only_ours(Syntax::DaemonJson, b"{} x", HEADER));
}

#[test]
fn what_the_user_had_comes_back_as_it_was_written() {
    let content = "{\"proxies\" : {\"http-proxy\":\"http:\\/\\/u\"}}";
    let line = raw_line(content.as_bytes(), Key::HttpProxy).expect("supported").expect("set");
    assert_eq!(line, br#""http:\/\/u""#);
    let set = edited(content, &ALL_THREE);
    let back = [
        Edit::Restore { key: Key::HttpProxy, line: &line },
        Edit::Remove { key: Key::HttpsProxy },
        Edit::Remove { key: Key::NoProxy },
    ];
    assert_eq!(edited(&set, &back), content);
    for line in ["1", "\"a\", \"b\": 1", "\"a", "\"a\"\n", "", "\"\\u0000\"", "null"] {
        let restore = [Edit::Restore { key: Key::NoProxy, line: line.as_bytes() }];
        assert_eq!(edit(content.as_bytes(), &restore), Err(Unsupported::OddProxies), "{line}");
    }
}

#[test]
fn depth_is_limited() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    for (depth, good) in [(1, true), (DEPTH_LIMIT, true), (DEPTH_LIMIT + 1, false), (100_000, false)] {
        let text = if depth == 1 { "{}".to_owned() } else { nested(depth) };
        assert_eq!(edit(text.as_bytes(), &[]).is_ok(), good, "{depth}");
        assert_eq!(serde_json::from_str::<Value>(&text).is_ok(), good, "{depth}");
    }
}

/// JSON that has many of the names we look for.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e9..1e9).prop_map(Value::from),
        "[a-z\"\\\\/\u{e4}\u{1f600}\n\u{1}{}\\[\\],: -]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((member(), inner), 0..4)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn member() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec!["proxies", "http-proxy", "https-proxy", "no-proxy", "hosts", "log-opts", ""])
            .prop_map(str::to_owned),
        "[a-z\"\\\\{},: ]{0,4}",
    ]
}

/// A `daemon.json` whose `proxies`, if there, is as it should be.
fn daemon() -> impl Strategy<Value = Map<String, Value>> {
    let text = prop_oneof![Just("http://h:1"), Just("a,b"), Just(""), Just("\u{e4}\"\\")].prop_map(Value::from);
    let ours = prop::sample::select(vec!["http-proxy", "https-proxy", "no-proxy"]).prop_map(str::to_owned);
    let other = (prop_oneof![Just("x".to_owned()), Just("y".to_owned())], any_json());
    let proxies = prop::collection::vec(prop_oneof![(ours, text), other], 0..5)
        .prop_map(|members| Value::from(members.into_iter().collect::<Map<_, _>>()));
    (prop::collection::vec((member(), any_json()), 0..4), prop::option::of((0..4usize, proxies))).prop_map(
        |(members, proxies)| {
            let mut members: Vec<(String, Value)> = members.into_iter().filter(|(name, _)| name != PROXIES).collect();
            if let Some((place, proxies)) = proxies {
                members.insert(place.min(members.len()), (PROXIES.to_owned(), proxies));
            }
            members.into_iter().collect()
        },
    )
}

/// Writes JSON with blanks between the tokens, taken in turn from `blanks`, and some characters as escapes.
fn write(value: &Value, blanks: &mut impl Iterator<Item = &'static str>, text: &mut String) {
    let mut sequence = |open: char, close: char, elements: Vec<(Option<&String>, &Value)>| {
        text.push(open);
        let mut first = true;
        for (name, value) in elements {
            text.push_str(if std::mem::take(&mut first) { "" } else { "," });
            text.push_str(blanks.next().unwrap_or_default());
            if let Some(name) = name {
                text.push_str(&Value::from(name.as_str()).to_string().replace("pro", "\\u0070ro"));
                text.push_str(blanks.next().unwrap_or_default());
                text.push(':');
            }
            text.push_str(blanks.next().unwrap_or_default());
            write(value, blanks, text);
            text.push_str(blanks.next().unwrap_or_default());
        }
        text.push_str(blanks.next().unwrap_or_default());
        text.push(close);
    };
    match value {
        Value::Array(elements) => sequence('[', ']', elements.iter().map(|element| (None, element)).collect()),
        Value::Object(members) => sequence('{', '}', members.iter().map(|(name, value)| (Some(name), value)).collect()),
        Value::String(string) if string.contains('/') => text.push_str(&value.to_string().replace('/', "\\/")),
        leaf => text.push_str(&leaf.to_string()),
    }
}

/// A file as somebody might have written it: by a program on one line, by hand, or by chance.
fn written(value: &Value) -> impl Strategy<Value = String> + use<> {
    let value = value.clone();
    let blank = prop::sample::select(vec!["", "", "", " ", "\n", "\r\n", "\t", "\n  ", "\r\n\t", " \n\n "]);
    (0..4, prop::collection::vec(blank, 1..12), any::<bool>()).prop_map(move |(style, blanks, crlf)| {
        let text = match style {
            0 => value.to_string(),
            1 => format!("{value:#}\n"),
            _ => {
                let mut text = String::new();
                write(&value, &mut blanks.into_iter().cycle(), &mut text);
                text
            }
        };
        if crlf { text.replace("\r\n", "\n").replace('\n', "\r\n") } else { text }
    })
}

fn file() -> impl Strategy<Value = (Map<String, Value>, String)> {
    daemon().prop_flat_map(|map| {
        let text = written(&Value::from(map.clone()));
        (Just(map), text)
    })
}

fn parse(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// Everything but our members, and `proxies` if it is empty then.
fn others(mut map: Map<String, Value>) -> Map<String, Value> {
    if let Some(Value::Object(proxies)) = map.get_mut(PROXIES) {
        proxies.retain(|name, _| !KEYS.into_iter().any(|key| member_name(key) == Some(name)));
        if proxies.is_empty() {
            map.shift_remove(PROXIES);
        }
    }
    map
}

/// The longest start that two texts share, and the longest end behind it.
fn shared(left: &str, right: &str) -> usize {
    let both = |left: &mut dyn Iterator<Item = u8>, right: &mut dyn Iterator<Item = u8>| {
        left.zip(right).take_while(|(left, right)| left == right).count()
    };
    let start = both(&mut left.bytes(), &mut right.bytes());
    let end = both(&mut left.bytes().skip(start).rev(), &mut right.bytes().skip(start).rev());
    start + end
}

proptest! {
    #[test]
    fn setting_keeps_everything_else((map, text) in file(), key in prop::sample::select(KEYS.to_vec()), wanted in "[A-Za-z0-9._:/,\\[\\]%\\\\-]{0,20}") {
        let once = edited(&text, &[Edit::Set { key, value: &wanted }]);
        let Ok(Reading::Value(read)) = read(once.as_bytes(), key) else { panic!("{once:?}") };
        prop_assert!(key.kind().same(&String::from_utf8_lossy(&read), &wanted));
        prop_assert_eq!(&edited(&once, &[Edit::Set { key, value: &wanted }]), &once);
        let mut expected = map.clone();
        let written = Value::from(String::from_utf8(read).expect("a value is text"));
        let proxies = expected.entry(PROXIES).or_insert_with(|| Value::from(Map::new()));
        let had = proxies.as_object_mut().expect("an object").insert(member_name(key).expect("a member").to_owned(), written);
        prop_assert_eq!(parse(&once), expected);
        // What was there before stands around the change, byte for byte.
        if had.is_none() && !map.is_empty() && map.get(PROXIES).is_none_or(|proxies| proxies.as_object().is_some_and(|proxies| !proxies.is_empty())) {
            prop_assert_eq!(shared(&text, &once), text.len());
        }
    }

    #[test]
    fn adding_and_removing_gives_the_same_bytes((map, text) in file()) {
        let absent: Vec<Key> = KEYS.into_iter().filter(|key| find(&text, *key) == Ok(None)).collect();
        let add: Vec<Edit<'_>> = absent.iter().map(|&key| Edit::Set { key, value: "http://h:1" }).collect();
        let remove: Vec<Edit<'_>> = absent.iter().rev().map(|&key| Edit::Remove { key }).collect();
        let back = edited(&edited(&text, &add), &remove);
        let empty = map.get(PROXIES).is_some_and(|proxies| proxies.as_object().is_some_and(Map::is_empty));
        if map.is_empty() {
            prop_assert_eq!(back, "{}\n");
        } else if empty {
            prop_assert_eq!(others(parse(&back)), others(map));
        } else {
            prop_assert_eq!(&back, &text);
        }
    }

    #[test]
    fn removing_keeps_everything_else((map, text) in file()) {
        let removed = edited(&text, &KEYS.map(|key| Edit::Remove { key }));
        if KEYS.into_iter().all(|key| find(&text, key) == Ok(None)) {
            prop_assert_eq!(removed, text);
        } else {
            prop_assert_eq!(parse(&removed), others(map));
        }
    }

    #[test]
    fn what_the_user_had_comes_back((_, text) in file()) {
        let lines = KEYS.map(|key| (key, raw_line(text.as_bytes(), key).expect("supported")));
        let back: Vec<Edit<'_>> = lines.iter().map(|(key, line)| match line {
            Some(line) => Edit::Restore { key: *key, line },
            None => Edit::Remove { key: *key },
        }).collect();
        if lines.iter().any(|(_, line)| line.is_some()) {
            prop_assert_eq!(edited(&edited(&text, &ALL_THREE), &back), text);
        }
    }

    /// Compared with serde's grammar only: whether a float holds a number, and half a surrogate pair, are not ours to judge.
    #[test]
    fn what_is_json_is_what_serde_takes((_, text) in file(), changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(vec!["", "\"", "{", "}", "[", "]", ",", ":", " ", "\n", "\\", "\\u00e4", "0", "1", "-", ".", "e", "+", "true", "null", "n", "\u{1}", "\t", "\u{a0}"]), 0..3usize), 0..3)) {
        let mut chars: Vec<char> = text.chars().collect();
        for (place, piece, deleted) in changes {
            let at = place.index(chars.len() + 1);
            let end = (at + deleted).min(chars.len());
            chars.splice(at..end, piece.chars());
        }
        let text: String = chars.into_iter().collect();
        let good = is_json(&text) && text.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{');
        match edit(text.as_bytes(), &[]) {
            Ok(_) => prop_assert!(good || text.trim_matches([' ', '\t', '\r', '\n']).is_empty(), "{text:?}"),
            Err(Unsupported::OddProxies) => prop_assert!(good, "{text:?}"),
            Err(_) => prop_assert!(!good, "{text:?}"),
        }
        // Whatever comes out is JSON as well.
        if good && let Ok(set) = edit(text.as_bytes(), &ALL_THREE) {
            prop_assert!(is_json(&String::from_utf8(set).expect("text stays text")), "{text:?}");
        }
    }

    #[test]
    fn strings_mean_what_serde_says(text in "[a-z\"\\\\/\u{e4}\u{1f600}\n\u{1}\u{7f}]{0,12}") {
        let literal = Value::from(text.as_str()).to_string();
        prop_assert_eq!(unescape(&literal), text.clone());
        prop_assert_eq!(super::literal(literal.as_bytes()), Some(literal.as_str()));
        let escaped = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect::<Vec<_>>().concat();
        prop_assert_eq!(unescape(&format!("\"{escaped}\"")), text);
    }
}
