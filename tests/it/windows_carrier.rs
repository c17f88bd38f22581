//! The PowerShell code that edits carriers on Windows instances does the same as its specification in `catalog::carrier`, on
//! random texts. A script takes a second to start, so one script tries all of them.

use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRng, TestRunner};
use proxyfleet::catalog::carrier::{self, Edit, Reading, SIZE_LIMIT_BYTES, Syntax, Unsupported};
use proxyfleet::catalog::{Key, ValueKind};
use proxyfleet::sim::windows::ServerVersion;

use crate::carrier_equality::rand_seed;
use crate::winhost::fresh_host;

/// Random texts for each syntax; `CARRIER_CASES` asks for another number.
const CASES: usize = 450;

const KEYS: [Key; 3] = [Key::HttpProxy, Key::HttpsProxy, Key::NoProxy];

/// What separates the fields of a case, and cases from each other: characters that no case holds.
const FIELD: &str = "\u{e000}";
const RECORD: &str = "\u{e001}";

/// One text, which key is read and what is done to it, and two lists to compare.
#[derive(Clone, Debug)]
struct Case {
    syntax: Syntax,
    content: String,
    key: Key,
    edits: Vec<OwnedEdit>,
    lists: [String; 2],
}

#[derive(Clone, Debug)]
enum OwnedEdit {
    Set(Key, String),
    Remove(Key),
    Restore(Key, String),
}

impl OwnedEdit {
    fn borrow(&self) -> Edit<'_> {
        match self {
            Self::Set(key, value) => Edit::Set { key: *key, value },
            Self::Remove(key) => Edit::Remove { key: *key },
            Self::Restore(key, line) => Edit::Restore { key: *key, line: line.as_bytes() },
        }
    }

    /// Verb, key and value.
    fn fields(&self) -> [&str; 3] {
        match self {
            Self::Set(key, value) => ["set", key.name(), value],
            Self::Remove(key) => ["remove", key.name(), ""],
            Self::Restore(key, line) => ["restore", key.name(), line],
        }
    }
}

impl Case {
    /// The case as the script reads it.
    fn record(&self) -> String {
        let head = [self.syntax.name(), &self.content, self.key.name(), &self.lists[0], &self.lists[1]];
        let fields: Vec<&str> = head.into_iter().chain(self.edits.iter().flat_map(OwnedEdit::fields)).collect();
        fields.join(FIELD)
    }

    /// What the script must say of it.
    fn expected(&self) -> String {
        let content = self.content.as_bytes();
        let line = carrier::raw_line(self.syntax, content, self.key);
        let line = line.map(|line| line.map_or_else(|| "none".to_owned(), |line| format!("line {}", utf8(line))));
        let read = match (carrier::read(self.syntax, content, self.key), line) {
            (Ok(Reading::Unset), Ok(line)) => ["unset".to_owned(), String::new(), line].join(FIELD),
            (Ok(Reading::Value(value)), Ok(line)) => ["set".to_owned(), utf8(value), line].join(FIELD),
            (Ok(Reading::Malformed(value)), Ok(line)) => ["malformed".to_owned(), utf8(value), line].join(FIELD),
            (Err(reason), Err(again)) if reason == again => format!("unsupported {}", reason.as_str()),
            (read, line) => panic!("{read:?} and {line:?}"),
        };
        let edited = match self.edited() {
            Ok(content) => ["edited", &utf8(content)].join(FIELD),
            Err(reason) => format!("unsupported {}", reason.as_str()),
        };
        let same = ValueKind::List.same(&self.lists[0], &self.lists[1]).to_string();
        [read, same, edited].join(FIELD)
    }

    fn edited(&self) -> Result<Vec<u8>, Unsupported> {
        let edits: Vec<Edit<'_>> = self.edits.iter().map(OwnedEdit::borrow).collect();
        carrier::edit(self.syntax, self.content.as_bytes(), &edits)
    }
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("text stays text")
}

/// Reads the cases and writes the answers, both in one go.
const DRIVER: &str = r#"
$field = [char]0xe000
$record = [char]0xe001
$out = New-Object Text.StringBuilder
foreach ($case in [IO.File]::ReadAllText('C:\cases').Split($record)) {
    $parts = $case.Split($field)
    try {
        $setting = Get-CarrierSetting $parts[0] $parts[1] $parts[2]
        $line = 'none'
        if ($null -ne $setting.Line) { $line = 'line ' + $setting.Line }
        [void]$out.Append($setting.State).Append($field).Append($setting.Value).Append($field).Append($line).Append($field)
    } catch {
        [void]$out.Append($_.Exception.Message).Append($field)
    }
    [void]$out.Append("$(Test-SameValue 'list' $parts[3] $parts[4])".ToLowerInvariant()).Append($field)
    $edits = @(for ($i = 5; $i -lt $parts.Length; $i += 3) {
        if ($parts[$i] -ceq 'remove') {
            @{ Verb = 'remove'; Key = $parts[$i + 1] }
        } else {
            @{ Verb = $parts[$i]; Key = $parts[$i + 1]; Value = $parts[$i + 2] }
        }
    })
    try {
        $content = Edit-Carrier $parts[0] $parts[1] $edits
        if ($content -isnot [string]) { throw "not one text but $content" }
        [void]$out.Append('edited').Append($field).Append($content)
    } catch {
        [void]$out.Append($_.Exception.Message)
    }
    [void]$out.Append($record)
}
[IO.File]::WriteAllText('C:\answers', $out.ToString())
"#;

/// Boxed, since the type of a large strategy takes more room on the stack than a test has.
type Texts = BoxedStrategy<String>;

fn pick(words: &'static [&'static str]) -> Texts {
    prop::sample::select(words.to_vec()).prop_map(str::to_owned).boxed()
}

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(KEYS.to_vec())
}

/// Values that a policy may give.
fn safe_value() -> Texts {
    prop_oneof![
        3 => pick(&["http://10.0.0.131:3128", "a,b", "http://[fe80::1]:3128", r"169.254.169.254,\\.\pipe\docker_engine"]),
        1 => "[A-Za-z0-9._:/,\\[\\]%\\\\-]{0,12}",
    ].boxed()
}

/// Lists that are the same or nearly so.
fn list() -> Texts {
    let entry = pick(&[
        "a",
        "b",
        "A",
        "b ",
        "\ta",
        "",
        " ",
        ".a",
        "a.",
        "\u{e9}",
        "\u{c9}",
        "\u{212a}",
        "k",
        "a\u{ad}",
        "\u{1f600}",
    ]);
    prop_oneof![4 => prop::collection::vec(entry, 0..5).prop_map(|entries| entries.join(",")), 1 => safe_value()]
        .boxed()
}

/// `NAME=value`, or what looks like it.
fn assignment() -> Texts {
    let name = prop_oneof![
        6 => pick(&["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]),
        4 => pick(&["http_proxy", "Http_Proxy", "https_PROXY", "no_proxy", "No_Proxy"]),
        3 => pick(&["A", "Path", "=C:", "", "=", "==", "XHTTP_PROXY", "HTTP_PROXYX", " HTTP_PROXY", "=HTTP_PROXY", "HTTP-PROXY", "\u{1f600}", "HTTP_PROX\u{178}", "HTTP\u{ad}_PROXY", "\u{17f}"]),
    ];
    let value = prop_oneof![
        3 => safe_value(),
        2 => list(),
        1 => pick(&["", "=", "a=b", " a ", "%A%", "100%", "\u{e4} \u{1f600}", "a\tb", "\u{1}", "\u{2028}", "\u{85}"]),
    ];
    (name, prop_oneof![9 => Just("="), 1 => Just("")], value)
        .prop_map(|(name, equals, value)| format!("{name}{equals}{value}"))
        .boxed()
}

fn registry_line(syntax: Syntax) -> Texts {
    if syntax == Syntax::ServiceEnvironment {
        return assignment().boxed();
    }
    let kind = prop_oneof![6 => Just("REG_SZ "), 3 => Just("REG_EXPAND_SZ "), 1 => pick_odd_kind()];
    (kind, assignment()).prop_map(|(kind, assignment)| format!("{kind}{assignment}")).boxed()
}

fn pick_odd_kind() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["REG_DWORD ", "reg_sz ", "REG_SZ", "", "REG_EXPAND_SZ", " REG_SZ "])
}

fn registry(syntax: Syntax) -> Texts {
    // An odd kind makes the whole text odd, so there are few lines of Machine variables.
    let lines = if syntax == Syntax::MachineEnvironment { 0..4 } else { 0..8 };
    let ending =
        prop_oneof![60 => Just("\n"), 1 => Just("\r\n"), 1 => Just("\0\n"), 1 => Just("\n\n"), 1 => Just("\r")];
    let line = (registry_line(syntax), ending).prop_map(|(line, ending)| format!("{line}{ending}"));
    (prop::collection::vec(line, lines), prop::bool::weighted(0.1))
        .prop_map(|(lines, unended)| {
            let mut text = lines.concat();
            if unended {
                text.pop();
            }
            text
        })
        .boxed()
}

/// Blanks between the tokens of JSON; rarely one that JSON does not have.
fn blank() -> Texts {
    prop_oneof![
        60 => pick(&["", "", " ", "\n", "\r\n", "\t", "\n  ", "\n    ", "\r\n\t", " \n\n "]),
        1 => prop_oneof![20 => Just("\r".to_owned()), 1 => pick(&["\u{a0}", "\u{b}", "\u{c}", "\u{2028}", "\u{85}"])],
    ]
    .boxed()
}

fn json_string() -> Texts {
    let piece = prop_oneof![
        12 => pick(&["a", "http://10.0.0.131:3128", "a,b", "B", "{", "}", "[", "]", ",", ":", " ", "'", "\u{e4}", "\u{1f600}", "%", "$a", "#", ".*", "\u{7f}", "\u{2028}"]),
        6 => pick(&[r"\\", r#"\""#, r"\/", r"\u00e4", r"\u00E4", r"\ud83d\ude00", r"\ud83d", r"\ude00", r"\u002d", r"\u0041"]),
        1 => pick(&[r"\n", r"\b", r"\f", r"\r", r"\t", r"\u0000", r"\u007F"]),
    ];
    let text = prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat());
    let odd = pick(&["\t", "\n", "\0", "\u{1}", r"\x41", r"\u12", r"\u12G4", r"\'", r"\", r"\a", r"\U0041"]);
    prop_oneof![60 => text, 1 => odd].prop_map(|text| format!("\"{text}\"")).boxed()
}

fn json_scalar() -> Texts {
    prop_oneof![
        20 => pick(&["0", "-0", "1", "10", "-1.5", "1e5", "1E+05", "0.0e-1", "true", "false", "null", "1e999"]),
        1 => pick(&["01", "-", "+1", "1.", ".5", "1e", "0x1", "True", "nul", "NaN", "truefalse", "1 2", "'a'", "", "\u{661}"]),
    ].boxed()
}

/// Any JSON value as text.
fn json_value() -> Texts {
    let leaf = prop_oneof![json_scalar(), json_string()];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let member =
            (json_string(), blank(), inner.clone()).prop_map(|(name, blank, value)| format!("{name}{blank}:{value}"));
        prop_oneof![
            sequence(inner, "[", "]"),
            sequence(prop_oneof![9 => member, 3 => json_member(Just(r#""a":1"#.to_owned()))], "{", "}"),
        ]
    })
    .boxed()
}

fn json_member(value: impl Strategy<Value = String> + 'static) -> Texts {
    let name = prop_oneof![
        6 => pick(&[r#""proxies""#, r#""http-proxy""#, r#""https-proxy""#, r#""no-proxy""#]),
        1 => pick(&[r#""Proxies""#, r#""HTTP-PROXY""#, r#""no\u002dproxy""#, r#""\u0070roxies""#, r#""proxies ""#, r#""proxie\u017f""#, r#""proxies\u00ad""#]),
    ];
    (name, blank(), blank(), value)
        .prop_map(|(name, before, after, value)| format!("{name}{before}:{after}{value}"))
        .boxed()
}

/// Elements with blanks and commas between two brackets; rarely with a comma too many.
fn sequence(element: impl Strategy<Value = String> + 'static, open: &'static str, close: &'static str) -> Texts {
    let spaced = (blank(), element, blank()).prop_map(|(before, element, after)| format!("{before}{element}{after}"));
    (prop::collection::vec(spaced, 0..5), blank(), prop::bool::weighted(0.02))
        .prop_map(move |(elements, blank, comma)| {
            format!("{open}{}{}{blank}{close}", elements.join(","), if comma { "," } else { "" })
        })
        .boxed()
}

/// The object `proxies`, mostly as it should be.
fn proxies() -> Texts {
    let ours = |name: &'static str| {
        let value = prop_oneof![30 => json_string(), 60 => safe_value().prop_map(|value| format!("\"{}\"", value.replace('\\', "\\\\"))), 1 => json_value()];
        prop::option::weighted(0.5, (blank(), blank(), value))
            .prop_map(move |member| member.map(|(before, after, value)| format!("\"{name}\"{before}:{after}{value}")))
    };
    let more = prop_oneof![20 => Just(None), 4 => json_value().prop_map(|value| Some(format!("\"x\":{value}"))), 1 => json_member(json_string()).prop_map(Some)];
    let members = (ours("http-proxy"), ours("no-proxy"), ours("https-proxy"), more);
    let members = members.prop_map(|(first, second, third, more)| {
        [more, first, second, third].into_iter().flatten().collect::<Vec<_>>()
    });
    (members.prop_shuffle(), prop::sample::select(vec!["", " ", "\n    ", "\r\n\t\t"]), blank())
        .prop_map(|(members, lead, end)| {
            let members: Vec<String> = members.iter().map(|member| format!("{lead}{member}")).collect();
            format!("{{{}{end}}}", members.join(","))
        })
        .boxed()
}

/// A `daemon.json` as it may be found, or nearly one.
fn daemon_json() -> Texts {
    let other = (pick(&[r#""log-driver""#, r#""hosts""#, r#""""#, r#""a\u0062""#]), blank(), json_value())
        .prop_map(|(name, blank, value)| format!("{name}:{blank}{value}"));
    let held = (
        prop_oneof![20 => pick(&[r#""proxies""#]), 1 => pick(&[r#""p\u0072oxies""#, r#""PROXIES""#])],
        blank(),
        prop_oneof![20 => proxies().boxed(), 1 => json_value()],
    )
        .prop_map(|(name, blank, value)| format!("{name}{blank}:{blank}{value}"));
    let held = prop::option::weighted(0.75, held);
    let more = prop::option::weighted(0.06, json_member(json_value()));
    let members = (prop::collection::vec(other, 0..3), held, more)
        .prop_map(|(others, held, more)| others.into_iter().chain(held).chain(more).collect::<Vec<_>>())
        .prop_shuffle();
    let style = prop::sample::select(vec!["", " ", "\n", "\n  ", "\r\n\t", "\n\n "]);
    let regular = (members, style, blank(), blank(), blank()).prop_map(|(members, style, before, inside, after)| {
        let members: Vec<String> = members.iter().map(|member| format!("{style}{member}")).collect();
        format!("{before}{{{}{inside}}}{after}", members.join(","))
    });
    let whole = prop_oneof![40 => regular, 3 => blank(), 3 => json_value(), 1 => pick(&["\u{feff}{}", "\u{feff}", "{\u{feff}}", "{} {}", "{", "}", "\"", "// a\n{}"])];
    // What an editor or a copy that ended early makes of it.
    let damage = pick(&["", "\"", "{", "}", "[", "]", ",", ":", "\n", "\\", "0", "\u{1}", "\u{2}", "\u{feff}"]);
    (
        whole,
        prop::option::weighted(0.12, (any::<prop::sample::Index>(), damage, 0..2usize)),
        prop::option::weighted(0.02, any::<prop::sample::Index>()),
    )
        .prop_map(|(text, damage, cut)| {
            let mut chars: Vec<char> = text.chars().collect();
            if let Some((place, piece, deleted)) = damage {
                let at = place.index(chars.len() + 1);
                chars.splice(at..(at + deleted).min(text.chars().count()), piece.chars());
            }
            if let Some(cut) = cut {
                chars.truncate(cut.index(chars.len() + 1));
            }
            chars.into_iter().collect()
        })
        .boxed()
}

fn content(syntax: Syntax) -> Texts {
    if syntax == Syntax::DaemonJson { daemon_json().boxed() } else { registry(syntax).boxed() }
}

fn edits(syntax: Syntax) -> impl Strategy<Value = Vec<OwnedEdit>> {
    let line = if syntax == Syntax::DaemonJson {
        prop_oneof![20 => json_string(), 1 => json_value(), 1 => pick(&["", "\"a\" ", "\"a\",\"b\":\"c\"", "\"a\"\n"])]
            .boxed()
    } else {
        registry_line(syntax)
    };
    let edit = prop_oneof![
        6 => (key(), prop_oneof![safe_value(), list().prop_filter("JSON text", |list| !list.contains('"'))]).prop_map(|(key, value)| OwnedEdit::Set(key, value)),
        3 => key().prop_map(OwnedEdit::Remove),
        1 => (key(), line).prop_map(|(key, line)| OwnedEdit::Restore(key, line)),
    ];
    prop::collection::vec(edit, 0..5)
}

fn case(syntax: Syntax) -> impl Strategy<Value = Case> {
    (content(syntax), key(), edits(syntax), [list(), list()]).prop_map(move |(content, key, edits, lists)| Case {
        syntax,
        content,
        key,
        edits,
        lists,
    })
}

/// Texts of the largest size and one byte more, deep ones, and ones with many members.
fn limits() -> Vec<Case> {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    let many =
        |count: usize| (0..count).map(|number| format!("\"k{number}\":[{number},{{}}]")).collect::<Vec<_>>().join(",");
    let contents = [
        (Syntax::ServiceEnvironment, "A=b\n".repeat(SIZE_LIMIT_BYTES / 4 / 64).replace('b', &"\u{e4}".repeat(2))),
        (Syntax::ServiceEnvironment, "A=\u{e4}\n".repeat(SIZE_LIMIT_BYTES / 5 + 1)),
        (Syntax::DaemonJson, " ".repeat(SIZE_LIMIT_BYTES)),
        (Syntax::DaemonJson, " ".repeat(SIZE_LIMIT_BYTES + 1)),
        (Syntax::DaemonJson, format!("{{\"a\":\"{}\"}}", "\u{20ac}".repeat(SIZE_LIMIT_BYTES / 3 - 20))),
        (Syntax::DaemonJson, format!("{{\"a\":\"{}\"}}", "x".repeat(SIZE_LIMIT_BYTES - 8))),
        (Syntax::DaemonJson, nested(127)),
        (Syntax::DaemonJson, nested(128)),
        (Syntax::DaemonJson, "[".repeat(SIZE_LIMIT_BYTES)),
        (Syntax::DaemonJson, "{\"a\":".repeat(SIZE_LIMIT_BYTES / 5)),
        (Syntax::DaemonJson, "\"".repeat(SIZE_LIMIT_BYTES)),
        (Syntax::DaemonJson, format!("{{\"a\":\"{}", "\\".repeat(SIZE_LIMIT_BYTES - 10))),
        (Syntax::DaemonJson, format!("{{\"x\":{{{}}},\"proxies\":{{{}}}}}", many(5000), many(100))),
    ];
    let edits = vec![OwnedEdit::Set(Key::NoProxy, "a,b".to_owned()), OwnedEdit::Remove(Key::NoProxy)];
    contents
        .map(|(syntax, content)| Case {
            syntax,
            content,
            key: Key::NoProxy,
            edits: edits.clone(),
            lists: Default::default(),
        })
        .into()
}

/// Random cases, the given number for each syntax, which are worth trying: neither all in order nor mostly refused.
fn cases(count: usize) -> Vec<Case> {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(proptest::test_runner::RngAlgorithm::ChaCha, &rand_seed()),
    );
    let mut cases = limits();
    for syntax in Syntax::WINDOWS {
        let strategy = case(syntax);
        let made: Vec<Case> =
            (0..count).map(|_| strategy.new_tree(&mut runner).expect("the grammar rejects little").current()).collect();
        let share = |wanted: &dyn Fn(&Case) -> bool| made.iter().filter(|case| wanted(case)).count() * 100 / count;
        let read = share(&|case| carrier::read(case.syntax, case.content.as_bytes(), Key::NoProxy).is_ok());
        let set = share(&|case| {
            KEYS.iter()
                .any(|key| matches!(carrier::read(case.syntax, case.content.as_bytes(), *key), Ok(Reading::Value(_))))
        });
        let edited = share(&|case| case.edited().is_ok_and(|content| content != case.content.as_bytes()));
        assert!(
            count < CASES || (40..95).contains(&read) && set > 12 && edited > 25,
            "{}: {read}% read, {set}% set, {edited}% edited",
            syntax.name()
        );
        cases.extend(made);
    }
    cases
}

/// The start of a text, for a message.
fn shown(text: &str) -> String {
    text.chars().take(2000).collect::<String>().escape_debug().to_string()
}

#[test]
fn powershell_code_equals_its_specification() {
    let count = std::env::var("CARRIER_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(CASES);
    let cases = cases(count);
    let Some(fresh) = fresh_host(ServerVersion::Server2022) else { return };
    let records: Vec<String> = cases.iter().map(Case::record).collect();
    fresh.host.write(r"C:\cases", records.join(RECORD).as_bytes()).expect("the host takes files");
    let script = [
        "Set-StrictMode -Version 2\n$ErrorActionPreference = 'Stop'\n",
        include_str!("../../src/document/ps1/carrier.ps1"),
        DRIVER,
        "\nexit 0\n",
    ]
    .concat();
    let finished = fresh.host.run(script.as_bytes(), &[], &[], Duration::from_mins(2)).expect("the host runs scripts");
    assert_eq!(finished.exit, Some(0), "{}", String::from_utf8_lossy(&finished.stderr));
    let answers = utf8(fresh.host.read(r"C:\answers").expect("the script wrote its answers"));
    assert_eq!(answers.matches(RECORD).count(), cases.len());
    for (case, got) in cases.iter().zip(answers.split(RECORD)) {
        let expected = case.expected();
        assert!(
            got == expected,
            "{}:\n--- text\n{}\n--- edits\n{:?}\n--- lists\n{:?}\n--- Rust\n{}\n--- PowerShell\n{}",
            case.syntax.name(),
            shown(&case.content),
            case.edits,
            case.lists,
            shown(&expected),
            shown(got),
        );
    }
}
