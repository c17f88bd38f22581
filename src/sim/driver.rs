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

/// The modelled apply has fewer steps than a script has calls of programs.
const WINDOWS_STEPS: u32 = 7;

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
    if job.fate.wait_seconds > 0 {
        tokio::time::sleep(shared.waiting(job.fate.wait_seconds)).await;
    }
    // Closed only when the server is going away.
    let Ok(slot) = shared.slot().await else { return };
    let (command, node, lost) = (job.command.clone(), job.node.clone(), job.fate.lost);
    let state = Arc::clone(&shared);
    let answered = tokio::task::spawn_blocking(move || {
        let reply = execute(&state, &job);
        drop(slot);
        reply
    })
    .await;
    // A thread that panicked has printed why; to the service it is an agent that failed.
    let failed = || Reply { status: StepStatus::Failed, steps: Vec::new(), trace: "the agent crashed".to_owned() };
    {
        let mut world = shared.world();
        match answered.unwrap_or_else(|_| Some(failed())) {
            Some(_) if lost => {
                world.fault_counts.lost_replies += 1;
                world.commands.lose(&command, &node);
            }
            Some(reply) => world.commands.finish(&command, &node, reply),
            None => world.commands.lose(&command, &node),
        }
    }
    shared.wake();
}

/// Runs a job; nothing where the machine lost its power before the agent could report.
fn execute(shared: &Shared, job: &Job) -> Option<Reply> {
    let environment = {
        let world = shared.world();
        let agent = world.node(job.node.as_str()).and_then(|node| node.agent.clone());
        agent.map(|agent| (agent.platform_type, agent.platform_name, agent.platform_version))
    };
    let (platform_type, name, version) = environment.unwrap_or(("Linux", "", ""));
    let host = shared.host(&job.node);
    let power_offs = |machine: &RealMachine<'_>| match &machine.host {
        Some(Ok(Hardware::Linux(host))) => host.power_offs(),
        _ => 0,
    };
    let reboot_after = job.fate.reboot_after;
    let mut machine = RealMachine { shared, host, platform_type, name, version, job, reboot_after, rebooted: false };
    let before = power_offs(&machine);
    let reply = run_document(&job.content, &job.values, &mut machine);
    if machine.reboot_after.is_some()
        && let Some(node) = shared.world().node_mut(job.node.as_str())
    {
        // No script ran: the reboot is still to come.
        node.trouble.reboots = true;
    }
    // Another command of this machine may have met the reboot.
    let survived = !machine.rebooted && power_offs(&machine) == before;
    survived.then_some(reply)
}

/// A machine whose scripts really run.
struct RealMachine<'a> {
    shared: &'a Shared,
    host: Option<Result<Hardware, &'a io::Error>>,
    platform_type: &'static str,
    name: &'static str,
    version: &'static str,
    job: &'a Job,
    /// The first script meets a reboot after so many steps.
    reboot_after: Option<u32>,
    /// The power is gone: nothing runs any more.
    rebooted: bool,
}

impl RealMachine<'_> {
    /// Runs a script into a reboot. Commands for the node wait until the machine is up again.
    fn reboot(&self, host: &Hardware, script: &Script, environment: &[(&str, &str)], steps: u32) -> io::Result<()> {
        let booting = |booting: bool| {
            let mut world = self.shared.world();
            if let Some(node) = world.node_mut(self.job.node.as_str()) {
                node.trouble.booting = booting;
            }
        };
        self.shared.world().fault_counts.reboots += 1;
        let booted = match host {
            Hardware::Linux(host) => {
                host.run_into_power_off(script.text.as_bytes(), environment, steps, script.timeout)?;
                booting(true);
                host.boot()
            }
            Hardware::Windows(host) => {
                booting(true);
                host.run_into_reboot(&script.text, steps % WINDOWS_STEPS)
            }
        };
        booting(false);
        self.shared.wake();
        booted
    }
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
            ("SSM_COMMAND_ID", self.job.command.as_str()),
            ("AWS_SSM_PLATFORM_NAME", self.name),
            ("AWS_SSM_PLATFORM_VERSION", self.version),
        ];
        match (host, script.action.as_str()) {
            (Hardware::Linux(_), "aws:runShellScript") | (Hardware::Windows(_), "aws:runPowerShellScript") => {}
            (Hardware::Linux(_), _) => return failure("the Linux hosts of the embedded fleet have no PowerShell"),
            (Hardware::Windows(_), _) => return failure("a Windows host runs no shell scripts"),
        }
        if let Some(steps) = self.reboot_after.take() {
            self.rebooted = true;
            if let Err(error) = self.reboot(host, script, &environment, steps) {
                self.rebooted = false;
                return failure(&format!("the embedded fleet cannot reboot the machine: {error}"));
            }
        }
        if self.rebooted {
            return Outcome::default();
        }
        let finished = match host {
            Hardware::Linux(host) => host.run(script.text.as_bytes(), &environment, None, script.timeout),
            Hardware::Windows(host) => host.run(&script.text, &environment, script.timeout),
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
