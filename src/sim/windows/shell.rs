//! A PowerShell on a real host that waits for scripts of the simulation's own. To start one anew for each takes a second.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often each side looks whether the other has something.
const PAUSE: Duration = Duration::from_millis(10);

/// What it runs: takes the script in the file `go`, and answers in the file `done`, whose first line says how it went. The
/// place of FOLDER is taken by the folder's path on the host.
///
/// It begins with a message to all windows. For that wine starts the host's desktop, which lives as long as anybody uses it, and
/// holds the output of whoever had it started: of a script that sets a Machine variable one would never see the end.
const LOOP: &str = r"$ErrorActionPreference = 'Stop'
[Environment]::SetEnvironmentVariable('PROXYFLEET_NONE', [NullString]::Value, 'Machine')
$utf8 = New-Object Text.UTF8Encoding $false
while ($true) {
    if (-not [IO.File]::Exists('FOLDER\go')) { [Threading.Thread]::Sleep(10); continue }
    $answer = ''
    try {
        $text = [IO.File]::ReadAllText('FOLDER\go', $utf8)
        [IO.File]::Delete('FOLDER\go')
        $lines = @(& ([scriptblock]::Create($text)))
        $answer = (@('good') + $lines) -join [string][char]10
    } catch {
        $answer = 'bad' + [char]10 + $_.Exception.Message + [char]10 + $_.InvocationInfo.PositionMessage
    }
    [IO.File]::WriteAllText('FOLDER\answer', $answer, $utf8)
    [IO.File]::Move('FOLDER\answer', 'FOLDER\done')
}
";

/// A waiting PowerShell.
#[derive(Debug)]
pub(super) struct Shell {
    child: Child,
    folder: PathBuf,
}

impl Shell {
    /// Starts one on the host in `dir` with the tool `winhost`.
    pub(super) fn start(tool: &Path, dir: &Path) -> io::Result<Self> {
        let folder = dir.join("drive_c/proxyfleet-shell");
        fs::create_dir_all(&folder)?;
        for name in ["go", "answer", "done"] {
            // Left by one that was killed.
            let _ = fs::remove_file(folder.join(name));
        }
        let script = dir.join("shell.ps1");
        fs::write(&script, LOOP.replace("FOLDER", r"C:\proxyfleet-shell"))?;
        let mut command = Command::new(tool);
        command.arg("run").arg(dir).arg(&script);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: command.spawn()?, folder })
    }

    /// Runs a script; returns the lines that it put out.
    ///
    /// # Errors
    /// When it fails, with its message, or has not ended after `timeout`.
    pub(super) fn run(&mut self, script: &str, timeout: Duration) -> io::Result<String> {
        let end = Instant::now() + timeout;
        fs::write(self.folder.join("script"), script)?;
        fs::rename(self.folder.join("script"), self.folder.join("go"))?;
        let done = self.folder.join("done");
        while !done.exists() {
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("the PowerShell on the host ended: {status}")));
            }
            if Instant::now() >= end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "a script on the host did not end in time"));
            }
            thread::sleep(PAUSE);
        }
        let answer = fs::read_to_string(&done)?;
        fs::remove_file(&done)?;
        match answer.split_once('\n').unwrap_or((&answer, "")) {
            ("good", lines) => Ok(lines.to_owned()),
            (_, message) => Err(io::Error::other(message.to_owned())),
        }
    }

    /// Waits for its end, after the host was stopped.
    pub(super) fn reap(mut self) {
        // Whatever is left of it is this one process, the tool, which ends with the host.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
