//! The files of a host while it is being made up, in memory.

use std::collections::BTreeMap;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A regular file.
    File {
        /// What is in it.
        bytes: Vec<u8>,
        /// Its mode.
        mode: u32,
    },
    /// A symbolic link; the target is relative to the link's folder, so that it stays below the host's root.
    Link(String),
}

/// Files by absolute path on the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Follows a link at `path`, once; the hosts have no chains of links.
    fn resolve(&self, path: &str) -> String {
        match self.nodes.get(path) {
            Some(Node::Link(target)) => {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{folder}/{target}")
            }
            _ => path.to_owned(),
        }
    }

    pub(super) fn put(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.put_with_mode(path, bytes, 0o644);
    }

    pub(super) fn put_with_mode(&mut self, path: &str, bytes: impl Into<Vec<u8>>, mode: u32) {
        let path = self.resolve(path);
        self.nodes.insert(path, Node::File { bytes: bytes.into(), mode });
    }

    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.nodes.insert(path.to_owned(), Node::Link(target.to_owned()));
    }

    /// Moves the file at `path` to `target` in the same folder or below it, and leaves a link.
    pub(super) fn move_behind_link(&mut self, path: &str, target: &str) {
        if let Some(node @ Node::File { .. }) = self.nodes.remove(path) {
            self.link(path, target);
            let moved = self.resolve(path);
            self.nodes.insert(moved, node);
        }
    }

    pub(super) fn remove(&mut self, path: &str) {
        self.nodes.remove(path);
    }

    /// The contents of a regular file, through a link.
    pub(super) fn get(&self, path: &str) -> Option<&[u8]> {
        match self.nodes.get(&self.resolve(path)) {
            Some(Node::File { bytes, .. }) => Some(bytes),
            _ => None,
        }
    }

    /// The paths of the files in `folder` (which ends with `/`), in the order of their names.
    pub(super) fn files_in<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.nodes
            .keys()
            .map(String::as_str)
            .filter(move |path| path.strip_prefix(folder).is_some_and(|name| !name.contains('/')))
    }

    /// Changes what is in a file; one that is not there counts as empty.
    pub(super) fn edit(&mut self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.resolve(path);
        let node = self.nodes.entry(path).or_insert(Node::File { bytes: Vec::new(), mode: 0o644 });
        if let Node::File { bytes, .. } = node {
            change(bytes);
        }
    }

    pub(super) fn append(&mut self, path: &str, text: &str) {
        self.edit(path, |bytes| {
            if bytes.last().is_some_and(|last| *last != b'\n') {
                bytes.push(b'\n');
            }
            bytes.extend_from_slice(text.as_bytes());
        });
    }
}
