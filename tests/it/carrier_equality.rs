//! The shell code that edits carriers on the instances does the same as its specification in `catalog::carrier`, on random
//! files, under every shell and awk at hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use proxyfleet::catalog::carrier::{self, Edit, HEADER, Reading, SIZE_LIMIT_BYTES, Syntax};
use proxyfleet::catalog::{Key, normalise_list};

/// Random files per pair of shell and awk; `CARRIER_CASES` asks for another number. Each costs about ten processes.
const CASES: usize = 300;

/// One file and what is done to it.
#[derive(Clone, Debug)]
struct Case {
    syntax: Syntax,
    content: Vec<u8>,
    edits: Vec<OwnedEdit>,
    list: String,
}

#[derive(Clone, Debug)]
enum OwnedEdit {
    Set(Key, String),
    Remove(Key),
    Restore(Key, Vec<u8>),
}

impl OwnedEdit {
    fn borrow(&self) -> Edit<'_> {
        match self {
            Self::Set(key, value) => Edit::Set { key: *key, value },
            Self::Remove(key) => Edit::Remove { key: *key },
            Self::Restore(key, line) => Edit::Restore { key: *key, line },
        }
    }

    /// The line of the edits file.
    fn line(&self) -> Vec<u8> {
        match self {
            Self::Set(key, value) => {
                let kind = key.kind().name();
                format!("set {key} {kind} {value}\n").into_bytes()
            }
            Self::Remove(key) => format!("remove {key}\n").into_bytes(),
            Self::Restore(key, line) => [format!("restore {key} ").as_bytes(), line, b"\n"].concat(),
        }
    }
}

/// Pieces of which lines are made: whole assignments in all syntaxes, good and bad, and single tokens.
const PIECES: &[&str] = &[
    "HTTP_PROXY=",
    "HTTPS_PROXY=",
    "NO_PROXY=",
    "proxy=",
    "proxy =",
    "Proxy: ",
    "HTTP_PROXY =",
    "XHTTP_PROXY=",
    "HTTP_PROXYX=",
    "FOO=",
    "export ",
    "export\t",
    "env ",
    "env\t",
    "Environment=",
    "Environment =",
    "EnvironmentFile=",
    "[Service]",
    "[main]",
    "[main] x",
    "[Unit]",
    "[",
    " [Service] ",
    "if true; then",
    "then",
    "fi",
    "do",
    "done",
    "case",
    "esac",
    "{",
    "}",
    "${X}",
    "f() {",
    "script",
    "pre-start script",
    "end script",
    "end  script # x",
    "&&",
    "||",
    "|",
    "&",
    "<<",
    "<<EOF",
    "(",
    ")",
    "http://10.0.0.131:3128",
    "10.0.0.131:3128",
    "http://[fe80::1]:3128",
    "a,B , c",
    "b,a",
    "A,b,b",
    "169.254.169.254",
    "10,9",
    "_none_",
    "%",
    "%%",
    "%%40",
    "%%%",
    "\"",
    "'",
    "\"\"",
    "`",
    "$",
    "$X",
    "\\",
    "\\\"",
    "#",
    ";",
    "~",
    "*",
    " ",
    "  ",
    "\t",
    "=",
    ":",
    "x",
    "# c",
    "; c",
];

/// Lines that are right, or nearly so, with `K` for the key and `V` for the value.
const LINES: &[&str] = &[
    "K=V",
    "K=\"V\"",
    "K='V'",
    " K=V",
    "K =V",
    "K= V",
    "K=V ",
    "#K=V",
    "export K=V",
    "export K=\"V\"",
    "export \"K=V\"",
    "export 'K=V'",
    "\"K=V\"",
    "export K='V' # c",
    "export K=V;",
    "export A=b K=V",
    "  export  K=V",
    "if x; then export K=V; fi",
    "X=1 K=V",
    "[ -f x ] && export K=V",
    "env K=V",
    "env K=\"V\"",
    "env \"K=V\"",
    "env K=V # c",
    "env A=b K=V",
    "  env\tK='V'  ",
    "Environment=\"K=V\"",
    "Environment='K=V'",
    "Environment=K=V",
    "Environment=K=\"V\"",
    "Environment=\"K=V\" \"A=b\"",
    "Environment=A=b K=V",
    "Environment=\"A=b K=V\"",
    "  Environment = \"K=V\"  ",
    "Environment=\"K=V",
    "Environment=\"K=V'",
    "Environment=",
    "Environment= ",
    "Environment=\"\"",
    "#Environment=\"K=V\"",
    "Environment=\"K=a%%40V\"",
    "Environment=\"K=a%40V\"",
    "Environment=\"K=a\\V\"",
    "K: V",
    "K = V ",
    " V",
    "\tV",
    "K=V ; c",
    "K=V x",
    "[main]",
    "[Service]",
    "[other]",
    "",
    "",
    " ",
];

fn key() -> impl Strategy<Value = Key> {
    prop::sample::select(Key::ALL.to_vec())
}

fn safe_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("http://10.0.0.131:3128".to_owned()),
        Just("a,b".to_owned()),
        Just("169.254.169.254,169.254.170.2,/var/run/docker.sock".to_owned()),
        Just("http://[fe80::1]:3128".to_owned()),
        "[A-Za-z0-9._:/,\\[\\]%-]{0,12}",
    ]
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => safe_value(),
        1 => Just("B , a,,b".to_owned()),
        1 => Just("with blank".to_owned()),
        1 => Just("user:p%%40@h:1".to_owned()),
        1 => prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..4).prop_map(|pieces| pieces.concat()),
    ]
}

fn template() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(LINES.to_vec()), key(), any_value()).prop_map(|(line, key, value)| {
        line.replace('K', "\0").replace('V', &value).replace('\0', key.name()).into_bytes()
    })
}

/// A line that counts in `syntax`, so that files are not mostly foreign; or one that does not for what is around it.
fn own_line(syntax: Syntax) -> impl Strategy<Value = Vec<u8>> {
    let (form, around) = match syntax {
        Syntax::EnvFile => ("K=V", "# c\nK=V"),
        Syntax::Ini => ("K=V", "K=V\n\n# c\n V"),
        Syntax::SystemdDropIn => ("Environment=\"K=V\"", "Environment=\"K=V\"\nEnvironment="),
        Syntax::UpstartOverride => ("env K=V", "pre-start script\nenv K=V\nend script"),
        Syntax::ShellExport => ("export K=V", "if true; then\nexport K=V\nfi"),
        Syntax::ServiceEnvironment | Syntax::MachineEnvironment | Syntax::DaemonJson => {
            unreachable!("not of the shell")
        }
    };
    (prop_oneof![4 => Just(form), 1 => Just(around)], key(), any_value())
        .prop_map(|(form, key, value)| form.replace('K', key.name()).replace('V', &value).into_bytes())
}

fn line(syntax: Syntax) -> impl Strategy<Value = Vec<u8>> {
    let section: &[u8] = if syntax == Syntax::Ini { b"[main]" } else { b"[Service]" };
    prop_oneof![
        8 => own_line(syntax),
        12 => template(),
        3 => prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..6).prop_map(|pieces| pieces.concat().into_bytes()),
        2 => Just(section.to_vec()),
        1 => Just(HEADER.as_bytes().to_vec()),
        1 => Just(b"# caf\xe9 \xff".to_vec()),
        1 => "[a-z]{1,3}=[a-z]{0,400}".prop_map(String::into_bytes),
    ]
}

fn ending() -> impl Strategy<Value = &'static [u8]> {
    prop_oneof![30 => Just(b"\n".as_slice()), 6 => Just(b"\r\n".as_slice())]
}

fn content(syntax: Syntax) -> impl Strategy<Value = Vec<u8>> {
    let oddity = prop_oneof![60 => Just(b"".as_slice()), 1 => Just(b"\0".as_slice()), 1 => Just(b"\r".as_slice()), 1 => Just(b"\x01".as_slice()), 1 => Just(b"\x02".as_slice())];
    let sectioned = matches!(syntax, Syntax::Ini | Syntax::SystemdDropIn);
    (prop::collection::vec((line(syntax), ending()), 0..9), any::<bool>(), prop::bool::weighted(0.7), oddity).prop_map(
        move |(lines, newline, section, oddity)| {
            let mut content = Vec::new();
            if section && sectioned {
                content.extend_from_slice(if syntax == Syntax::Ini { b"[main]\n" } else { b"[Service]\n" });
            }
            for (text, ending) in lines {
                content.extend(text);
                content.extend_from_slice(ending);
            }
            content.extend_from_slice(oddity);
            if !newline {
                while content.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                    content.pop();
                }
            }
            content
        },
    )
}

/// A file of the size that is just allowed, and one that is a byte larger.
fn limits() -> impl Iterator<Item = Case> {
    [0, 1].into_iter().map(|more| Case {
        syntax: Syntax::EnvFile,
        content: [b"A=b\n".repeat(SIZE_LIMIT_BYTES / 4), b"x".repeat(more)].concat(),
        edits: vec![OwnedEdit::Set(Key::HttpProxy, "http://10.0.0.131:3128".to_owned())],
        list: String::new(),
    })
}

fn first_line(text: &[u8]) -> Vec<u8> {
    text.split(|&byte| byte == b'\n').next().unwrap_or_default().to_vec()
}

fn edits(syntax: Syntax) -> impl Strategy<Value = Vec<OwnedEdit>> {
    let edit = prop_oneof![
        6 => (key(), safe_value()).prop_map(|(key, value)| OwnedEdit::Set(key, value)),
        2 => key().prop_map(OwnedEdit::Remove),
        1 => (key(), prop_oneof![own_line(syntax), line(syntax)]).prop_map(|(key, line)| OwnedEdit::Restore(key, first_line(&line))),
    ];
    prop::collection::vec(edit, 1..5)
}

fn case() -> impl Strategy<Value = Case> {
    prop::sample::select(Syntax::LINUX.to_vec()).prop_flat_map(|syntax| {
        (content(syntax), edits(syntax), any_value()).prop_map(move |(content, edits, list)| Case {
            syntax,
            content,
            edits,
            list,
        })
    })
}

/// What the functions of `carrier.sh` must print for a case, in the format of [`DRIVER`].
fn expected(number: usize, case: &Case) -> Vec<u8> {
    let mut text = Vec::new();
    match Key::ALL.map(|key| carrier::read(case.syntax, &case.content, key)).into_iter().collect::<Result<Vec<_>, _>>()
    {
        Err(reason) => text.extend_from_slice(format!("unsupported {}\nread 3\n", reason.as_str()).as_bytes()),
        Ok(readings) => {
            for (key, reading) in Key::ALL.iter().zip(readings) {
                let (word, value) = match reading {
                    Reading::Unset => (" unset", Vec::new()),
                    Reading::Value(value) => (" set ", value),
                    Reading::Malformed(value) => (" malformed ", value),
                };
                text.extend([key.name().as_bytes(), word.as_bytes(), &value, b"\n"].concat());
            }
            text.extend_from_slice(b"read 0\n");
        }
    }
    text.extend(expected_in_turn(number, case));
    let edits: Vec<Edit<'_>> = case.edits.iter().map(OwnedEdit::borrow).collect();
    match carrier::edit(case.syntax, &case.content, &edits) {
        Err(reason) => text.extend_from_slice(format!("{}\nedit 3\n", reason.as_str()).as_bytes()),
        Ok(content) => {
            let status = i32::from(content == case.content);
            text.extend([format!("edit {status}\n").as_bytes(), &content].concat());
        }
    }
    text
}

/// What the one of the smaller functions prints that is tried with case `number`.
fn expected_in_turn(number: usize, case: &Case) -> Vec<u8> {
    match number % 3 {
        0 => match carrier::raw_line(case.syntax, &case.content, Key::NoProxy) {
            Err(_) => b"line 3\n".to_vec(),
            Ok(None) => b"line 1\n".to_vec(),
            Ok(Some(line)) => [line.as_slice(), b"\nline 0\n"].concat(),
        },
        1 => match carrier::read(Syntax::Ini, &case.content, Key::HttpProxy) {
            Err(carrier::Unsupported::NotText | carrier::Unsupported::TooLarge) => b"only 3\n".to_vec(),
            _ => format!("only {}\n", i32::from(!carrier::is_only_ours(Syntax::EnvFile, &case.content, HEADER)))
                .into_bytes(),
        },
        _ => format!("{}\n", normalise_list(&case.list)).into_bytes(),
    }
}

/// Prints for each case folder below the current one what the functions say, into the file `got`.
const DRIVER: &str = r#"
set -eu
try() { name=$1; shift; rc=0; "$@" || rc=$?; echo "$name $rc"; }
number=1
while [ -d "$number" ]; do
  IFS= read -r syntax <"$number/syntax"
  {
    try read carrier_read "$syntax" "$number/file" HTTP_PROXY HTTPS_PROXY NO_PROXY proxy
    case $((number % 3)) in
      0) try line carrier_line "$syntax" "$number/file" NO_PROXY ;;
      1) try only carrier_only_ours "$syntax" "$number/file" "$(cat header)" ;;
      2) list_normal <"$number/list" ;;
    esac
    rc=0
    carrier_edit "$syntax" "$number/file" "$number/edits" "$number/out" || rc=$?
    echo "edit $rc"
  } >"$number/got"
  number=$((number + 1))
done
"#;

/// A shell and the folder in which it finds its awk; `None` is the machine's own.
struct Machine {
    name: String,
    shell: Vec<String>,
    path: String,
}

impl Machine {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.shell[0]);
        command.args(&self.shell[1..]).env("PATH", &self.path);
        command
    }
}

fn which(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The pairs of shell and awk to try: the machine's own, and where installed every shell with its own kind of awk.
#[expect(clippy::print_stderr, reason = "what is not compared must be seen")]
fn machines(scratch: &Path) -> Vec<Machine> {
    let path = std::env::var("PATH").expect("there is a PATH");
    let mut machines = vec![Machine { name: "sh with awk".into(), shell: vec!["sh".into()], path: path.clone() }];
    let mut missing = Vec::new();
    for (shell, awk) in [("dash", "mawk"), ("bash", "gawk"), ("busybox", "busybox")] {
        let (Some(shell_path), Some(awk_path)) = (which(shell), which(awk)) else {
            missing.push(format!("{shell} with {awk}"));
            continue;
        };
        let folder = scratch.join(format!("{shell}-{awk}"));
        fs::create_dir(&folder).expect("the scratch folder is writable");
        std::os::unix::fs::symlink(&awk_path, folder.join("awk")).expect("the scratch folder takes links");
        let mut path = format!("{}:{path}", folder.display());
        if shell == "busybox" {
            for tool in ["tr", "wc", "cat"] {
                std::os::unix::fs::symlink(&awk_path, folder.join(tool)).expect("the scratch folder takes links");
            }
            path = folder.display().to_string();
        }
        let mut command = vec![shell_path.display().to_string()];
        command.extend(match shell {
            "bash" => Some("--posix".to_owned()),
            "busybox" => Some("sh".to_owned()),
            _ => None,
        });
        machines.push(Machine { name: format!("{shell} with {awk}"), shell: command, path });
    }
    if !missing.is_empty() {
        eprintln!("carrier equality: not installed, so not compared: {}", missing.join(", "));
    }
    machines
}

fn write(folder: &Path, case: &Case) {
    fs::create_dir(folder).expect("the scratch folder is writable");
    let edits: Vec<u8> = case.edits.iter().flat_map(OwnedEdit::line).collect();
    for (name, content) in [
        ("file", case.content.as_slice()),
        ("edits", &edits),
        ("syntax", format!("{}\n", case.syntax.name()).as_bytes()),
        ("list", case.list.as_bytes()),
    ] {
        fs::write(folder.join(name), content).expect("the scratch folder is writable");
    }
}

/// Runs the cases on one machine and compares.
fn compare(scratch: &Path, machine: &Machine, cases: &[Case]) {
    let folder = tempfile::tempdir_in(scratch).expect("the scratch folder is writable");
    for (number, case) in (1..).zip(cases) {
        write(&folder.path().join(number.to_string()), case);
    }
    fs::write(folder.path().join("header"), format!("{HEADER}\n")).expect("the scratch folder is writable");
    let functions = include_str!("../../src/document/sh/carrier.sh");
    fs::write(folder.path().join("script"), format!("{functions}\n{DRIVER}")).expect("the scratch folder is writable");
    let output = machine.command().arg("script").current_dir(folder.path()).output().expect("the shell starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {}, {said}", machine.name, output.status);
    for (number, case) in (1..).zip(cases) {
        let folder = folder.path().join(number.to_string());
        let mut got = fs::read(folder.join("got")).unwrap_or_default();
        // After a refusal there is none.
        got.extend(fs::read(folder.join("out")).unwrap_or_default());
        let expected = expected(number, case);
        assert!(
            got == expected,
            "{}, case {number}, {}:\n--- file\n{}\n--- edits\n{}\n--- Rust\n{}\n--- sh\n{}",
            machine.name,
            case.syntax.name(),
            case.content.escape_ascii(),
            String::from_utf8_lossy(&case.edits.iter().flat_map(OwnedEdit::line).collect::<Vec<u8>>()),
            String::from_utf8_lossy(&expected),
            String::from_utf8_lossy(&got),
        );
    }
}

#[test]
fn shell_code_equals_its_specification() {
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    let mut runner =
        TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &rand_seed()));
    let strategy = case();
    let count = std::env::var("CARRIER_CASES").ok().and_then(|count| count.parse().ok()).unwrap_or(CASES);
    let machines = machines(scratch.path());
    std::thread::scope(|scope| {
        for machine in &machines {
            let mut cases: Vec<Case> = (0..count)
                .map(|_| strategy.new_tree(&mut runner).expect("the grammar rejects nothing").current())
                .collect();
            cases.extend(limits());
            let read =
                cases.iter().filter(|case| carrier::read(case.syntax, &case.content, Key::Proxy).is_ok()).count();
            assert!(
                read * 3 > count,
                "the grammar makes too many files that are refused: only {read} of {count} are read"
            );
            let scratch = scratch.path();
            scope.spawn(move || compare(scratch, machine, &cases));
        }
    });
}

#[test]
fn a_file_that_cannot_be_read_or_written_is_a_failure() {
    let functions = include_str!("../../src/document/sh/carrier.sh");
    let driver = r#"
set -u
exec 2>/dev/null
printf 'set HTTP_PROXY url http://h:1\n' >edits
carrier_read env-file missing HTTP_PROXY; echo "missing $?"
carrier_read env-file . HTTP_PROXY; echo "folder $?"
carrier_edit env-file . edits out; echo "edit of a folder $?"
carrier_edit env-file missing no-edits out; echo "no edits $?"
carrier_edit env-file missing edits no-folder/out; echo "no place $?"
carrier_edit env-file missing edits out; echo "good $?"
"#;
    let scratch = tempfile::tempdir().expect("a temporary folder can be made");
    for machine in machines(scratch.path()) {
        let folder = tempfile::tempdir_in(scratch.path()).expect("the scratch folder is writable");
        fs::write(folder.path().join("script"), format!("{functions}\n{driver}")).expect("the folder is writable");
        let output = machine.command().arg("script").current_dir(folder.path()).output().expect("the shell starts");
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "HTTP_PROXY unset\nmissing 0\nfolder 2\nedit of a folder 2\nno edits 2\nno place 2\ngood 0\n",
            "{}",
            machine.name
        );
    }
}

/// A seed of this run, or the one in `CARRIER_SEED`; printed, so that a failure can be repeated.
#[expect(clippy::print_stderr, reason = "the test harness shows it with a failure")]
pub(crate) fn rand_seed() -> [u8; 32] {
    let seed = std::env::var("CARRIER_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(0, |now| u64::from(now.subsec_nanos()) ^ now.as_secs())
    });
    eprintln!("carrier equality: CARRIER_SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}
