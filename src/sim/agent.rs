//! What the SSM agent does with a document on a machine: fill in parameters, check preconditions, run steps, cut output
//! (aws-ssm-facts 4, testbeds 2). Texts and limits are those of the real agent.

use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use super::content::{Content, ParameterKind, Step, Values, step_timeout, whole_reference};
use super::world::Time;

/// How often a step that asks for a reboot is started again (aws-ssm-facts 4.5).
const RETRY_LIMIT: u32 = 15;

const OUTPUT_LIMIT: usize = 2500;
const STDOUT_LIMIT: usize = 24_000;
const STDERR_LIMIT: usize = 8000;

/// A script that a step wants to run.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    /// The bytes, as the agent writes them into `_script.sh`.
    pub(crate) text: String,
    /// The plugin: `aws:runShellScript` or `aws:runPowerShellScript`.
    pub(crate) action: String,
    /// How long it may run.
    pub(crate) timeout: Duration,
}

/// How a script ended.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The exit code; 137 where it was killed.
    pub(crate) code: i32,
    /// What it printed.
    pub(crate) stdout: Vec<u8>,
    /// What it printed to standard error.
    pub(crate) stderr: Vec<u8>,
    /// Whether it was killed because the command was cancelled.
    pub(crate) cancelled: bool,
}

/// The machine that an agent runs on.
pub(crate) trait Machine {
    /// `Linux` or `Windows`.
    fn platform_type(&self) -> &str;
    /// The time.
    fn now(&self) -> Time;
    /// Runs a script to its end.
    fn run(&mut self, script: &Script) -> Outcome;
}

/// How a step or a document ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepStatus {
    /// Exit code 0, or a code that counts as success.
    Success,
    /// The precondition did not hold, or an earlier step ended the document.
    Skipped,
    /// Any other exit code.
    Failed,
    /// Killed after its time, or ended with 137.
    TimedOut,
    /// Killed because the command was cancelled.
    Cancelled,
}

/// The result of one step.
#[derive(Clone, Debug)]
pub(crate) struct StepResult {
    /// The step's name.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) status: StepStatus,
    /// The exit code.
    pub(crate) code: i32,
    /// Both outputs in at most 2,500 characters.
    pub(crate) output: String,
    /// Standard output in at most 24,000 characters.
    pub(crate) stdout: String,
    /// Standard error in at most 8,000 characters.
    pub(crate) stderr: String,
    /// When it started.
    pub(crate) started: Time,
    /// When it ended.
    pub(crate) finished: Time,
}

/// What the agent answers for a document.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The document's status; never `Skipped`.
    pub(crate) status: StepStatus,
    /// One result a step; none where the document did not start.
    pub(crate) steps: Vec<StepResult>,
    /// Why the document did not start.
    pub(crate) trace: String,
}

/// Runs a document.
pub(crate) fn run_document(content: &Content, values: &Values, machine: &mut dyn Machine) -> Reply {
    let values = content.complete(values);
    if let Some(trace) = refused_value(content, &values) {
        return Reply { status: StepStatus::Failed, steps: Vec::new(), trace };
    }
    let mut steps: Vec<StepResult> = Vec::new();
    let mut ended = false;
    for step in &content.steps {
        let result = match skip_reason(step, &values, machine.platform_type(), ended && !flag(step, "finallyStep")) {
            Some(reason) => skipped(step, reason, machine.now()),
            None => run_step(step, content, &values, machine),
        };
        ended |= ends_document(step, &result);
        steps.push(result);
    }
    Reply { status: document_status(&steps), steps, trace: String::new() }
}

/// Failed beats timed out, that beats cancelled, that beats success (aws-ssm-facts 4.5).
fn document_status(steps: &[StepResult]) -> StepStatus {
    [StepStatus::Failed, StepStatus::TimedOut, StepStatus::Cancelled]
        .into_iter()
        .find(|status| steps.iter().any(|step| step.status == *status))
        .unwrap_or(StepStatus::Success)
}

/// The agent checks nothing but the patterns.
fn refused_value(content: &Content, values: &Values) -> Option<String> {
    content.parameters.iter().find_map(|parameter| {
        let given = values.get(&parameter.name)?;
        let value = given.iter().find(|value| !parameter.pattern_allows(value))?;
        let pattern = parameter.allowed_pattern.as_deref().unwrap_or_default();
        Some(format!(
            "error thrown in 'AllowedRegexParamValidator' while validating parameter /{}/: parameter value /{value}/ does not match \
             the allowed pattern /{pattern}/",
            parameter.name
        ))
    })
}

fn skip_reason(step: &Step, values: &Values, platform: &str, ended: bool) -> Option<String> {
    if ended {
        return Some(format!(
            "Plugin with name {} and id {} skipped due to prior step with an exit condition",
            step.action, step.name
        ));
    }
    // PowerShell is registered everywhere, the shell not on Windows.
    if step.action == "aws:runShellScript" && platform == "Windows" {
        return Some(format!(
            "Step execution skipped due to unsupported plugin: {}. Step name: {}",
            step.action, step.name
        ));
    }
    let [left, right] = step.precondition.as_ref()?;
    let holds = match (left.as_str(), right.as_str()) {
        ("platformType", wanted) | (wanted, "platformType") => wanted.eq_ignore_ascii_case(platform),
        _ => substitute(left, values) == substitute(right, values),
    };
    (!holds).then(|| {
        format!(
            "Step execution skipped due to unsatisfied preconditions: '\"StringEquals\": [{left}, {right}]'. Step name: {}",
            step.name
        )
    })
}

fn skipped(step: &Step, reason: String, now: Time) -> StepResult {
    StepResult {
        name: step.name.clone(),
        status: StepStatus::Skipped,
        code: 0,
        output: reason,
        stdout: String::new(),
        stderr: String::new(),
        started: now,
        finished: now,
    }
}

fn run_step(step: &Step, content: &Content, values: &Values, machine: &mut dyn Machine) -> StepResult {
    let started = machine.now();
    let outcome = match script_lines(step, content, values) {
        Ok(lines) => {
            let mut text = lines.join("\n");
            text.push('\n');
            let timeout = Duration::from_secs(step_timeout(step.inputs.get("timeoutSeconds"), values));
            let script = Script { text, action: step.action.clone(), timeout };
            let mut outcome = machine.run(&script);
            // A reboot is asked for, after which the same step starts again.
            for _ in 0..RETRY_LIMIT {
                if outcome.code != 194 {
                    break;
                }
                outcome = machine.run(&script);
            }
            outcome
        }
        Err(message) => Outcome { code: 1, stderr: message.into_bytes(), ..Outcome::default() },
    };
    judge(step, outcome, started, machine.now())
}

/// Turns an exit code into a status and completes the outputs as the agent does.
fn judge(step: &Step, mut outcome: Outcome, started: Time, finished: Time) -> StepResult {
    let mut status = match outcome.code {
        0 | 168 => StepStatus::Success,
        137 if outcome.cancelled => StepStatus::Cancelled,
        137 => StepStatus::TimedOut,
        _ => StepStatus::Failed,
    };
    let mut code = outcome.code;
    if status == StepStatus::Failed {
        outcome.stderr.extend_from_slice(format!("failed to run commands: exit status {code}").as_bytes());
    }
    if code == 168 {
        outcome.stderr.clear();
    }
    let output = combine(&outcome.stdout, &outcome.stderr);
    let on_failure = step.inputs.get("onFailure").and_then(Value::as_str);
    let addition = match (code, status, on_failure) {
        (168, ..) => {
            "\nStep exited with code 168. Therefore, marking step as succeeded. Further document steps will be skipped."
        }
        (169, ..) => {
            "\nStep exited with code 169. Therefore, marking step as Failed. Further document steps will be skipped."
        }
        (_, StepStatus::Failed, Some("exit" | "successAndExit")) => {
            "\nStep was found to have onFailure property. Further document steps will be skipped."
        }
        _ => "",
    };
    outcome.stdout.extend_from_slice(addition.as_bytes());
    if code != 168 {
        outcome.stderr.extend_from_slice(addition.as_bytes());
    }
    if status == StepStatus::Failed && code != 169 && on_failure == Some("successAndExit") {
        status = StepStatus::Success;
        code = 168;
    }
    StepResult {
        name: step.name.clone(),
        status,
        code,
        output,
        stdout: prefix(&outcome.stdout, STDOUT_LIMIT),
        stderr: prefix(&outcome.stderr, STDERR_LIMIT),
        started,
        finished,
    }
}

/// Whether the steps after this one are skipped.
fn ends_document(step: &Step, result: &StepResult) -> bool {
    let asks = |input: &str, values: &[&str]| {
        step.inputs.get(input).and_then(Value::as_str).is_some_and(|value| values.contains(&value))
    };
    match result.status {
        StepStatus::Skipped => false,
        _ if result.code == 168 || result.code == 169 => true,
        StepStatus::Success => asks("onSuccess", &["exit"]),
        StepStatus::Failed | StepStatus::TimedOut => asks("onFailure", &["exit", "successAndExit"]),
        StepStatus::Cancelled => true,
    }
}

fn flag(step: &Step, input: &str) -> bool {
    match step.inputs.get(input) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

/// The lines of `runCommand` with the parameters filled in.
fn script_lines(step: &Step, content: &Content, values: &Values) -> Result<Vec<String>, String> {
    let is_list = |name: &str| {
        content.parameters.iter().any(|parameter| parameter.name == name && parameter.kind == ParameterKind::StringList)
    };
    match step.inputs.get("runCommand") {
        Some(Value::String(text)) => match whole_reference(text) {
            Some(name) => Ok(values.get(name).cloned().unwrap_or_default()),
            None => Err("Invalid format in plugin properties: runCommand is not a list".to_owned()),
        },
        Some(Value::Array(lines)) => lines
            .iter()
            .filter_map(Value::as_str)
            .map(|line| match whole_reference(line) {
                Some(name) if is_list(name) => Err(
                    "json: cannot unmarshal array into Go struct field RunScriptPluginInput.runCommand of type string"
                        .to_owned(),
                ),
                _ => Ok(substitute_typed(line, values, &is_list)),
            })
            .collect(),
        _ => Err("Invalid format in plugin properties: no runCommand".to_owned()),
    }
}

fn substitute(text: &str, values: &Values) -> String {
    substitute_typed(text, values, &|_| false)
}

/// Puts raw values in the place of references: one pass, no quoting, `$$` becomes `$` (aws-ssm-facts 4.3).
fn substitute_typed(text: &str, values: &Values, is_list: &dyn Fn(&str) -> bool) -> String {
    static REFERENCE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\{\{\s*([a-zA-Z0-9]+)\s*\}\}").expect("invariant: the pattern is valid"));
    let replace = |captures: &regex::Captures<'_>| match values.get(&captures[1]) {
        None => captures[0].to_owned(),
        Some(list) if is_list(&captures[1]) => serde_json::json!(list).to_string(),
        Some(list) => list.first().map(|value| value.replace("$$", "$")).unwrap_or_default(),
    };
    REFERENCE.replace_all(text, replace).into_owned()
}

/// The first bytes of an output with the agent's mark where something is missing.
fn prefix(bytes: &[u8], limit: usize) -> String {
    const SUFFIX: &str = "--output truncated--";
    if bytes.len() <= limit {
        return String::from_utf8_lossy(bytes).into_owned();
    }
    format!("{}{SUFFIX}", String::from_utf8_lossy(&bytes[..limit - SUFFIX.len()]))
}

/// Both outputs in one text of at most 2,500 bytes: the heads of both survive.
fn combine(stdout: &[u8], stderr: &[u8]) -> String {
    const OUT_CUT: &str = "\n---Output truncated---";
    const ERROR_CUT: &str = "\n---Error truncated----";
    let title = if stderr.is_empty() { "" } else { "\n----------ERROR-------\n" };
    let space = OUTPUT_LIMIT - title.len();
    let (mut out, mut out_cut, mut error, mut error_cut) = (stdout, "", stderr, "");
    if out.len() + error.len() >= space {
        if out.len() > space / 2 && error.len() > space / 2 {
            let each = (space - OUT_CUT.len() - ERROR_CUT.len()) / 2;
            (out, out_cut, error, error_cut) = (&out[..each], OUT_CUT, &error[..each], ERROR_CUT);
        } else if out.len() < space / 2 {
            (error, error_cut) = (&error[..space - ERROR_CUT.len() - out.len()], ERROR_CUT);
        } else {
            // The agent itself would crash where stdout is exactly half and stderr more than the rest.
            (out, out_cut) = (&out[..(space - OUT_CUT.len()).saturating_sub(error.len())], OUT_CUT);
        }
    }
    format!("{}{out_cut}{title}{}{error_cut}", String::from_utf8_lossy(out), String::from_utf8_lossy(error))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Machine, Outcome, Reply, Script, StepStatus, combine, prefix, run_document};
    use crate::sim::content::{Content, Values};
    use crate::sim::world::Time;

    /// Answers each script with the next of the given exit codes.
    struct Fake {
        platform: &'static str,
        codes: Vec<i32>,
        scripts: Vec<Script>,
    }

    impl Machine for Fake {
        fn platform_type(&self) -> &str {
            self.platform
        }
        fn now(&self) -> Time {
            Duration::ZERO
        }
        fn run(&mut self, script: &Script) -> Outcome {
            let code = self.codes.get(self.scripts.len()).copied().unwrap_or(0);
            self.scripts.push(script.clone());
            Outcome { code, stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec(), cancelled: false }
        }
    }

    fn run(
        document: &Value,
        values: &[(&str, &[&str])],
        platform: &'static str,
        codes: &[i32],
    ) -> (Reply, Vec<Script>) {
        let content = Content::parse(&document.to_string(), "JSON").unwrap();
        let values: Values = values
            .iter()
            .map(|(name, list)| ((*name).to_owned(), list.iter().map(|value| (*value).to_owned()).collect()))
            .collect();
        let mut fake = Fake { platform, codes: codes.to_vec(), scripts: Vec::new() };
        let reply = run_document(&content, &values, &mut fake);
        (reply, fake.scripts)
    }

    fn document(parameters: &Value, steps: &Value) -> Value {
        json!({"schemaVersion": "2.2", "parameters": parameters, "mainSteps": steps})
    }

    fn step(name: &str, more: &Value) -> Value {
        let mut inputs = json!({"runCommand": ["true"]});
        inputs.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"action": "aws:runShellScript", "name": name, "inputs": inputs})
    }

    #[test]
    fn values_are_pasted_as_they_are_once() {
        let parameters =
            json!({"A": {"type": "String"}, "B": {"type": "String", "default": "bee"}, "L": {"type": "StringList"}});
        let steps = json!([step(
            "main",
            &json!({"runCommand": ["{{A}}", "x {{ A }} {{  B  }} '{{ L }}'", "${A} {{.Field}}"]})
        )]);
        let document = document(&parameters, &steps);
        let (_, scripts) = run(&document, &[("A", &["$(id) {{ B }} $$"]), ("L", &["p", "q"])], "Linux", &[]);
        assert_eq!(scripts[0].text, "$(id) {{ B }} $\nx $(id) {{ B }} $ bee '[\"p\",\"q\"]'\n${A} {{.Field}}\n");
        assert_eq!(scripts[0].timeout, Duration::from_hours(1));
    }

    #[test]
    fn a_list_is_a_whole_script_or_an_error() {
        let parameters = json!({"L": {"type": "StringList"}});
        let whole = document(&parameters, &json!([step("main", &json!({"runCommand": "{{ L }}"}))]));
        assert_eq!(run(&whole, &[("L", &["a", "b"])], "Linux", &[]).1[0].text, "a\nb\n");
        let line = document(&parameters, &json!([step("main", &json!({"runCommand": ["{{ L }}"]}))]));
        let (reply, scripts) = run(&line, &[("L", &["a", "b"])], "Linux", &[]);
        assert_eq!((reply.status, scripts.len()), (StepStatus::Failed, 0));
        assert!(reply.steps[0].stderr.contains("cannot unmarshal array"));
    }

    #[test]
    fn a_refused_value_runs_nothing() {
        let parameters = json!({"A": {"type": "String", "allowedPattern": "^[a-z]+$"}});
        let (reply, scripts) =
            run(&document(&parameters, &json!([step("main", &json!({}))])), &[("A", &["x\n"])], "Linux", &[]);
        assert_eq!((reply.status, scripts.len(), reply.steps.len()), (StepStatus::Failed, 0, 0));
        assert!(reply.trace.contains("AllowedRegexParamValidator"), "{}", reply.trace);
    }

    #[test]
    fn steps_that_do_not_fit_are_skipped_and_count_as_success() {
        let mut other = step("other", &json!({}));
        other["precondition"] = json!({"StringEquals": ["platformType", "Windows"]});
        let (reply, scripts) = run(&document(&json!({}), &json!([other])), &[], "Linux", &[]);
        assert_eq!((reply.status, reply.steps[0].status, scripts.len()), (StepStatus::Success, StepStatus::Skipped, 0));
        assert_eq!(
            reply.steps[0].output,
            "Step execution skipped due to unsatisfied preconditions: '\"StringEquals\": [platformType, Windows]'. Step name: other"
        );
        let (reply, scripts) = run(&document(&json!({}), &json!([step("main", &json!({}))])), &[], "Windows", &[]);
        assert_eq!((reply.status, reply.steps[0].status, scripts.len()), (StepStatus::Success, StepStatus::Skipped, 0));
    }

    #[test]
    fn a_precondition_can_name_a_parameter() {
        let mut main = step("main", &json!({}));
        main["precondition"] = json!({"StringEquals": ["{{ Mode }}", "on"]});
        let document = document(&json!({"Mode": {"type": "String"}}), &json!([main]));
        assert_eq!(run(&document, &[("Mode", &["on"])], "Linux", &[]).1.len(), 1);
        assert_eq!(run(&document, &[("Mode", &["off"])], "Linux", &[]).1.len(), 0);
    }

    #[test]
    fn exit_codes_decide() {
        use StepStatus::{Failed, Skipped, Success, TimedOut};
        let plain = json!({});
        let exit = json!({"onFailure": "exit"});
        for (first, codes, expected, document_status) in [
            (&plain, &[0, 0][..], [Success, Success], Success),
            (&plain, &[1, 0], [Failed, Success], Failed),
            (&exit, &[1, 0], [Failed, Skipped], Failed),
            (&json!({"onFailure": "successAndExit"}), &[1, 0], [Success, Skipped], Success),
            (&json!({"onSuccess": "exit"}), &[0, 0], [Success, Skipped], Success),
            (&plain, &[168, 0], [Success, Skipped], Success),
            (&plain, &[169, 0], [Failed, Skipped], Failed),
            (&plain, &[137, 0], [TimedOut, Success], TimedOut),
            (&plain, &[194, 0, 0], [Success, Success], Success),
        ] {
            let document = document(&json!({}), &json!([step("first", first), step("second", &plain)]));
            let (reply, _) = run(&document, &[], "Linux", codes);
            let statuses: Vec<StepStatus> = reply.steps.iter().map(|step| step.status).collect();
            assert_eq!((statuses.as_slice(), reply.status), (&expected[..], document_status), "{first} {codes:?}");
        }
        let finally = document(&json!({}), &json!([step("first", &exit), step("last", &json!({"finallyStep": true}))]));
        assert_eq!(run(&finally, &[], "Linux", &[1]).1.len(), 2, "the final step runs in any case");
    }

    #[test]
    fn a_failure_is_told_in_the_error_output() {
        let (reply, _) = run(&document(&json!({}), &json!([step("main", &json!({}))])), &[], "Linux", &[3]);
        assert_eq!(reply.steps[0].stderr, "err\nfailed to run commands: exit status 3");
        assert_eq!(reply.steps[0].output, "out\n\n----------ERROR-------\nerr\nfailed to run commands: exit status 3");
    }

    #[test]
    fn the_head_of_an_output_survives() {
        let (long, short) = ("x".repeat(30_000), "e".repeat(100));
        let cut = combine(long.as_bytes(), b"");
        assert_eq!((cut.len(), &cut[cut.len() - 23..]), (2500, "\n---Output truncated---"));
        let cut = combine(long.as_bytes(), short.as_bytes());
        assert_eq!(cut.len(), 2500);
        assert!(cut.ends_with(&format!("\n---Output truncated---\n----------ERROR-------\n{short}")), "{cut}");
        let cut = combine(short.as_bytes(), long.as_bytes());
        assert!(cut.len() == 2500 && cut.starts_with(&short) && cut.ends_with("\n---Error truncated----"), "{cut}");
        let cut = combine(long.as_bytes(), long.as_bytes());
        assert!(
            cut.len() <= 2500 && cut.contains("---Output truncated---") && cut.ends_with("\n---Error truncated----"),
            "{cut}"
        );
        assert_eq!(combine("y".repeat(2499).as_bytes(), b"").len(), 2499, "what fits stays whole");
        let cut = prefix(long.as_bytes(), 24_000);
        assert!(cut.len() == 24_000 && cut.ends_with("--output truncated--"));
    }

    proptest! {
        #[test]
        fn output_always_fits(out in 0_usize..6000, error in 0_usize..6000) {
            let (out, error) = ("o".repeat(out), "e".repeat(error));
            let combined = combine(out.as_bytes(), error.as_bytes());
            prop_assert!(combined.len() <= 2500);
            let title = if error.is_empty() { 0 } else { "\n----------ERROR-------\n".len() };
            prop_assert_eq!(!combined.contains("truncated"), out.len() + error.len() + title < 2500);
            prop_assert!(out.is_empty() || combined.starts_with('o'), "the head of stdout survives");
        }
    }
}
