//! What one instance reported of itself.
//!
//! Thousands of instances usually report the same few states, so an [`Observed`] holds nothing that tells instances apart
//! and is shared between all that sent the same report.

use std::fmt;
use std::sync::Arc;

use crate::catalog::{Carrier, Component, ComponentRow, Key, Platform, Service, ValueKind, normalise_list};
use crate::fleet::report::digest_head;

/// Everything one observe report says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Identifies the report: two instances with the same fingerprint reported the same, to the byte.
    pub fingerprint: String,
    /// The platform the host found itself to be.
    pub platform: Platform,
    /// The services of the platform, in the order of [`Service::ALL`].
    pub services: Vec<(Service, ServiceState)>,
    /// The carriers in use of components that have a choice, such as Docker on Windows. One that could not tell is missing.
    pub carriers: Vec<(Component, &'static Carrier)>,
    /// One entry for each setting of the platform's catalogue table, in its order.
    pub settings: Vec<ObservedSetting>,
    /// Settings that an earlier apply wrote, from the host's own record.
    pub managed: Vec<ManagedSetting>,
    /// Other sources of the same variables.
    pub foreign: Vec<ForeignSource>,
    /// Reasons why a component's carrier cannot be edited.
    pub blockers: Vec<Blocker>,
}

impl Observed {
    /// The entry of one setting.
    pub fn setting(&self, component: Component, key: Key) -> Option<&ObservedSetting> {
        self.settings.iter().find(|setting| setting.component == component && setting.key == key)
    }

    /// What carries the proxy of a component here.
    pub fn carrier(&self, row: &'static ComponentRow) -> &'static Carrier {
        self.carriers
            .iter()
            .find(|(component, _)| *component == row.component)
            .map_or(&row.carrier, |(_, carrier)| carrier)
    }

    /// The state of one service.
    pub fn service(&self, service: Service) -> Option<ServiceState> {
        self.services.iter().find(|(known, _)| *known == service).map(|(_, state)| *state)
    }
}

/// Whether an instance was asked, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// It was not asked: no policy is for it, or nothing can reach it.
    NotAsked,
    /// It reported.
    Seen(Arc<Observed>),
    /// It was asked, and no report can be used, for this reason.
    Unanswered(String),
}

/// The three truths of one setting (decision D5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedSetting {
    /// Whose setting.
    pub component: Component,
    /// Which key.
    pub key: Key,
    /// What the file says.
    pub carrier: Truth,
    /// What the service manager has loaded.
    pub loaded: Truth,
    /// What the running process has.
    pub running: Truth,
}

/// One of the three truths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// No value.
    Unset,
    /// A value.
    Is(Seen),
    /// There is no such truth for this component, or nothing runs that could have it.
    NotApplicable,
    /// It could not be found out.
    Unknown,
    /// Nothing tells it here: the process may have the value of its carrier or an older one. A start proves it
    /// ([`RunningProbe::StartRecord`](crate::catalog::RunningProbe::StartRecord)).
    Unproven,
}

impl Truth {
    /// Whether a consumer with this truth behaves as one that has `desired`, or there is no such truth to be wrong.
    pub fn is(&self, desired: &str, kind: ValueKind) -> bool {
        match self {
            Self::Is(value) => value.is(desired, kind),
            Self::NotApplicable => true,
            Self::Unset | Self::Unknown | Self::Unproven => false,
        }
    }
}

/// A value as a host can report it: short, ASCII and without credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Seen {
    /// The value itself; userinfo of a URL is replaced by `***`.
    Value(Arc<str>),
    /// A value too long for a report: the first 32 hex digits of the SHA-256 of its normal form.
    Digest(Arc<str>),
    /// A value written in a form that its consumer does not read, such as with blanks around `=`.
    Malformed(Arc<str>),
}

impl Seen {
    /// Whether a consumer that has this value behaves as one that has `desired`.
    pub fn is(&self, desired: &str, kind: ValueKind) -> bool {
        match self {
            Self::Value(value) => kind.same(value, desired),
            Self::Digest(digest) => {
                let normal = match kind {
                    ValueKind::Url => digest_head(desired.as_bytes()),
                    ValueKind::List => digest_head(normalise_list(desired).as_bytes()),
                };
                **digest == *normal
            }
            Self::Malformed(_) => false,
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => formatter.write_str(value),
            Self::Digest(digest) => write!(formatter, "a long value with digest {digest}"),
            Self::Malformed(value) => write!(formatter, "{value} in a form that is not read"),
        }
    }
}

/// What the service manager says of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// Running.
    Active,
    /// Not running, and not failed.
    Inactive,
    /// Not running although it is set to start by itself (Windows).
    Due,
    /// Not running because it failed.
    Failed,
    /// The host does not have this service.
    Absent,
}

/// A setting that an earlier apply wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedSetting {
    /// Whose setting.
    pub component: Component,
    /// Which key.
    pub key: Key,
    /// What removal would leave.
    pub prior: Prior,
    /// Whether the carrier still has the value that we wrote. If not, somebody changed it and removal leaves it alone.
    pub intact: bool,
}

/// What a setting was before proxyfleet first wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prior {
    /// It was not there.
    Absent,
    /// It had this value, which removal puts back.
    Value(Seen),
}

/// Another source of the same variable for the same consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignSource {
    /// Whose setting.
    pub component: Component,
    /// Which key.
    pub key: Key,
    /// Whether it wins over our carrier.
    pub effect: ForeignEffect,
    /// The value it gives.
    pub value: Seen,
    /// The file, absolute.
    pub path: String,
}

/// What a foreign source does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignEffect {
    /// It wins: what we write into our carrier has no effect.
    Overrides,
    /// It loses, or its consumer does not read it.
    Inert,
}

/// Why a component's carrier cannot be edited, as the host's code tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// Which component.
    pub component: Component,
    /// A reason of the closed set in [`crate::catalog::carrier::Unsupported`].
    pub reason: String,
    /// The file, absolute.
    pub path: String,
}
