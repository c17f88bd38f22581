//! Simulated Linux hosts that run the very bytes of published scripts with a real `sh` (decision D14).
//!
//! A [`Host`] is a folder that looks like the root of an Amazon Linux container instance. A script finds it in
//! `PROXYFLEET_ROOT` and puts it in front of every path. Its services are kept by shims, small sh programs that stand
//! first in `PATH`: `systemctl` or `initctl` and `service`, `docker`, `curl`. They keep what is in files, what is loaded
//! and what runs apart, as the real ones do (proxy-by-os 4, 6, 13, 14), so "the file is right and the process is not" is a
//! state that a host can be in.
//!
//! Simplified, on purpose:
//! - Nothing happens by itself: `Restart=` of units and `respawn` of jobs do not bring a failed service back.
//! - `docker.socket` is stopped whenever docker is, so a docker client does not start the daemon.
//! - Tasks are a number; after a restart of docker the scheduler has replaced them.
//! - No live-restore: each restart of docker stops the tasks.
//! - The start limit of units (three starts a minute for docker) is not enforced.
//! - `docker info` and `docker inspect` know the formats that this crate uses, and say so where they do not know one.

mod bin;
mod create;
mod dress;
mod environment;
mod look;
mod plain;
mod run;
mod spec;
mod tree;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub use bin::Bin;
pub use look::{Entry, Snapshot};
pub(crate) use run::run as run_command;
pub use run::{Finished, OUTPUT_LIMIT_BYTES};
pub use spec::{Condition, DockerVersion, EcsUnit, Fault, FaultWhen, HostSpec, ProxyAnswer};

use crate::catalog::Service;

/// One simulated host. Dropping it leaves its folder: the fleet that owns the folder removes it.
#[derive(Debug)]
pub struct Host {
    root: PathBuf,
    path: String,
    boot_script: PathBuf,
    instance_id: String,
    region: String,
    disk_full: bool,
    commands: AtomicU32,
    power_offs: AtomicU32,
}

/// How long a script whose machine is about to reboot may go on without calling any of the shims.
const LONGEST_WITHOUT_STEP: Duration = Duration::from_secs(10);
/// How long a boot may take; it takes well below a second.
const BOOT_TIMEOUT: Duration = Duration::from_mins(1);

impl Host {
    /// Makes a host with its root at `root`, which is created and must be absolute. Takes a few milliseconds and starts
    /// no process.
    pub fn create(root: &Path, bin: &Bin, spec: &HostSpec) -> io::Result<Self> {
        create::create(root, spec)?;
        Ok(Self {
            root: root.to_owned(),
            path: bin.path(spec.platform.table().init).to_string_lossy().into_owned(),
            boot_script: bin.boot_script(),
            instance_id: spec.instance_id.clone(),
            region: spec.region.clone(),
            disk_full: spec.conditions.iter().any(|condition| matches!(condition, Condition::DiskFull)),
            commands: AtomicU32::new(0),
            power_offs: AtomicU32::new(0),
        })
    }

    /// The folder that is the host's `/`.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path`, absolute on the host, is on this machine.
    pub fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Runs a script as the SSM agent does: a file with mode 0700 in a folder of its own, started as `sh -c FILE` in a
    /// process group of its own, with that folder as the working directory. Blocks until it has ended.
    ///
    /// `environment` is added to a small clean one, and wins over it; `SSM_COMMAND_ID` in it also names the folder. A
    /// `PATH` in it goes between the shims and the machine's own folders. With `shell`, such as `bash` or `busybox ash`,
    /// that shell reads the script, whatever its first line says.
    pub fn run(
        &self,
        script: &[u8],
        environment: &[(&str, &str)],
        shell: Option<&str>,
        timeout: Duration,
    ) -> io::Result<Finished> {
        let number = self.commands.fetch_add(1, Ordering::Relaxed);
        let given = environment.iter().rev().find(|(name, _)| *name == "SSM_COMMAND_ID");
        let command_id = given.map_or_else(|| format!("command-{number}"), |(_, id)| (*id).to_owned());
        let folder =
            self.at(&format!("/var/lib/amazon/ssm/{}/document/orchestration/{command_id}/{number}", self.instance_id));
        fs::create_dir_all(&folder)?;
        let file = folder.join("_script.sh");
        run::write_script(&file, script)?;

        let mut words: Vec<&str> = if self.disk_full { DISK_FULL.to_vec() } else { Vec::new() };
        words.extend(shell.unwrap_or("sh -c").split(' '));
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).arg(&file);
        let given_path = environment.iter().rev().find(|(name, _)| *name == "PATH").map(|(_, path)| format!(":{path}"));
        let path = format!("{}{}:{MACHINE_PATH}", self.path, given_path.unwrap_or_default());
        command
            .current_dir(&folder)
            .env_clear()
            .env("AWS_SSM_INSTANCE_ID", &self.instance_id)
            .env("AWS_SSM_REGION_NAME", &self.region)
            .env("SSM_COMMAND_ID", &command_id)
            .envs(environment.iter().copied())
            .env("PATH", path)
            .env(ROOT_VARIABLE, &self.root);
        run::run(command, timeout)
    }

    /// Runs a script until it has called the shims `steps` times, and then cuts the power: every process of the host is
    /// killed. A script that ended before loses the power right after its end. Follow with [`Host::boot`].
    pub fn run_into_power_off(
        &self,
        script: &[u8],
        environment: &[(&str, &str)],
        steps: u32,
        timeout: Duration,
    ) -> io::Result<()> {
        fs::write(self.at(REBOOT_AFTER), format!("{steps}\n"))?;
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let start = Instant::now();
                while !ended.load(Ordering::Relaxed)
                    && !self.at(REBOOTING).exists()
                    && start.elapsed() < LONGEST_WITHOUT_STEP
                {
                    thread::sleep(Duration::from_millis(5));
                }
                self.power_off();
            });
            let finished = self.run(script, environment, None, timeout);
            ended.store(true, Ordering::Relaxed);
            finished.map(drop)
        })?;
        for name in [REBOOT_AFTER, REBOOTING] {
            match fs::remove_file(self.at(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Cuts the power: every process of the host is killed.
    pub fn power_off(&self) {
        self.power_offs.fetch_add(1, Ordering::Relaxed);
        run::kill_all(ROOT_VARIABLE, &self.root);
    }

    /// How often the power was cut.
    pub fn power_offs(&self) -> u32 {
        self.power_offs.load(Ordering::Relaxed)
    }

    /// Starts the machine after [`Host::power_off`]: what a boot clears is gone, and the services start with what the files
    /// say now.
    pub fn boot(&self) -> io::Result<()> {
        self.outside_edit(BOOT_ID, |id| *id = next_boot_id(id))?;
        let mut command = Command::new("sh");
        command
            .arg(&self.boot_script)
            .env_clear()
            .env("PATH", format!("{}:{MACHINE_PATH}", self.path))
            .env(ROOT_VARIABLE, &self.root);
        let finished = run::run(command, BOOT_TIMEOUT)?;
        if finished.exit == Some(0) {
            return Ok(());
        }
        Err(io::Error::other(format!("a host does not boot: {}", String::from_utf8_lossy(&finished.stderr).trim())))
    }

    /// How often a service was started by a boot since the host was made.
    pub fn boot_starts(&self, service: Service) -> u32 {
        self.counter(&format!("{service}.boots"))
    }

    /// How often a service was told to start since the host was made, failed starts and those of a boot included.
    pub fn starts(&self, service: Service) -> u32 {
        self.counter(&format!("{service}.starts"))
    }

    /// How many tasks were stopped since the host was made.
    pub fn tasks_killed(&self) -> u32 {
        self.counter("tasks-killed")
    }

    /// How often systemd was told to read its files again.
    pub fn daemon_reloads(&self) -> u32 {
        self.counter("daemon-reloads")
    }

    /// Whether a service runs.
    pub fn is_active(&self, service: Service) -> bool {
        self.state(&format!("state/{service}")).starts_with("state=active\n")
    }

    /// The value of a variable in the running process of a service; `None` where it has none or does not run.
    pub fn process_variable(&self, service: Service, name: &str) -> Option<String> {
        self.is_active(service).then(|| variable(&self.state(&format!("running/{service}.env")), name)).flatten()
    }

    /// The value of a variable of the agent container.
    pub fn agent_variable(&self, name: &str) -> Option<String> {
        variable(&self.state("running/agent.env"), name)
    }

    /// Makes the next starts of a service fail, or, with `None`, takes such a fault away.
    pub fn set_fault(&self, service: Service, fault: Option<&Fault>) -> io::Result<()> {
        let path = self.at(&format!("/.sim/fail/{service}"));
        match fault {
            Some(fault) => fs::write(path, create::fault_text(fault)),
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Decides how a proxy (`HOST:PORT`, or `*` for all that are not named) answers from now on.
    pub fn set_proxy(&self, host_port: &str, answer: ProxyAnswer) -> io::Result<()> {
        let mut lines = create::proxy_line(host_port, answer);
        for line in self.state("proxies").lines() {
            if line.split(' ').next() != Some(host_port) {
                lines.push_str(line);
                lines.push('\n');
            }
        }
        fs::write(self.at("/.sim/proxies"), lines)
    }

    /// What is in a file, through links.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.at(path))
    }

    /// Writes a file as somebody else on the host would; folders are created. The services notice nothing of it.
    pub fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.at(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, bytes)
    }

    /// Edits a file as somebody else on the host would.
    pub fn outside_edit(&self, path: &str, edit: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut bytes = self.read(path)?;
        edit(&mut bytes);
        fs::write(self.at(path), bytes)
    }

    /// Everything that an operator would see below `/`.
    pub fn snapshot(&self) -> io::Result<Snapshot> {
        look::snapshot(&self.root)
    }

    fn counter(&self, name: &str) -> u32 {
        self.state(&format!("count/{name}")).trim().parse().unwrap_or(0)
    }

    /// A file of the simulation; empty where there is none.
    fn state(&self, name: &str) -> String {
        let bytes = fs::read(self.at(&format!("/.sim/{name}"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// The variable in which every process of a host finds where its root is.
const ROOT_VARIABLE: &str = "PROXYFLEET_ROOT";
/// See `shims/common.sh`.
const REBOOT_AFTER: &str = "/.sim/reboot-after";
const REBOOTING: &str = "/.sim/rebooting";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Runs a command in whose files nothing can be written: a limit of no bytes, and no signal for those who try all the same.
const DISK_FULL: [&str; 4] = ["sh", "-c", "ulimit -S -f 0; trap '' XFSZ; exec \"$@\"", "sh"];

/// Another id of the same form: each digit is replaced by the one that is seven further.
fn next_boot_id(id: &[u8]) -> Vec<u8> {
    let next = |character: char| {
        let digit = character.to_digit(16).and_then(|digit| char::from_digit((digit + 7) % 16, 16));
        digit.unwrap_or(character)
    };
    String::from_utf8_lossy(id).chars().map(next).collect::<String>().into_bytes()
}

/// Where the machine's own sh, awk and coreutils are.
const MACHINE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn variable(lines: &str, name: &str) -> Option<String> {
    lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}
