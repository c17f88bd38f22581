//! The syntaxes by example, and what holds for all of them.

use proptest::prelude::*;

use super::*;

fn value(text: &str) -> Reading {
    Reading::Value(text.as_bytes().to_vec())
}

fn malformed(text: &str) -> Reading {
    Reading::Malformed(text.as_bytes().to_vec())
}

/// Checks what each content says of `HTTP_PROXY`, or of `proxy` in an INI file.
fn check_readings(syntax: Syntax, cases: &[(&str, Result<Reading, Unsupported>)]) {
    let key = if syntax == Syntax::Ini { Key::Proxy } else { Key::HttpProxy };
    for (content, expected) in cases {
        assert_eq!(read(syntax, content.as_bytes(), key), *expected, "{syntax:?}: {content:?}");
    }
}

/// Checks what `HTTP_PROXY=http://new:1` (`proxy` in an INI file) makes of each content, and that a second time changes nothing.
fn check_set(syntax: Syntax, cases: &[(&str, &str)]) {
    let key = if syntax == Syntax::Ini { Key::Proxy } else { Key::HttpProxy };
    let edits = [Edit::Set { key, value: "http://new:1" }];
    for (content, expected) in cases {
        let once = edit(syntax, content.as_bytes(), &edits).expect("the content is supported");
        assert_eq!(String::from_utf8_lossy(&once), *expected, "{syntax:?}: {content:?}");
        assert_eq!(edit(syntax, &once, &edits).as_deref(), Ok(once.as_slice()), "{syntax:?}: {content:?} twice");
    }
}

#[test]
fn env_file_is_read_as_the_agent_reads_it() {
    check_readings(
        Syntax::EnvFile,
        &[
            ("", Ok(Reading::Unset)),
            ("HTTP_PROXY=10.0.0.131:3128\nNO_PROXY=a\n", Ok(value("10.0.0.131:3128"))),
            ("HTTP_PROXY=a\n\tHTTP_PROXY=b \t\r\n", Ok(value("b"))),
            ("HTTP_PROXY=", Ok(value(""))),
            ("HTTP_PROXY=\"a\"", Ok(value("\"a\""))),
            ("HTTP_PROXY=a=b#c", Ok(value("a=b#c"))),
            ("HTTP_PROXY = a", Ok(malformed("a"))),
            ("#HTTP_PROXY=a\nexport HTTP_PROXY=a\nXHTTP_PROXY=a\nHTTP_PROXYX=a\nHTTP_PROXY\n", Ok(Reading::Unset)),
            ("A=b\\\nHTTP_PROXY=a\n", Err(Unsupported::ContinuedLine)),
            ("HTTP_PROXY=a\0b", Err(Unsupported::NotText)),
            ("A=b\rHTTP_PROXY=a\n", Err(Unsupported::NotText)),
        ],
    );
}

#[test]
fn systemd_drop_in_is_read_as_systemd_reads_it() {
    check_readings(
        Syntax::SystemdDropIn,
        &[
            (
                "[Service]\nEnvironment=\"HTTP_PROXY=10.0.0.131:3128/\"\nEnvironment=\"NO_PROXY=a\"\n",
                Ok(value("10.0.0.131:3128/")),
            ),
            (" [Service] \n Environment = 'HTTP_PROXY=a b' \n", Ok(value("a b"))),
            ("[Service]\nEnvironment=HTTP_PROXY=a\n", Ok(value("a"))),
            ("[Service]\nEnvironment=\"HTTP_PROXY=u:p%%40h\"\n", Ok(value("u:p%40h"))),
            ("[Service]\nEnvironment=\"HTTP_PROXY=u:p%40h\"\n", Ok(malformed("u:p%40h"))),
            ("[Service]\nEnvironment=\"HTTP_PROXY=a\\b\"\n", Ok(malformed("a\\b"))),
            ("[Service]\nEnvironment=HTTP_PROXY=\"a\"\n", Ok(malformed("\"a\""))),
            ("[Service]\nEnvironment=\"HTTP_PROXY=a\" SECRET=b\n", Ok(malformed("a"))),
            ("[Service]\nEnvironment=A=b \"HTTP_PROXY=a\"\n", Ok(malformed("a"))),
            ("[Service]\nEnvironment=\"HTTP_PROXY=a\n", Ok(malformed("a"))),
            ("[Service]\nEnvironment=\"A=b HTTP_PROXY=a\"\n", Ok(Reading::Unset)),
            ("[Service]\nEnvironment=\"HTTP_PROXY=a\"\nEnvironment=\n", Ok(Reading::Unset)),
            ("[Service]\nEnvironment=\nEnvironment=\"HTTP_PROXY=a\"\n", Ok(value("a"))),
            ("Environment=\"HTTP_PROXY=a\"\n[Unit]\nEnvironment=\"HTTP_PROXY=b\"\n", Ok(Reading::Unset)),
            ("[Service]\n#Environment=\"HTTP_PROXY=a\"\n;Environment=\"HTTP_PROXY=b\"\n", Ok(Reading::Unset)),
            ("[Service]\nEnvironmentFile=HTTP_PROXY=a\n", Ok(Reading::Unset)),
            ("[Service]\nEnvironment=A=b \\\n  \"HTTP_PROXY=a\"\n", Err(Unsupported::ContinuedLine)),
        ],
    );
}

#[test]
fn upstart_override_is_read_outside_scripts() {
    check_readings(
        Syntax::UpstartOverride,
        &[
            ("env HTTP_PROXY=10.0.0.131:3128\n", Ok(value("10.0.0.131:3128"))),
            ("\tenv  HTTP_PROXY=\"a b\"\n", Ok(value("a b"))),
            ("env 'HTTP_PROXY=a'\n", Ok(value("a"))),
            ("HTTP_PROXY=a\nenv XHTTP_PROXY=a\nenvHTTP_PROXY=a\n#env HTTP_PROXY=a\n", Ok(Reading::Unset)),
            ("env HTTP_PROXY=a # b\n", Ok(malformed("a"))),
            ("env HTTP_PROXY=a$B\n", Ok(malformed("a$B"))),
            ("env A=b HTTP_PROXY=a\n", Ok(malformed("a"))),
            ("pre-start script # x\nenv HTTP_PROXY=a \\\nend  script\n", Ok(Reading::Unset)),
            ("script\nenv HTTP_PROXY=a\n", Err(Unsupported::ContinuedValue)),
            ("description \"a\nenv HTTP_PROXY=a\nb\"\n", Err(Unsupported::ContinuedValue)),
            ("exec a \\\n b\n", Err(Unsupported::ContinuedLine)),
        ],
    );
}

#[test]
fn shell_file_is_read_only_where_it_is_plain() {
    check_readings(
        Syntax::ShellExport,
        &[
            ("export HTTP_PROXY=http://10.0.0.131:3128/\n", Ok(value("http://10.0.0.131:3128/"))),
            ("export HTTP_PROXY='a b'\n", Ok(value("a b"))),
            ("export \"HTTP_PROXY=a\"\n", Ok(value("a"))),
            ("export HTTP_PROXY=http://[fe80::1]:3128\n", Ok(value("http://[fe80::1]:3128"))),
            ("HTTP_PROXY=a\n", Ok(malformed("a"))),
            ("export HTTP_PROXY=a;SECRET=b\n", Ok(malformed("a"))),
            ("export HTTP_PROXY=$A\n", Ok(malformed("$A"))),
            ("export A=b HTTP_PROXY=a\n", Ok(malformed("a"))),
            ("[ -f a ] && export HTTP_PROXY=a\n", Ok(malformed("a"))),
            ("if true; then\nexport HTTP_PROXY=a\nfi\n", Ok(malformed("a"))),
            ("# it's a\n#export HTTP_PROXY=a\nOPTIONS=\"-e HTTP_PROXY=a\"\n", Ok(Reading::Unset)),
            ("if true; then\nexport HTTP_PROXY=a\n", Err(Unsupported::ContinuedValue)),
            ("A=\"b\nexport HTTP_PROXY=a\"\n", Err(Unsupported::ContinuedValue)),
            ("true &&\nexport HTTP_PROXY=a\n", Err(Unsupported::ContinuedLine)),
            ("cat <<E\nexport HTTP_PROXY=a\nE\n", Err(Unsupported::HereDocument)),
        ],
    );
}

#[test]
fn ini_is_read_within_main() {
    check_readings(
        Syntax::Ini,
        &[
            ("[main]\nproxy=http://h:1\n", Ok(value("http://h:1"))),
            ("[main]\nproxy : http://h:1 \n", Ok(value("http://h:1"))),
            ("[main]\nproxy=a\n[repo]\nproxy=b\n[main]\nproxy=c\n", Ok(value("c"))),
            ("[main]\nProxy=a\n", Ok(malformed("a"))),
            ("[main]\nproxy=a ; b\n", Ok(malformed("a"))),
            ("# c\n\n[repo]\nproxy=b\n", Ok(Reading::Unset)),
            ("proxy=a\n[repo]\nproxy=b\n", Err(Unsupported::NoSection)),
            ("[main]\n#proxy=a\n;proxy=b\nproxy_username=c\n proxy=d\n", Ok(Reading::Unset)),
            ("[main]\nexclude=a\n  b\nproxy=c\n", Ok(value("c"))),
            ("[main]\nproxy=a\n\n# c\n  b\n", Err(Unsupported::ContinuedValue)),
        ],
    );
}

#[test]
fn setting_touches_its_own_line_only() {
    check_set(
        Syntax::EnvFile,
        &[
            ("", "HTTP_PROXY=http://new:1\n"),
            ("# c\nA=\"b\"", "# c\nA=\"b\"\nHTTP_PROXY=http://new:1\n"),
            ("HTTP_PROXY=old\nA=b", "HTTP_PROXY=http://new:1\nA=b"),
            ("A=b\r\nHTTP_PROXY=x\nC=d\r\n  HTTP_PROXY = y", "A=b\r\nC=d\r\nHTTP_PROXY=http://new:1"),
            ("A=b\r\n", "A=b\r\nHTTP_PROXY=http://new:1\r\n"),
            (" HTTP_PROXY=http://new:1 \nA=b\n", " HTTP_PROXY=http://new:1 \nA=b\n"),
        ],
    );
    check_set(
        Syntax::SystemdDropIn,
        &[
            ("", "[Service]\nEnvironment=\"HTTP_PROXY=http://new:1\"\n"),
            (
                "[Service]\nA=b\n\n[Install]\nC=d\n",
                "[Service]\nA=b\nEnvironment=\"HTTP_PROXY=http://new:1\"\n\n[Install]\nC=d\n",
            ),
            (
                "[Service]\nEnvironment=HTTP_PROXY=a\nEnvironment=\"HTTP_PROXY=b\" \"C=d\"\n",
                "[Service]\nEnvironment=\"HTTP_PROXY=b\" \"C=d\"\nEnvironment=\"HTTP_PROXY=http://new:1\"\n",
            ),
            (
                "[Service]\nEnvironment=HTTP_PROXY=http://new:1\nEnvironment=\n",
                "[Service]\nEnvironment=\nEnvironment=\"HTTP_PROXY=http://new:1\"\n",
            ),
        ],
    );
    check_set(
        Syntax::UpstartOverride,
        &[
            ("env HTTP_PROXY=old\nenv A=b\n", "env HTTP_PROXY=http://new:1\nenv A=b\n"),
            (
                "script\nenv HTTP_PROXY=old\nend script",
                "script\nenv HTTP_PROXY=old\nend script\nenv HTTP_PROXY=http://new:1\n",
            ),
        ],
    );
    check_set(
        Syntax::ShellExport,
        &[
            ("OPTIONS=\"a\"\nHTTP_PROXY=http://new:1\n", "OPTIONS=\"a\"\nexport HTTP_PROXY=http://new:1\n"),
            (
                "if true; then\n  export HTTP_PROXY=old\nfi\n",
                "if true; then\n  export HTTP_PROXY=old\nfi\nexport HTTP_PROXY=http://new:1\n",
            ),
        ],
    );
    check_set(
        Syntax::Ini,
        &[
            ("", "[main]\nproxy=http://new:1\n"),
            ("[repo]\nproxy=a\n", "[main]\nproxy=http://new:1\n[repo]\nproxy=a\n"),
            ("[main]\na=b\n  c\n\n[repo]\nproxy=a\n", "[main]\na=b\n  c\nproxy=http://new:1\n\n[repo]\nproxy=a\n"),
            ("[main]\nproxy = http://new:1\n", "[main]\nproxy = http://new:1\n"),
        ],
    );
}

#[test]
fn a_list_with_the_same_entries_stays_as_it_is_written() {
    let content = b"NO_PROXY=b, A,b\n";
    let set = |value| edit(Syntax::EnvFile, content, &[Edit::Set { key: Key::NoProxy, value }]);
    assert_eq!(set("a,b").as_deref(), Ok(content.as_slice()));
    assert_eq!(set("a,c").as_deref(), Ok(b"NO_PROXY=a,c\n".as_slice()));
}

#[test]
fn percent_signs_are_doubled_for_systemd() {
    let set = [Edit::Set { key: Key::HttpProxy, value: "http://u:p%40@h:1" }];
    let written = edit(Syntax::SystemdDropIn, b"", &set).expect("an empty file is supported");
    assert_eq!(written, b"[Service]\nEnvironment=\"HTTP_PROXY=http://u:p%%40@h:1\"\n");
    assert_eq!(read(Syntax::SystemdDropIn, &written, Key::HttpProxy), Ok(value("http://u:p%40@h:1")));
}

#[test]
fn what_the_user_had_comes_back() {
    let content = b"A=b\n HTTP_PROXY = old \r\nC=d";
    let line = raw_line(Syntax::EnvFile, content, Key::HttpProxy).expect("supported").expect("there is one");
    let set = edit(Syntax::EnvFile, content, &[Edit::Set { key: Key::HttpProxy, value: "new" }]).expect("supported");
    assert_ne!(set, content);
    let restored = edit(Syntax::EnvFile, &set, &[Edit::Restore { key: Key::HttpProxy, line: &line }]);
    assert_eq!(restored.as_deref(), Ok(content.as_slice()));
    assert_eq!(raw_line(Syntax::ShellExport, b"export HTTP_PROXY=a; b\n", Key::HttpProxy), Ok(None));
}

#[test]
fn only_the_header_and_the_section_are_ours() {
    for (content, ours) in [
        ("", true),
        (&*format!("{HEADER}\n[Service]\n\n"), true),
        (&*format!("{HEADER}\r\n"), true),
        ("# c\n[Service]\n", false),
        ("[Service]\nA=b\n", false),
        ("[main]\n", false),
        ("\0", false),
    ] {
        assert_eq!(is_only_ours(Syntax::EnvFile, content.as_bytes(), HEADER), ours, "{content:?}");
    }
    assert!(!HEADER.contains('='));
}

#[test]
fn size_is_limited() {
    let content = vec![b'\n'; SIZE_LIMIT_BYTES];
    assert_eq!(read(Syntax::EnvFile, &content, Key::HttpProxy), Ok(Reading::Unset));
    let larger = vec![0; SIZE_LIMIT_BYTES + 1];
    assert_eq!(read(Syntax::EnvFile, &larger, Key::HttpProxy), Err(Unsupported::TooLarge));
}

#[test]
fn reasons_are_found_by_their_words() {
    for reason in Unsupported::ALL {
        assert_eq!(Unsupported::from_name(reason.as_str()), Some(reason));
    }
    assert_eq!(Unsupported::from_name("other"), None);
}

/// Lines of all syntaxes with and without the keys, over which files are made.
const LINES: &[&str] = &[
    "",
    " ",
    "# c",
    "A=b",
    "[Service]",
    "[main]",
    "[repo]",
    "Environment=",
    "Environment=\"A=b\"",
    "HTTP_PROXY=x",
    " HTTP_PROXY = x ",
    "export HTTP_PROXY=x",
    "export HTTP_PROXY=$x",
    "HTTP_PROXY=x y",
    "export A=b HTTP_PROXY=x",
    "if x; then",
    "fi",
    "env HTTP_PROXY=x",
    "env HTTP_PROXY=x # y",
    "script",
    "end script",
    "Environment=\"HTTP_PROXY=x\"",
    "Environment=HTTP_PROXY=x A=b",
    "caf\u{e9}",
    "proxy=x",
    "Environment=\"HTTP_PROXY=%\"",
    "export NO_PROXY=a,b",
    "NO_PROXY=B,a",
    "env NO_PROXY='a'",
    " c",
    "HTTP_PROXY: y",
    "http_proxy=y",
];

fn content() -> impl Strategy<Value = Vec<u8>> {
    let line = (prop::sample::select(LINES.to_vec()), prop::bool::weighted(0.2));
    (prop::collection::vec(line, 0..10), any::<bool>()).prop_map(|(lines, newline)| {
        let mut content: String =
            lines.iter().flat_map(|(line, crlf)| [*line, if *crlf { "\r\n" } else { "\n" }]).collect();
        if !newline {
            content.truncate(content.trim_end_matches(['\r', '\n']).len());
        }
        content.into_bytes()
    })
}

/// The lines that do not mention the key, with their endings.
fn foreign(content: &[u8]) -> Vec<&[u8]> {
    let lines = content.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    lines
        .filter(|line| !line.is_empty() && !line.to_ascii_uppercase().windows(10).any(|w| w == b"HTTP_PROXY"))
        .collect()
}

proptest! {
    #[test]
    fn a_set_value_is_read_and_set_once(
        content in content(),
        syntax in prop::sample::select(Syntax::LINUX.to_vec()),
        value in "[A-Za-z0-9._:/,\\[\\]%-]{0,20}",
    ) {
        let edits = [Edit::Set { key: Key::HttpProxy, value: &value }];
        if let Ok(once) = edit(syntax, &content, &edits) {
            prop_assert_eq!(read(syntax, &once, Key::HttpProxy), Ok(Reading::Value(value.clone().into_bytes())));
            let twice = edit(syntax, &once, &edits);
            prop_assert_eq!(twice.as_deref(), Ok(once.as_slice()));
            let (before, mut after) = (foreign(&content), foreign(&once));
            // The section that was missing.
            if after.len() == before.len() + 1 {
                if syntax == Syntax::Ini { after.remove(0); } else { after.pop(); }
            }
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn removing_what_was_added_gives_the_file_back(
        content in content(),
        syntax in prop::sample::select(Syntax::LINUX.to_vec()),
    ) {
        let Ok(removed) = edit(syntax, &content, &[Edit::Remove { key: Key::HttpProxy }]) else { return Ok(()) };
        prop_assert_eq!(foreign(&content), foreign(&removed));
        let both = [Edit::Set { key: Key::HttpProxy, value: "http://h:1" }, Edit::Remove { key: Key::HttpProxy }];
        let back = edit(syntax, &removed, &both).expect("the file was supported before");
        let ended = [removed.as_slice(), b"\n"].concat();
        let ended_crlf = [removed.as_slice(), b"\r\n"].concat();
        let section = foreign(&back).len() > foreign(&removed).len();
        prop_assert!(section || back == removed || back == ended || back == ended_crlf, "{:?}", back.escape_ascii().to_string());
    }

    #[test]
    fn restoring_gives_back_the_value_of_before(
        content in content(),
        syntax in prop::sample::select(Syntax::LINUX.to_vec()),
    ) {
        let key = Key::HttpProxy;
        if let Ok(Some(line)) = raw_line(syntax, &content, key) {
            let set = edit(syntax, &content, &[Edit::Set { key, value: "http://other:1" }]).expect("supported");
            let restored = edit(syntax, &set, &[Edit::Restore { key, line: &line }]).expect("supported");
            prop_assert_eq!(read(syntax, &restored, key), read(syntax, &content, key));
        }
    }
}
