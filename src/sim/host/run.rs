//! Runs a script on a host as the SSM agent does (aws-ssm-facts 4.6, 4.7).

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

/// What became of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// What it printed, at most [`OUTPUT_LIMIT_BYTES`].
    pub stdout: Vec<u8>,
    /// What it printed to the error stream, at most [`OUTPUT_LIMIT_BYTES`].
    pub stderr: Vec<u8>,
    /// Its exit code; `None` when a signal ended it, which is how a timeout ends it.
    pub exit: Option<i32>,
    /// Whether it was killed because its time was up.
    pub timed_out: bool,
}

/// How much of each stream is kept. More than any service limit, so that truncation stays the server's business.
pub const OUTPUT_LIMIT_BYTES: u64 = 1 << 20;

/// Held while a script is being written, and while a process is being started: a child that is about to become
/// another program holds a copy of every open file for a moment, and the kernel refuses to execute a file that anybody
/// has open for writing ("Text file busy").
static WRITING_OR_STARTING: Mutex<()> = Mutex::new(());

/// Writes `script` to `path` with mode 0700.
pub(super) fn write_script(path: &Path, script: &[u8]) -> io::Result<()> {
    let _guard = WRITING_OR_STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    fs::write(path, script)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))
}

/// Runs `command` in a process group of its own and waits until it and everybody who holds its output have ended, or
/// until `timeout` has passed: then the whole group is killed. A background child that keeps the output open holds the
/// step, as it does with the agent.
pub(crate) fn run(mut command: Command, timeout: Duration) -> io::Result<Finished> {
    let deadline = Instant::now() + timeout;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = {
        let _guard = WRITING_OR_STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        command.spawn()?
    };
    let (ended, ends) = mpsc::channel();
    let stdout = collect(child.stdout.take(), ended.clone());
    let stderr = collect(child.stderr.take(), ended);

    let mut timed_out = false;
    for _ in 0..2 {
        let left = deadline.saturating_duration_since(Instant::now());
        timed_out |= ends.recv_timeout(left).is_err();
    }
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if timed_out || Instant::now() >= deadline {
            timed_out = true;
            kill_group(&child);
            break child.wait()?;
        }
        thread::sleep(Duration::from_millis(1));
    };
    if timed_out {
        // The script itself may have ended while its children live on.
        kill_group(&child);
    }
    Ok(Finished { stdout: taken(&stdout), stderr: taken(&stderr), exit: status.code(), timed_out })
}

/// Reads a stream to its end in a thread of its own; says when it has ended.
fn collect(stream: Option<impl Read + Send + 'static>, ended: mpsc::Sender<()>) -> Arc<Mutex<Vec<u8>>> {
    let collected = Arc::new(Mutex::new(Vec::new()));
    let target = Arc::clone(&collected);
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        let Some(mut stream) = stream else { return };
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = usize::try_from(OUTPUT_LIMIT_BYTES).unwrap_or(usize::MAX).saturating_sub(target.len());
                    target.extend_from_slice(&buffer[..read.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // Nobody listens any more after a timeout.
        let _ = ended.send(());
    });
    collected
}

fn taken(collected: &Mutex<Vec<u8>>) -> Vec<u8> {
    std::mem::take(&mut collected.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Kills every process that runs with this environment variable, which is what ends everything on a simulated host: also
/// processes in groups of their own, as `timeout` makes them. Where there is no `/proc` it finds nobody.
pub(super) fn kill_all(name: &str, value: &Path) {
    let wanted = [name.as_bytes(), b"=", value.as_os_str().as_encoded_bytes()].concat();
    let own = std::process::id();
    // A process may have started another one while the list was read.
    while let Ok(processes) = fs::read_dir("/proc") {
        let ids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let found: Vec<u32> = ids.filter(|id| *id != own && has_variable(*id, &wanted)).collect();
        if found.is_empty() {
            return;
        }
        for id in found {
            if let Some(process) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
                // Fails only where it has ended already.
                let _ = rustix::process::kill_process(process, rustix::process::Signal::KILL);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Whether the process runs with this assignment; the dead have none any more.
fn has_variable(process: u32, wanted: &[u8]) -> bool {
    let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|assignment| assignment == wanted)
}

fn kill_group(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // Fails only where every process of the group has ended already.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
}
