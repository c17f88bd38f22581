//! What an operator would see on a host, and what only the simulation knows.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Everything below a host's root, by absolute path on the host.
pub type Snapshot = BTreeMap<String, Entry>;

/// One file, folder or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is in a file; empty for the others.
    pub bytes: Vec<u8>,
    /// Type and permission bits.
    pub mode: u32,
    /// Seconds and nanoseconds since the epoch of the last change of the contents.
    pub modified: (i64, i64),
    /// A file that was replaced has another number.
    pub inode: u64,
    /// Where a symbolic link points.
    pub target: Option<PathBuf>,
}

/// Folders that are no part of what an operator looks at: the simulation's own state, and where the SSM agent keeps scripts.
const HIDDEN: [&str; 2] = ["/.sim", "/var/lib/amazon/ssm"];

pub(super) fn snapshot(root: &Path) -> io::Result<Snapshot> {
    let mut found = Snapshot::new();
    walk(root, "", &mut found)?;
    Ok(found)
}

fn walk(root: &Path, folder: &str, found: &mut Snapshot) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder.trim_start_matches('/')))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if HIDDEN.contains(&path.as_str()) {
            continue;
        }
        let metadata = entry.path().symlink_metadata()?;
        let kind = metadata.file_type();
        let bytes = if kind.is_file() { fs::read(entry.path())? } else { Vec::new() };
        let target = if kind.is_symlink() { Some(fs::read_link(entry.path())?) } else { None };
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        found.insert(path.clone(), Entry { bytes, mode: metadata.mode(), modified, inode: metadata.ino(), target });
        if kind.is_dir() {
            walk(root, &path, found)?;
        }
    }
    Ok(())
}
