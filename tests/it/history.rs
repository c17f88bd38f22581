//! `history`: journals as they are written by the library and told by the binary.

use std::path::{Path, PathBuf};

use proxyfleet::journal::entry::{AttemptRecord, Ending, Entry, FateRecord, HaltedRecord, NoteRecord, Opening};
use proxyfleet::journal::{FORMAT, Store, Writer};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::fleet::{Ran, binary};

/// A state folder.
struct State {
    folder: TempDir,
}

impl State {
    fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn journal(&self, run: &str) -> PathBuf {
        self.path().join("runs").join(format!("{run}.jsonl"))
    }

    /// Begins the journal of a run that would change instances 1 to 4.
    fn begin(&self, run: &str, policies: &[&str]) -> Writer {
        let members: Vec<Value> = (1..=4).map(|number| json!({ "id": instance(number) })).collect();
        let opening = Opening {
            format: FORMAT.to_owned(),
            version: "0.1.0".to_owned(),
            run: run.to_owned(),
            account: "111122223333".to_owned(),
            region: "eu-central-1".to_owned(),
            plan_digest: "0123456789ab".to_owned(),
            policies: policies.iter().map(ToString::to_string).collect(),
            instances: 4,
        };
        let plan = json!({ "groups": [{ "instances": members }] });
        Store::in_folder(self.path()).begin(opening, plan).expect("it can be written")
    }

    /// A run that came to its end, everybody with one fate and the last one with another.
    fn ended(&self, run: &str, last: &FateRecord, halted: &[&str]) {
        let attempt = |number| AttemptRecord {
            policy: "ecs-production".to_owned(),
            id: instance(number),
            name: None,
            fate: if number == 4 { last.clone() } else { FateRecord::Converged },
            pending: Vec::new(),
        };
        let halted = halted
            .iter()
            .map(|reason| HaltedRecord { policy: "ecs-production".to_owned(), reason: (*reason).to_owned() });
        let ending = Ending { instances: (1..=4).map(attempt).collect(), halted: halted.collect(), left_out: 0 };
        assert!(self.begin(run, &["ecs-development", "ecs-production"]).close(ending).is_none());
    }

    fn history(&self, arguments: &[&str]) -> Ran {
        let mut command = binary(&["history"]);
        command.args(arguments).env("PROXYFLEET_STATE_DIR", self.path());
        Ran::of(&command.output().expect("the binary runs"))
    }
}

fn instance(number: u32) -> String {
    format!("i-{number:08}")
}

fn screen(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", "<a time>");
    settings.add_filter(r"(took|after) \d+ s", "$1 <n> s");
    settings.add_filter(r"/\S*/runs", "<folder>/runs");
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The runs of a JSON list, each with one of its members.
fn member(list: &Value, name: &str) -> Vec<String> {
    let runs = list["runs"].as_array().expect("a list");
    runs.iter().map(|run| run[name].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn runs_are_listed_with_how_they_ended() {
    let state = State::new();
    state.ended("20260101T080000Z-101", &FateRecord::Converged, &[]);
    let failed = FateRecord::NotStarted("the rollout was halted".to_owned());
    state.ended("20260102T080000Z-102", &failed, &["the budget for failed instances is spent (1 of 0)"]);
    let mut killed = state.begin("20260103T080000Z-103", &["ecs-production"]);
    let note = NoteRecord::Settled { id: instance(1), fate: FateRecord::RolledBack("docker did not start".to_owned()) };
    killed.record(Entry::Note { policy: "ecs-production".to_owned(), note });
    drop(killed);
    let under_way = state.begin("20260105T080000Z-105", &["ecs-production"]);

    screen("history", &state.history(&[]).expect(0).stdout);
    screen("history-limit", &state.history(&["--limit", "1"]).expect(0).stdout);
    std::fs::write(state.journal("20260104T080000Z-104"), "torn").expect("the folder is there");
    let text = state.history(&[]).expect(0).stdout;
    assert!(text.contains("20260104T080000Z-104\n  not readable: "), "{text}");
    let list = state.history(&["--format", "json"]).expect(0).json();
    assert_eq!(list["format"], "proxyfleet-history/1");
    assert_eq!(member(&list, "state"), ["ended", "ended", "broke-off", "not-readable", "under-way"]);
    assert_eq!(list["runs"][1]["outcomes"], json!({"converged": 3, "not_started": 1}));
    assert_eq!(list["runs"][2]["outcomes"], json!({"not_known": 3, "rolled_back": 1}));
    drop(under_way);
}

#[test]
fn what_is_not_there_is_an_error_with_a_remedy() {
    let state = State::new();
    let empty = state.history(&[]).expect(1);
    assert!(empty.stderr.contains("no run has left a journal in"), "{}", empty.stderr);
    let list = state.history(&["--format", "json"]).expect(0).json();
    assert_eq!((&list["runs"], &list["older"]), (&json!([]), &json!(0)), "a machine gets an empty list");

    state.ended("20260101T080000Z-101", &FateRecord::Converged, &[]);
    state.ended("20260101T080000Z-102", &FateRecord::Converged, &[]);
    for (name, part) in [
        ("2027", "`proxyfleet history` lists the runs"),
        ("20260101", "several runs begin with `20260101`: 20260101T080000Z-101, 20260101T080000Z-102"),
    ] {
        let ran = state.history(&[name]).expect(1);
        // Lines of a message are broken anywhere between words.
        let said = ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(part), "{said}");
    }
    let newer = r#"{"time":"2027-01-01T00:00:00Z","kind":"run","format":"proxyfleet-journal/9","version":"9.1.0"}"#;
    std::fs::write(state.journal("20270101T000000Z-1"), format!("{newer}\n")).expect("the folder is there");
    let ran = state.history(&["last"]).expect(1);
    assert!(ran.stderr.contains("read it with proxyfleet 9.1.0"), "{}", ran.stderr);
}

#[test]
fn the_option_names_the_folder_and_wins_over_the_environment() {
    let (state, other) = (State::new(), State::new());
    state.ended("20260101T080000Z-101", &FateRecord::Converged, &[]);
    let folder = state.path().to_str().expect("text");
    let ran = other.history(&["--state-dir", folder, "--format", "json"]).expect(0);
    assert_eq!(member(&ran.json(), "run"), ["20260101T080000Z-101"]);
    let mut usual = binary(&["history", "--format", "json"]);
    usual.env_remove("PROXYFLEET_STATE_DIR").env("XDG_STATE_HOME", folder);
    let ran = Ran::of(&usual.output().expect("the binary runs")).expect(0);
    assert_eq!(member(&ran.json(), "run"), Vec::<String>::new(), "it is in a folder of its own there");
}
