//! The carriers of a policy as they look on a host that had none of them.

use crate::catalog::carrier::{self, Edit};
use crate::catalog::{Carrier, Component, Dialect, Platform, ProxyValues};

/// A file, or a place in the registry, with nothing in it but what proxyfleet writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedFile {
    /// The component that reads it.
    pub component: Component,
    /// Where it is on the instance.
    pub path: &'static str,
    /// Whether it is for a Docker older than 23 only, which does not know the other one.
    pub for_old_docker: bool,
    /// What is in it.
    pub content: String,
}

/// The carriers of `components` on `platform` with `values`, in the order of the catalogue. Components that the platform does
/// not have are left out.
pub fn rendered_files(platform: Platform, values: &ProxyValues, components: &[Component]) -> Vec<RenderedFile> {
    let rows = platform.table().components.iter().filter(|row| components.contains(&row.component));
    rows.flat_map(|row| {
        let one = |carrier: &Carrier, for_old_docker| RenderedFile {
            component: row.component,
            path: carrier.path,
            for_old_docker,
            content: content(carrier, values),
        };
        std::iter::once(one(&row.carrier, false)).chain(row.fallback.as_ref().map(|fallback| one(fallback, true)))
    })
    .collect()
}

/// The command by which somebody gives Windows itself, that is Windows Update and others that use it, the same proxy.
/// proxyfleet does not: the setting is for the whole machine, and the SSM agent may fall back on it (proxy-by-os 8.6, 8.7).
pub fn winhttp_command(values: &ProxyValues) -> String {
    let address = |url: &str| url.split_once("://").map_or(url, |(_, address)| address).to_owned();
    let (http, https) = (address(&values.http), address(&values.https));
    let server = if http == https { http } else { format!("http={http};https={https}") };
    let bypass = Dialect::WinHttp.render(&values.bypass);
    format!("netsh winhttp set proxy proxy-server=\"{server}\" bypass-list=\"{bypass}\"")
}

fn content(carrier: &Carrier, values: &ProxyValues) -> String {
    let empty = if carrier.header { format!("{}\n", carrier::HEADER) } else { String::new() };
    let wanted: Vec<_> = carrier.settings.iter().map(|setting| (setting.key, values.value(setting.rule))).collect();
    let edits: Vec<Edit<'_>> = wanted.iter().map(|(key, value)| Edit::Set { key: *key, value }).collect();
    let content = carrier::edit(carrier.syntax, empty.as_bytes(), &edits)
        .expect("invariant: an empty carrier can be edited in every syntax");
    String::from_utf8(content).expect("invariant: what proxyfleet writes is ASCII")
}
