//! Registry values by example, and what holds for all of them.

use proptest::prelude::*;

use super::super::{Edit, Reading, SIZE_LIMIT_BYTES, Syntax, Unsupported, edit, raw_line, read};
use crate::catalog::Key;

const BOTH: [Syntax; 2] = [Syntax::ServiceEnvironment, Syntax::MachineEnvironment];

fn value(text: &str) -> Reading {
    Reading::Value(text.as_bytes().to_vec())
}

fn set(syntax: Syntax, content: &str, key: Key, value: &str) -> String {
    let edited = edit(syntax, content.as_bytes(), &[Edit::Set { key, value }]).expect("supported");
    String::from_utf8(edited).expect("text stays text")
}

#[test]
fn names_are_found_in_any_case_and_the_last_wins() {
    for (content, expected) in [
        ("", Ok(Reading::Unset)),
        ("HTTP_PROXY=a\n", Ok(value("a"))),
        ("http_proxy=a=b\n", Ok(value("a=b"))),
        ("HTTP_PROXY=a\nA=b\nHttp_Proxy=\n", Ok(value(""))),
        ("=HTTP_PROXY=a\nHTTP_PROXY\n HTTP_PROXY=a\nHTTP_PROXY =a\n=\n==\n", Ok(Reading::Unset)),
        ("A=b\n\nHTTP_PROXY=a\n", Err(Unsupported::NotText)),
        ("HTTP_PROXY=a\r\n", Err(Unsupported::NotText)),
        ("HTTP_PROXY=a\0\n", Err(Unsupported::NotText)),
    ] {
        assert_eq!(read(Syntax::ServiceEnvironment, content.as_bytes(), Key::HttpProxy), expected, "{content:?}");
    }
    for (content, expected) in [
        ("REG_SZ HTTP_PROXY=a\nREG_SZ NO_PROXY=b\n", Ok(value("a"))),
        ("REG_SZ http_proxy=a%b%\n", Ok(value("a%b%"))),
        ("REG_EXPAND_SZ HTTP_PROXY=a\n", Ok(value("a"))),
        ("REG_EXPAND_SZ HTTP_PROXY=a%b%\n", Ok(Reading::Malformed(b"a%b%".to_vec()))),
        ("REG_SZ HTTP_PROXY=a\nb\n", Err(Unsupported::NotText)),
        ("REG_DWORD HTTP_PROXY=a\n", Err(Unsupported::NotText)),
    ] {
        assert_eq!(read(Syntax::MachineEnvironment, content.as_bytes(), Key::HttpProxy), expected, "{content:?}");
    }
    for syntax in BOTH {
        assert_eq!(read(syntax, b"\xff", Key::HttpProxy), Err(Unsupported::NotText));
        assert_eq!(read(syntax, &vec![b'\n'; SIZE_LIMIT_BYTES + 1], Key::HttpProxy), Err(Unsupported::TooLarge));
    }
}

#[test]
fn setting_touches_its_own_entry_only() {
    for (content, expected) in [
        ("", "HTTP_PROXY=new\n"),
        ("=C:=C:\\\nA=b\n", "=C:=C:\\\nA=b\nHTTP_PROXY=new\n"),
        ("http_proxy=new\n", "http_proxy=new\n"),
        ("http_proxy=old\nA=b\n", "HTTP_PROXY=new\nA=b\n"),
        ("HTTP_PROXY=new\nA=b\nhttp_proxy=old\nC=d\n", "A=b\nHTTP_PROXY=new\nC=d\n"),
    ] {
        assert_eq!(set(Syntax::ServiceEnvironment, content, Key::HttpProxy, "new"), expected, "{content:?}");
    }
    for (content, expected) in [
        ("", "REG_SZ HTTPS_PROXY=new\n"),
        (
            "REG_SZ HTTP_PROXY=a\nREG_SZ NO_PROXY=b\n",
            "REG_SZ HTTP_PROXY=a\nREG_SZ HTTPS_PROXY=new\nREG_SZ NO_PROXY=b\n",
        ),
        ("REG_EXPAND_SZ https_proxy=new\n", "REG_EXPAND_SZ https_proxy=new\n"),
        ("REG_EXPAND_SZ https_proxy=%new\n", "REG_SZ HTTPS_PROXY=new\n"),
        ("REG_SZ https_proxy=old\n", "REG_SZ HTTPS_PROXY=new\n"),
    ] {
        assert_eq!(set(Syntax::MachineEnvironment, content, Key::HttpsProxy, "new"), expected, "{content:?}");
    }
    let list = "NO_PROXY=b, A,\\\\.\\PIPE\\docker_engine\n";
    assert_eq!(set(Syntax::ServiceEnvironment, list, Key::NoProxy, "a,b,\\\\.\\pipe\\docker_engine"), list);
}

fn content(syntax: Syntax) -> impl Strategy<Value = String> {
    let names = [
        "HTTP_PROXY",
        "http_proxy",
        "Http_Proxy",
        "HTTPS_PROXY",
        "no_proxy",
        "NO_PROXY",
        "Path",
        "=C:",
        "X_HTTP_PROXY",
    ];
    let line = (
        prop::sample::select(&["REG_SZ", "REG_EXPAND_SZ"][..]),
        prop::sample::select(names.to_vec()),
        "[ab%,= \u{e4}\t]{0,4}",
    )
        .prop_map(move |(kind, name, value)| {
            if syntax == Syntax::MachineEnvironment {
                format!("{kind} {name}={value}\n")
            } else {
                format!("{name}={value}\n")
            }
        });
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.concat())
}

fn case() -> impl Strategy<Value = (Syntax, String, Key)> {
    (prop::sample::select(BOTH.to_vec()), prop::sample::select(vec![Key::HttpProxy, Key::HttpsProxy, Key::NoProxy]))
        .prop_flat_map(|(syntax, key)| content(syntax).prop_map(move |content| (syntax, content, key)))
}

/// The lines in which the key does not get a value.
fn foreign(content: &str, key: Key) -> Vec<&str> {
    let ours = format!("{key}=");
    let name = |line: &str| {
        line.strip_prefix("REG_SZ ").or(line.strip_prefix("REG_EXPAND_SZ ")).unwrap_or(line).to_ascii_uppercase()
    };
    content.lines().filter(|line| !name(line).starts_with(&ours)).collect()
}

proptest! {
    #[test]
    fn a_set_value_is_read_and_set_once((syntax, content, key) in case(), wanted in "[A-Za-z0-9._:/,\\[\\]%\\\\-]{0,20}") {
        let once = set(syntax, &content, key, &wanted);
        let Ok(Reading::Value(read)) = read(syntax, once.as_bytes(), key) else { panic!("{once:?}") };
        prop_assert!(key.kind().same(&String::from_utf8_lossy(&read), &wanted));
        prop_assert_eq!(&set(syntax, &once, key, &wanted), &once);
        prop_assert_eq!(foreign(&content, key), foreign(&once, key));
        prop_assert_eq!(once.lines().count(), foreign(&once, key).len() + 1);
    }

    #[test]
    fn adding_and_removing_gives_the_same_bytes((syntax, content, key) in case()) {
        let removed = edit(syntax, content.as_bytes(), &[Edit::Remove { key }]).expect("supported");
        prop_assert_eq!(read(syntax, &removed, key), Ok(Reading::Unset));
        let both = [Edit::Set { key, value: "http://h:1" }, Edit::Remove { key }];
        let back = edit(syntax, &removed, &both);
        prop_assert_eq!(back.as_ref(), Ok(&removed));
    }

    #[test]
    fn what_the_user_had_comes_back((syntax, content, key) in case()) {
        if let Ok(Some(line)) = raw_line(syntax, content.as_bytes(), key) {
            let set = set(syntax, &content, key, "http://other:1");
            let restored = edit(syntax, set.as_bytes(), &[Edit::Restore { key, line: &line }]).expect("supported");
            prop_assert_eq!(read(syntax, &restored, key), read(syntax, content.as_bytes(), key));
            if content.lines().count() == foreign(&content, key).len() + 1 {
                prop_assert_eq!(restored, content.into_bytes());
            }
        }
    }
}
