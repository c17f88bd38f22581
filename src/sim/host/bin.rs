//! The programs that stand in for a host's own, shared by all hosts of a fleet.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::catalog::Init;

/// A folder with the shims: one folder a kind of init system, and what they share.
#[derive(Clone, Debug)]
pub struct Bin {
    folder: PathBuf,
}

/// What the shims share, by file name.
const LIBRARY: [(&str, &str); 7] = [
    ("boot.sh", include_str!("shims/boot.sh")),
    ("common.sh", include_str!("shims/common.sh")),
    ("unit.awk", include_str!("shims/unit.awk")),
    ("environment.awk", include_str!("shims/environment.awk")),
    ("agent.awk", include_str!("shims/agent.awk")),
    ("job.awk", include_str!("shims/job.awk")),
    ("daemon-json.awk", include_str!("shims/daemon-json.awk")),
];

const ANYWHERE: [(&str, &str); 3] = [
    ("docker", include_str!("shims/docker.sh")),
    ("curl", include_str!("shims/curl.sh")),
    ("sync", include_str!("shims/sync.sh")),
];

const ABSENT: &str = include_str!("shims/absent.sh");
const INITCTL: &str = include_str!("shims/initctl.sh");

const SYSTEMD: [(&str, &str); 7] = [
    ("systemctl", include_str!("shims/systemctl.sh")),
    ("service", include_str!("shims/service-systemd.sh")),
    ("initctl", ABSENT),
    ("start", ABSENT),
    ("stop", ABSENT),
    ("restart", ABSENT),
    ("status", ABSENT),
];

const UPSTART: [(&str, &str); 7] = [
    ("systemctl", ABSENT),
    ("service", include_str!("shims/service-sysv.sh")),
    ("initctl", INITCTL),
    ("start", INITCTL),
    ("stop", INITCTL),
    ("restart", INITCTL),
    ("status", INITCTL),
];

impl Bin {
    /// Writes the shims into `folder`, which is created.
    pub fn create(folder: &Path) -> io::Result<Self> {
        let library = folder.join("library");
        fs::create_dir_all(&library)?;
        for (name, text) in LIBRARY {
            fs::write(library.join(name), text)?;
        }
        for (init, programs) in [(Init::Systemd, SYSTEMD), (Init::Upstart, UPSTART)] {
            let programs_folder = folder.join(init.name());
            fs::create_dir_all(&programs_folder)?;
            for (name, text) in ANYWHERE.into_iter().chain(programs) {
                let path = programs_folder.join(name);
                fs::write(&path, text)?;
                fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// The script that starts a machine; it finds the shims of the machine's init system in `PATH`.
    pub(super) fn boot_script(&self) -> PathBuf {
        self.folder.join("library/boot.sh")
    }

    /// The folder that goes first into `PATH` on hosts with this init system.
    pub fn path(&self, init: Init) -> PathBuf {
        self.folder.join(init.name())
    }
}
