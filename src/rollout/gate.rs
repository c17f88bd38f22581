//! Running the operator's gate command.

use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::watch;

use super::{GateVerdict, Stop};
use crate::policy::{Gate, PolicyName};

/// The most bytes of the command's output that are shown.
const MOST_OUTPUT: u64 = 400;

/// What the command is asked.
pub(super) struct Question<'a> {
    /// Of which policy the rollout is.
    pub(super) policy: &'a PolicyName,
    /// The run's id.
    pub(super) run: &'a str,
    /// The wave that is done, from 0.
    pub(super) wave: usize,
}

/// Runs the command once: 0 passes, 1 fails; 2, any other end and no end in time hold. It is killed when its time is over or
/// the run is stopped.
pub(super) async fn ask(gate: &Gate, question: &Question<'_>, stop: &mut watch::Receiver<Stop>) -> GateVerdict {
    let stopped = async {
        if stop.wait_for(|stop| *stop != Stop::Go).await.is_err() {
            // Nobody is left who could stop the run.
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        verdict = run(gate, question) => verdict,
        () = tokio::time::sleep(gate.timeout) => {
            GateVerdict::Hold(format!("`{}` gave no answer in {} s", gate.command[0], gate.timeout.as_secs()))
        }
        () = stopped => GateVerdict::Hold("the run is being stopped".to_owned()),
    }
}

async fn run(gate: &Gate, question: &Question<'_>) -> GateVerdict {
    let program = &gate.command[0];
    let started = Command::new(program)
        .args(&gate.command[1..])
        .env("PROXYFLEET_POLICY", question.policy.as_str())
        .env("PROXYFLEET_RUN", question.run)
        .env("PROXYFLEET_WAVE", (question.wave + 1).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        // Ctrl-C is for the run, which decides what becomes of the question.
        .process_group(0)
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return GateVerdict::Hold(format!("`{program}` could not be started: {error}")),
    };
    let mut printed = Vec::new();
    if let Some(mut stdout) = child.stdout.take() {
        // What it says only explains; its exit code decides.
        let _ = (&mut stdout).take(MOST_OUTPUT).read_to_end(&mut printed).await;
        let _ = tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await;
    }
    let said = one_line(&printed);
    match child.wait().await.map(|status| status.code()) {
        Ok(Some(0)) => GateVerdict::Pass,
        Ok(Some(1)) => GateVerdict::Fail(said.unwrap_or_else(|| format!("`{program}` ended with 1"))),
        Ok(Some(2)) => GateVerdict::Hold(said.unwrap_or_else(|| format!("`{program}` ended with 2"))),
        Ok(Some(code)) => GateVerdict::Hold(format!("`{program}` ended with {code}, which is no verdict")),
        Ok(None) => GateVerdict::Hold(format!("`{program}` was killed")),
        Err(error) => GateVerdict::Hold(format!("`{program}` could not be waited for: {error}")),
    }
}

/// The last line that was printed, without what could play tricks on a terminal.
fn one_line(printed: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(printed);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.chars().map(|one| if one.is_control() { ' ' } else { one }).collect())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    async fn verdict(command: &[&str], timeout: Duration) -> GateVerdict {
        let command = command.iter().map(|word| (*word).to_owned()).collect();
        let gate = Gate { command, timeout, hold: Gate::DEFAULT_HOLD };
        let policy = PolicyName::parse("web").expect("a name");
        let (_sender, mut stop) = watch::channel(Stop::Go);
        ask(&gate, &Question { policy: &policy, run: "r1", wave: 1 }, &mut stop).await
    }

    #[tokio::test]
    async fn the_exit_code_decides_and_the_last_line_explains() {
        let long = Duration::from_secs(30);
        let sh = |script| async move { verdict(&["sh", "-c", script], long).await };
        assert_eq!(sh("exit 0").await, GateVerdict::Pass);
        assert_eq!(sh("echo one; echo error rate 3%; exit 1").await, GateVerdict::Fail("error rate 3%".to_owned()));
        assert_eq!(sh("echo later; exit 2").await, GateVerdict::Hold("later".to_owned()));
        assert_eq!(sh("exit 7").await, GateVerdict::Hold("`sh` ended with 7, which is no verdict".to_owned()));
        let asked = sh("echo $PROXYFLEET_POLICY $PROXYFLEET_RUN $PROXYFLEET_WAVE; exit 1").await;
        assert_eq!(asked, GateVerdict::Fail("web r1 2".to_owned()));
        let much = sh("yes | head -100000; exit 0").await;
        assert_eq!(much, GateVerdict::Pass, "output beyond what is shown keeps nobody waiting");
    }

    #[tokio::test]
    async fn no_answer_holds() {
        let hold = verdict(&["sleep", "60"], Duration::from_millis(50)).await;
        assert!(matches!(hold, GateVerdict::Hold(why) if why.contains("no answer")));
        let hold = verdict(&["/nowhere/at/all"], Duration::from_secs(30)).await;
        assert!(matches!(hold, GateVerdict::Hold(why) if why.contains("could not be started")));
    }
}
