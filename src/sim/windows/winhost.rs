//! Windows hosts with a real body: a small Windows container instance under wine, made by the tool `winhost`.
//!
//! A [`RealHost`] runs the very bytes of published PowerShell scripts on a real registry and a real service manager. What
//! it gives and what it simplifies says the tool's own README. Nothing of this program's environment reaches a host, so
//! what the SSM agent would put into a script's environment is assigned in the script itself: on its first line, in front
//! of everything else, so that line numbers in messages stay right.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::shell::Shell;
use crate::sim::host::{Finished, run_command};

/// The environment variable that names the tool or its folder.
const TOOL_VARIABLE: &str = "PROXYFLEET_WINHOST";

/// Where the tool is, seen from the folder of the package.
const TOOL_BESIDE: &str = "../shared/tools/winhost/winhost";

/// Where the parts of a host say what a real one would only let one infer.
pub(super) const NOTES: &str = r"C:\ProgramData\winhost";

/// The first host of a machine also makes the base of all later ones.
const CREATE_TIMEOUT: Duration = Duration::from_mins(5);
/// Everything else that the tool does takes a second or two; the machine may be busy.
const TOOL_TIMEOUT: Duration = Duration::from_mins(1);

/// Why there are no real Windows hosts here.
#[derive(Debug, thiserror::Error)]
pub enum WhyNot {
    /// The tool is not there.
    #[error("the tool winhost is in none of these places: {}", .looked.join(", "))]
    NoTool {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// The tool cannot work here: no wine, mostly.
    #[error("{} cannot make hosts here: {message}", .tool.display())]
    NotReady {
        /// The tool.
        tool: PathBuf,
        /// What it said.
        message: String,
    },
}

/// The version of Windows Server of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServerVersion {
    /// Build 14393.
    Server2016,
    /// Build 17763.
    Server2019,
    /// Build 20348.
    Server2022,
    /// Build 26100.
    Server2025,
}

impl ServerVersion {
    /// Oldest first.
    pub const ALL: [Self; 4] = [Self::Server2016, Self::Server2019, Self::Server2022, Self::Server2025];

    /// `2016` and so on.
    pub const fn year(self) -> &'static str {
        match self {
            Self::Server2016 => "2016",
            Self::Server2019 => "2019",
            Self::Server2022 => "2022",
            Self::Server2025 => "2025",
        }
    }

    /// The build number, as the registry has it.
    pub const fn build(self) -> &'static str {
        match self {
            Self::Server2016 => "14393",
            Self::Server2019 => "17763",
            Self::Server2022 => "20348",
            Self::Server2025 => "26100",
        }
    }
}

/// The tool that makes hosts.
#[derive(Clone, Debug)]
pub struct Winhost {
    tool: PathBuf,
}

impl Winhost {
    /// Looks for the tool: in the environment variable `PROXYFLEET_WINHOST` (the tool or its folder), which must be right
    /// when it is set, then beside the package and beside the current folder.
    pub fn find() -> Result<Self, WhyNot> {
        let places = match env::var_os(TOOL_VARIABLE).filter(|value| !value.is_empty()) {
            Some(named) => vec![PathBuf::from(named)],
            None => vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(TOOL_BESIDE), PathBuf::from(TOOL_BESIDE)],
        };
        let tool = places.iter().find_map(|place| {
            let inside = place.join("winhost");
            [place.clone(), inside].into_iter().find(|path| path.is_file())
        });
        let Some(tool) = tool else {
            return Err(WhyNot::NoTool { looked: places.iter().map(|place| place.display().to_string()).collect() });
        };
        let winhost = Self { tool };
        let message = match winhost.call(&["ready"], TOOL_TIMEOUT) {
            Ok(finished) if finished.exit == Some(0) => return Ok(winhost),
            Ok(finished) => String::from_utf8_lossy(&finished.stderr).trim().to_owned(),
            Err(error) => error.to_string(),
        };
        Err(WhyNot::NotReady { tool: winhost.tool, message })
    }

    /// Makes a host in the folder `dir`, which must be absent or empty, and starts it. Takes a second or two, and once for
    /// each machine 15 seconds more.
    pub fn create(&self, dir: &Path, version: ServerVersion) -> io::Result<RealHost> {
        let dir = std::path::absolute(dir)?;
        // Made first: a host whose start fails half way is stopped as well.
        let host = RealHost {
            winhost: self.clone(),
            dir,
            scripts: AtomicU32::new(0),
            rebooted: AtomicBool::new(false),
            shell: Mutex::new(None),
        };
        host.tool("new", &[version.year()], CREATE_TIMEOUT)?;
        host.detach_notes()?;
        Ok(host)
    }

    /// Says what Windows PowerShell 5.1 on .NET Framework 4.8 could not run: exit code 0 where there is nothing.
    pub fn check(&self, scripts: &[&Path]) -> io::Result<Finished> {
        let paths: Vec<_> = scripts.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let arguments: Vec<&str> = ["check"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        self.call(&arguments, CREATE_TIMEOUT)
    }

    fn call(&self, arguments: &[&str], timeout: Duration) -> io::Result<Finished> {
        let mut command = Command::new(&self.tool);
        command.args(arguments);
        run_command(command, timeout)
    }
}

/// One Windows host under wine. Dropping it stops it; its folder stays.
#[derive(Debug)]
pub struct RealHost {
    winhost: Winhost,
    dir: PathBuf,
    scripts: AtomicU32,
    rebooted: AtomicBool,
    shell: Mutex<Option<Shell>>,
}

impl RealHost {
    /// The folder of the host, for the tool's own commands.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where a file of the host is on this machine: `C:\ProgramData\docker` and the like, letters in the case that they
    /// have there.
    pub fn at(&self, path: &str) -> PathBuf {
        let inside = path.trim_start_matches("C:").trim_start_matches('\\').replace('\\', "/");
        self.dir.join("drive_c").join(inside)
    }

    /// Runs a PowerShell script as the SSM agent does. Blocks until it has ended.
    ///
    /// `environment` is assigned on the first line of the script, so a script with a `param` block must go without; such a
    /// script gets `arguments`. A script that Windows PowerShell 5.1 could not run is not run at all: exit code 64.
    pub fn run(
        &self,
        script: &[u8],
        environment: &[(&str, &str)],
        arguments: &[&str],
        timeout: Duration,
    ) -> io::Result<Finished> {
        let folder = self.dir.join("scripts");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{}.ps1", self.scripts.fetch_add(1, Ordering::Relaxed)));
        let mut text = Vec::new();
        for (name, value) in environment {
            text.extend_from_slice(format!("$env:{name} = {}; ", quoted(value)).as_bytes());
        }
        text.extend_from_slice(script);
        fs::write(&file, text)?;
        let (dir, file) = (self.dir.to_string_lossy(), file.to_string_lossy());
        let words: Vec<&str> = ["run", &*dir, &*file].into_iter().chain(arguments.iter().copied()).collect();
        self.winhost.call(&words, timeout)
    }

    /// Runs a Windows program, such as `reg` or `net`.
    pub fn exec(&self, command: &[&str]) -> io::Result<Finished> {
        let dir = self.dir.to_string_lossy();
        let words: Vec<&str> = ["exec", &*dir].into_iter().chain(command.iter().copied()).collect();
        self.winhost.call(&words, TOOL_TIMEOUT)
    }

    /// Runs a PowerShell script of the caller's own in a PowerShell that waits on the host, and returns the lines that it
    /// puts out. Much faster than [`RealHost::run`]; such a script does not `exit`.
    ///
    /// # Errors
    /// When there is an error that nobody catches in the script.
    pub fn shell(&self, script: &str) -> io::Result<String> {
        let mut waiting = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shell = match waiting.take() {
            Some(shell) => shell,
            None => Shell::start(&self.winhost.tool, &self.dir)?,
        };
        let result = shell.run(script, TOOL_TIMEOUT);
        *waiting = Some(shell);
        result
    }

    /// How often a service, by its name in the service manager, was started since the host was made; a start that failed
    /// early does not count.
    pub fn starts(&self, service: &str) -> usize {
        self.noted(service, "starts").lines().count()
    }

    /// The environment with which a service was last started, as `KEY=value`.
    pub fn environment(&self, service: &str) -> Vec<String> {
        self.noted(service, "env").lines().map(str::to_owned).collect()
    }

    /// Decides what the docker client says about the version from now on, such as `20.10.9`.
    pub fn set_docker_version(&self, version: &str) -> io::Result<()> {
        self.write(&format!(r"{NOTES}\docker.version"), version.as_bytes())
    }

    /// What is in a file.
    pub fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        fs::read(self.at(path))
    }

    /// Writes a file as somebody else on the host would; folders are created. The services notice nothing of it.
    pub fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.at(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Anew, not into the old one: a fresh host shares files with the tool's base.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::write(path, bytes),
        }
    }

    /// Stops a service and what depends on it, as `net stop` does.
    pub fn stop_service(&self, service: &str) -> io::Result<()> {
        self.shell(&format!("Stop-Service -Name {} -Force", quoted(service))).map(drop)
    }

    /// Starts a service and what it depends on.
    pub fn start_service(&self, service: &str) -> io::Result<()> {
        self.shell(&format!("Start-Service -Name {}", quoted(service))).map(drop)
    }

    /// Stops the host and starts it again: services that start by themselves start with what the registry has now.
    pub fn reboot(&self) -> io::Result<()> {
        self.rebooted.store(true, Ordering::Relaxed);
        self.start_anew()
    }

    /// Whether the machine was started anew since this was asked last.
    pub(super) fn take_rebooted(&self) -> bool {
        self.rebooted.swap(false, Ordering::Relaxed)
    }

    pub(super) fn start_anew(&self) -> io::Result<()> {
        let result = self.tool("reboot", &[], TOOL_TIMEOUT);
        self.forget_shell();
        result
    }

    fn forget_shell(&self) {
        if let Some(shell) = self.shell.lock().unwrap_or_else(PoisonError::into_inner).take() {
            shell.reap();
        }
    }

    /// Gives a fresh host its own files for what its services note. The tool links them to those of its base, once somebody
    /// has used its `check`, which starts the services there; hosts side by side would write into the same files.
    fn detach_notes(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.at(NOTES))? {
            let path = entry?.path();
            let mut bytes = fs::read(&path)?;
            if path.extension().is_some_and(|end| end == "starts") {
                bytes = b"start\r\n".to_vec();
            }
            fs::remove_file(&path)?;
            fs::write(&path, bytes)?;
        }
        Ok(())
    }

    fn noted(&self, service: &str, what: &str) -> String {
        let bytes = self.read(&format!(r"{NOTES}\{service}.{what}")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn tool(&self, verb: &str, more: &[&str], timeout: Duration) -> io::Result<()> {
        let dir = self.dir.to_string_lossy();
        let words: Vec<&str> = [verb, &*dir].into_iter().chain(more.iter().copied()).collect();
        let finished = self.winhost.call(&words, timeout)?;
        succeeded(&format!("winhost {verb}"), &finished)
    }
}

impl Drop for RealHost {
    fn drop(&mut self) {
        if self.dir.join("dosdevices").exists() {
            // There is nobody to tell, and the next start of the host does not depend on it.
            let _ = self.tool("stop", &[], TOOL_TIMEOUT);
            self.forget_shell();
        }
    }
}

/// An error with what a program printed, unless all went well.
fn succeeded(what: &str, finished: &Finished) -> io::Result<()> {
    if finished.exit == Some(0) && !finished.timed_out {
        return Ok(());
    }
    let ending = match (finished.timed_out, finished.exit) {
        (true, _) => "did not end in time".to_owned(),
        (_, Some(code)) => format!("ended with {code}"),
        (_, None) => "was killed".to_owned(),
    };
    Err(io::Error::other(format!(
        "{what} {ending}\n{}{}",
        String::from_utf8_lossy(&finished.stdout),
        String::from_utf8_lossy(&finished.stderr)
    )))
}

/// A PowerShell string with this value, whatever is in it.
pub(super) fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}
