#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::entry::{AttemptRecord, Ending, Entry, FateRecord, NoteRecord, Opening};
use super::read::{Journal, State};
use super::{FORMAT, JournalError, Store, fates, to_retry};

const RUN: &str = "20260131T120000Z-4711";

fn opening(run: &str) -> Opening {
    Opening {
        format: FORMAT.to_owned(),
        version: "0.1.0".to_owned(),
        run: run.to_owned(),
        account: "111122223333".to_owned(),
        region: "eu-central-1".to_owned(),
        plan_digest: "0123456789ab".to_owned(),
        policies: vec!["web".to_owned()],
        instances: 4,
    }
}

/// A plan for four instances, as far as a journal looks at it.
fn plan() -> Value {
    let members = |ids: &[u32]| ids.iter().map(|id| json!({ "id": instance(*id) })).collect::<Vec<_>>();
    json!({ "groups": [{ "instances": members(&[1, 2]) }, { "instances": members(&[3, 4]) }] })
}

fn instance(number: u32) -> String {
    format!("i-{number:08}")
}

fn settled(number: u32, fate: FateRecord) -> Entry {
    Entry::Note { policy: "web".to_owned(), note: NoteRecord::Settled { id: instance(number), fate } }
}

fn why() -> String {
    "for a reason".to_owned()
}

fn ending(fates: &[(u32, FateRecord)]) -> Ending {
    let one = |(number, fate): &(u32, FateRecord)| AttemptRecord {
        policy: "web".to_owned(),
        id: instance(*number),
        name: None,
        fate: fate.clone(),
        pending: Vec::new(),
    };
    Ending { instances: fates.iter().map(one).collect(), halted: Vec::new(), left_out: 0 }
}

fn store() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let store = Store::in_folder(&folder.path().join("state/proxyfleet"));
    (folder, store)
}

/// The journal of a run that told these entries and then died.
fn broken_off(entries: Vec<Entry>) -> Journal {
    let (_folder, store) = store();
    let mut writer = store.begin(opening(RUN), plan()).unwrap();
    for entry in entries {
        writer.record(entry);
    }
    drop(writer);
    store.open(RUN).unwrap()
}

fn parse(text: &str) -> Result<Journal, JournalError> {
    Journal::parse(Path::new("a.jsonl"), text, false)
}

#[test]
fn what_is_told_is_on_the_disk_line_by_line() {
    let (_folder, store) = store();
    let mut writer = store.begin(opening(RUN), plan()).unwrap();
    let entries = [settled(1, FateRecord::Converged), settled(2, FateRecord::Failed(why()))];
    for entry in &entries {
        writer.record(entry.clone());
    }
    assert!(writer.close(ending(&[(1, FateRecord::Converged)])).is_none());

    let text = std::fs::read_to_string(store.folder().join(format!("{RUN}.jsonl"))).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["run", "plan", "note", "note", "ended"]);
    for line in &lines {
        let time = line["time"].as_str().unwrap();
        assert!(time.ends_with('Z') && time.parse::<jiff::Timestamp>().is_ok(), "{time}");
    }
    assert_eq!((&lines[0]["format"], &lines[0]["run"]), (&json!(FORMAT), &json!(RUN)));
    let mut note = lines[3].clone();
    note["time"].take();
    let expected = json!({
        "time": null, "kind": "note", "policy": "web", "note": "settled", "id": "i-00000002", "fate": "failed", "why": why(),
    });
    assert_eq!(note, expected);

    let journal = store.open(RUN).unwrap();
    assert_eq!(journal.opening(), &opening(RUN));
    assert_eq!(journal.plan(), Some(&plan()));
    assert_eq!(
        journal.lines[2..4].iter().map(|line| &line.entry).collect::<Vec<_>>(),
        entries.iter().collect::<Vec<_>>()
    );
    assert_eq!(journal.state(), State::Ended(&ending(&[(1, FateRecord::Converged)])));
}

#[test]
fn only_its_user_may_read_it() {
    let (_folder, store) = store();
    drop(store.begin(opening(RUN), plan()).unwrap());
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.folder()), 0o700);
    assert_eq!(mode(&store.folder().join(format!("{RUN}.jsonl"))), 0o600);
}

#[test]
fn a_run_is_under_way_until_its_process_is_gone() {
    let (_folder, store) = store();
    let mut writer = store.begin(opening(RUN), plan()).unwrap();
    assert_eq!(store.open(RUN).unwrap().state(), State::UnderWay);
    writer.record(settled(1, FateRecord::Converged));
    drop(writer);
    assert_eq!(store.open(RUN).unwrap().state(), State::BrokeOff);
}

#[test]
fn two_runs_do_not_write_one_journal() {
    let (_folder, store) = store();
    let first = store.begin(opening(RUN), plan()).unwrap();
    let second = store.begin(opening(RUN), plan());
    assert!(matches!(second, Err(JournalError::Taken { .. })), "{second:?}");
    drop(first);
    let again = store.begin(opening(RUN), plan());
    assert!(matches!(again, Err(JournalError::Taken { .. })), "a journal that is there is never written on");
    assert_eq!(store.open(RUN).unwrap().lines.len(), 2);
}

#[test]
fn a_journal_that_cannot_be_written_says_so_once_and_stops_nothing() {
    let (folder, _) = store();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let blocked = Store::in_folder(&folder.path().join("file")).begin(opening(RUN), plan());
    assert!(matches!(blocked, Err(JournalError::Io { doing: "create", .. })), "{blocked:?}");

    let mut full = super::write::tests::on_a_full_disk();
    full.record(settled(1, FateRecord::Converged));
    let mut told = 0;
    for _ in 0..200 {
        full.record(settled(1, FateRecord::Converged));
        told += usize::from(full.trouble().is_some());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    assert!(full.close(ending(&[])).is_none(), "it was told before");
    assert_eq!(told, 1);
    let trouble = super::write::tests::on_a_full_disk().close(ending(&[])).expect("it could not be written");
    assert!(trouble.to_string().contains("No space left"), "{trouble}");
}

#[test]
fn a_line_that_was_never_finished_is_left_out() {
    let (_folder, store) = store();
    let mut writer = store.begin(opening(RUN), plan()).unwrap();
    writer.record(settled(1, FateRecord::Converged));
    assert!(writer.close(ending(&[(1, FateRecord::Converged)])).is_none());
    let text = std::fs::read_to_string(store.folder().join(format!("{RUN}.jsonl"))).unwrap();
    let first = text.find('\n').unwrap();
    for end in 0..text.len() {
        let read = parse(&text[..end]);
        if end <= first {
            assert!(matches!(read, Err(JournalError::Damaged { line: 1, .. })), "{end}: {read:?}");
        } else {
            let whole = text[..end].matches('\n').count();
            assert_eq!(read.unwrap().lines.len(), whole, "{end}");
        }
    }
}

#[test]
fn what_no_version_wrote_is_named_by_file_and_line() {
    let lines = |lines: &[Value]| lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect::<String>();
    let run = |format: &str| {
        let mut line = serde_json::to_value(Entry::Run(opening(RUN))).unwrap();
        line["time"] = json!("2026-01-31T12:00:00Z");
        line["format"] = json!(format);
        line
    };
    let newer = parse(&lines(&[run("proxyfleet-journal/2")])).unwrap_err();
    assert!(newer.to_string().contains("`proxyfleet-journal/2`, written by proxyfleet 0.1.0"), "{newer}");
    assert_eq!(newer.remedy(), "read it with proxyfleet 0.1.0");
    for (text, line) in [
        (String::new(), 1),
        ("\n".to_owned(), 1),
        ("nonsense\n".to_owned(), 1),
        (lines(&[run(FORMAT), json!({"time": "2026-01-31T12:00:00Z", "kind": "surprise"})]), 2),
        (lines(&[run(FORMAT), json!({"time": "yesterday", "kind": "ended"}), run(FORMAT)]), 2),
    ] {
        let error = parse(&text).unwrap_err();
        assert!(matches!(error, JournalError::Damaged { line: found, .. } if found == line), "{text}: {error}");
    }
}

#[test]
fn a_run_is_found_by_its_beginning() {
    let (_folder, store) = store();
    assert!(matches!(store.open("last"), Err(JournalError::Empty { .. })));
    for run in ["20260131T120000Z-9", "20260131T120000Z-99", "20260201T000000Z-1"] {
        drop(store.begin(opening(run), plan()).unwrap());
    }
    std::fs::write(store.folder().join("notes.txt"), "mine").unwrap();
    let open = |name: &str| store.open(name).map(|journal| journal.opening().run.clone());
    for (name, run) in [
        ("last", "20260201T000000Z-1"),
        ("202602", "20260201T000000Z-1"),
        ("20260131T120000Z-9", "20260131T120000Z-9"),
        ("20260131T120000Z-99", "20260131T120000Z-99"),
    ] {
        assert_eq!(open(name).unwrap(), run, "{name}");
    }
    assert!(matches!(open("20260131"), Err(JournalError::SeveralRuns { runs, .. }) if runs.len() == 2));
    for name in ["2025", "", "notes", "../runs"] {
        assert!(matches!(open(name), Err(JournalError::NoRun { .. })), "{name}");
    }
    let (newest, older) = store.newest(2).unwrap();
    let listed: Vec<&str> = newest.iter().map(|one| one.run.as_str()).collect();
    assert_eq!((listed, older), (vec!["20260131T120000Z-99", "20260201T000000Z-1"], 1));
}

#[test]
fn one_journal_that_cannot_be_read_hides_no_other() {
    let (_folder, store) = store();
    drop(store.begin(opening(RUN), plan()).unwrap());
    std::fs::write(store.folder().join("20260101T000000Z-1.jsonl"), "{\"broken").unwrap();
    let (runs, _) = store.newest(10).unwrap();
    assert_eq!(runs.iter().map(|one| one.journal.is_ok()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_state_folder_is_where_the_user_s_state_is() {
    let find = |asked: Option<&str>, variables: &[(&str, &str)]| {
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        Store::find(asked.map(Path::new), &variable).map(|store| store.folder().display().to_string())
    };
    let home = ("HOME", "/home/u");
    for (asked, variables, expected) in [
        (Some("here"), &[home][..], "here/runs"),
        (None, &[home], "/home/u/.local/state/proxyfleet/runs"),
        (None, &[home, ("XDG_STATE_HOME", "/s")], "/s/proxyfleet/runs"),
        (None, &[home, ("XDG_STATE_HOME", "")], "/home/u/.local/state/proxyfleet/runs"),
        (None, &[home, ("XDG_STATE_HOME", "relative")], "/home/u/.local/state/proxyfleet/runs"),
    ] {
        assert_eq!(find(asked, variables).unwrap(), expected);
    }
    assert!(matches!(find(None, &[]), Err(JournalError::NoFolder)));
}

/// The numbers of those to be tried again.
fn retried(journal: &Journal) -> BTreeSet<String> {
    to_retry(journal).iter().map(ToString::to_string).collect()
}

fn set(numbers: &[u32]) -> BTreeSet<String> {
    numbers.iter().map(|number| instance(*number)).collect()
}

#[test]
fn whoever_did_not_converge_is_tried_again() {
    let (_folder, store) = store();
    let mut writer = store.begin(opening(RUN), plan()).unwrap();
    // What the end says counts, not what came before.
    writer.record(settled(2, FateRecord::Converged));
    let ends = [
        (1, FateRecord::Converged),
        (2, FateRecord::PutBack),
        (3, FateRecord::Refused(why())),
        (4, FateRecord::NotStarted(why())),
    ];
    assert!(writer.close(ending(&ends)).is_none());
    let journal = store.open(RUN).unwrap();
    assert_eq!(retried(&journal), set(&[2, 3, 4]));
    assert!(fates(&journal).values().all(Option::is_some));
}

#[test]
fn of_a_run_that_broke_off_whoever_is_not_known_to_have_converged_is_tried_again() {
    assert_eq!(retried(&broken_off(Vec::new())), set(&[1, 2, 3, 4]));
    let journal = broken_off(vec![
        settled(1, FateRecord::Converged),
        settled(2, FateRecord::Failed(why())),
        settled(3, FateRecord::Converged),
        settled(3, FateRecord::PutBack),
        // Named by a command of an earlier run, and no part of this one's plan.
        settled(9, FateRecord::Failed(why())),
    ]);
    assert_eq!(retried(&journal), set(&[2, 3, 4]));
    assert_eq!(fates(&journal).len(), 4);
}

#[test]
fn a_run_in_which_everybody_converged_leaves_nobody_to_try() {
    let (_folder, store) = store();
    let writer = store.begin(opening(RUN), plan()).unwrap();
    let ends = [1, 2, 3, 4].map(|number| (number, FateRecord::Converged));
    assert!(writer.close(ending(&ends)).is_none());
    assert_eq!(retried(&store.open(RUN).unwrap()), set(&[]));
}
