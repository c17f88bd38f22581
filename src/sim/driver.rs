//! Carries commands to the hosts: wakes up when something is due, runs documents on threads, hands the answers back.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::agent::{Machine, Outcome, Reply, Script, StepStatus, run_document};
use super::commands::Job;
use super::server::{Machine as Hardware, Shared};
use super::world::Time;

/// The longest sleep; nothing is due that late that somebody would miss it.
const IDLE: Duration = Duration::from_hours(1);

/// Serves commands until the runtime ends.
pub(crate) async fn drive(shared: Arc<Shared>) {
    loop {
        let now = shared.now();
        let (jobs, next) = shared.world().advance(now);
        for job in jobs {
            tokio::spawn(run(Arc::clone(&shared), job));
        }
        let wait = next.map_or(IDLE, |next| next.saturating_sub(shared.now()).clamp(Duration::from_millis(1), IDLE));
        tokio::select! {
            () = shared.woken() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn run(shared: Arc<Shared>, job: Job) {
    // Closed only when the server is going away.
    let Ok(slot) = shared.slot().await else { return };
    let (command, node) = (job.command.clone(), job.node.clone());
    let state = Arc::clone(&shared);
    let answered = tokio::task::spawn_blocking(move || {
        let reply = execute(&state, &job);
        drop(slot);
        reply
    })
    .await;
    // A thread that panicked has printed why; to the service it is an agent that failed.
    let failed = || Reply { status: StepStatus::Failed, steps: Vec::new(), trace: "the agent crashed".to_owned() };
    shared.world().commands.finish(&command, &node, answered.unwrap_or_else(|_| failed()));
    shared.wake();
}

fn execute(shared: &Shared, job: &Job) -> Reply {
    let environment = {
        let world = shared.world();
        let agent = world.node(job.node.as_str()).and_then(|node| node.agent.clone());
        agent.map(|agent| (agent.platform_type, agent.platform_name, agent.platform_version))
    };
    let (platform_type, name, version) = environment.unwrap_or(("Linux", "", ""));
    let host = shared.host(&job.node);
    let mut machine = RealMachine { shared, host, platform_type, name, version, command: &job.command };
    run_document(&job.content, &job.values, &mut machine)
}

/// A machine whose scripts really run.
struct RealMachine<'a> {
    shared: &'a Shared,
    host: Option<Result<Hardware, &'a io::Error>>,
    platform_type: &'static str,
    name: &'static str,
    version: &'static str,
    command: &'a str,
}

impl Machine for RealMachine<'_> {
    fn platform_type(&self) -> &str {
        self.platform_type
    }

    fn now(&self) -> Time {
        self.shared.now()
    }

    fn run(&mut self, script: &Script) -> Outcome {
        let host = match &self.host {
            Some(Ok(host)) => host,
            Some(Err(error)) => {
                return failure(&format!("the embedded fleet cannot make the machine: {error}"));
            }
            None => return failure("the embedded fleet has no such machine to run scripts on"),
        };
        let environment = [
            ("SSM_COMMAND_ID", self.command),
            ("AWS_SSM_PLATFORM_NAME", self.name),
            ("AWS_SSM_PLATFORM_VERSION", self.version),
        ];
        let finished = match (host, script.action.as_str()) {
            (Hardware::Linux(host), "aws:runShellScript") => {
                host.run(script.text.as_bytes(), &environment, None, script.timeout)
            }
            (Hardware::Windows(host), "aws:runPowerShellScript") => {
                host.run(&script.text, &environment, script.timeout)
            }
            (Hardware::Linux(_), _) => return failure("the Linux hosts of the embedded fleet have no PowerShell"),
            (Hardware::Windows(_), _) => return failure("a Windows host runs no shell scripts"),
        };
        match finished {
            Ok(finished) => Outcome {
                code: if finished.timed_out { 137 } else { finished.exit.unwrap_or(-1) },
                stdout: finished.stdout,
                stderr: finished.stderr,
                cancelled: false,
            },
            Err(error) => failure(&format!("the embedded fleet cannot run the script: {error}")),
        }
    }
}

fn failure(message: &str) -> Outcome {
    Outcome { code: 1, stderr: format!("{message}\n").into_bytes(), ..Outcome::default() }
}
